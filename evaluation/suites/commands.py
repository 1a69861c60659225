"""The commands of suites (check, list, export), `run` and `score`; heavy imports wait."""

import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ltx2.errors import GenerationCancelled, LTX2Error, RequestError

if TYPE_CHECKING:
    from evaluation.suites.generators.base import Generator
    from evaluation.suites.making import MakesMany
    from ltx2.progress import OnProgress, Progress

SUITES = Path(__file__).parents[2] / "prompts"
EXIT_ERROR, EXIT_CANCELLED = 2, 130
MOST_REASONS = 5

suites = typer.Typer(add_completion=False, no_args_is_help=True)


@suites.callback()
def _describe_suites() -> None:
    """Suites of prompts: check files, list what is there."""


@suites.command()
def check(
    files: Annotated[
        list[Path] | None, typer.Argument(help="YAML files; all that are delivered if not said.")
    ] = None,
) -> None:
    """Check suites and say what is wrong with each, by file, line, item and field."""
    from evaluation.suites.schema import load_suite

    wrong = 0
    for path in files or _delivered():
        try:
            suite = load_suite(path)
        except LTX2Error as error:
            wrong += 1
            typer.echo(f"Error: {error}", err=True)
        else:
            typer.echo(f"{path.name}: {len(suite.items)} items")
    if wrong:
        raise typer.Exit(EXIT_ERROR)


@suites.command("list")
def list_suites(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the suites that are delivered."""
    from evaluation.suites.schema import load_suite

    found = [load_suite(path) for path in _delivered()]
    if as_json:
        rows = [
            {
                "name": suite.name,
                "title": suite.title,
                "world": suite.world,
                "items": len(suite.items),
                "tags": sorted({tag for item in suite.items for tag in item.tags}),
            }
            for suite in found
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    for suite in found:
        typer.echo(f"{suite.name:18} {len(suite.items):5} items  {suite.world:7} {suite.title}")


@suites.command()
def export(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder for the clips.")],
    seed: Annotated[int | None, typer.Option(help="Only clips of this seed.")] = None,
) -> None:
    """Copy the clips of a run under the names of their items, with the manifest of a study.

    The files stay as they are, so that votes on them can be compared with measurements of the run.
    """
    from evaluation.suites.export import export_clips
    from evaluation.suites.records import RunFolder

    number = export_clips(RunFolder(run_folder), target, seed=seed)
    typer.echo(f"{target}: {number} clips")


@suites.command()
def fetch(
    source: Annotated[str, typer.Argument(metavar="RUN", help="As in s3://BUCKET/RUN.")],
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the run here.")],
) -> None:
    """Copy a run from where a cluster keeps it, to score it and to report on it here.

    What is there already is not copied again.
    """
    from evaluation.suites.object_store import fetch_run, open_run
    from evaluation.suites.records import RunFolder

    number = fetch_run(open_run(source), RunFolder(target))
    typer.echo(f"{target}: {number} clips copied")


def run(  # noqa: PLR0913 - every option of the command
    suite: Annotated[str, typer.Argument(help="Name of a delivered suite, or a YAML file.")],
    model: Annotated[
        str,
        typer.Option(
            help="Model of this program, or folder:PATH, command:ovi, command:FILE.yaml, "
            "diffusers:NAME, veo:MODEL, sora:MODEL."
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            help="Folder of the run, or s3://BUCKET/RUN, hf://datasets/USER/NAME/RUN and the like; "
            "go on with it by saying it again."
        ),
    ],
    seeds: Annotated[str, typer.Option(help="Every item is made once with each, as in 1,2.")] = "1",
    settings: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Field of the requests; repeatable."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only items with this tag; repeatable.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be made and what it would cost.")
    ] = False,
    max_cost: Annotated[
        float, typer.Option(help="Most US dollars that may be spent on services that charge.")
    ] = 0.0,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="auto|ADDRESS", help="Make them on a Ray cluster, a worker for each GPU."
        ),
    ] = None,
) -> None:
    """Make the clips of a suite; what is there already is never made again."""
    from evaluation.suites.object_store import open_run
    from evaluation.suites.runner import plan_run, run_suite
    from evaluation.suites.schema import load_suite

    asked = load_suite(_suite_file(suite)).chosen(tag or ())
    numbers, fields = _seeds(seeds), _settings(settings or ())
    store = open_run(out)
    with _generator(model, ray) as generator:
        plan = plan_run(asked, generator, store, seeds=numbers, settings=fields)
        price = f", about ${plan.cost_usd:.2f}" if plan.cost_usd else ""
        left_out = sum(plan.left_out.values())
        without = f", {left_out} of them left out" if left_out else ""
        typer.echo(
            f"{asked.name}: {len(plan.tasks)} clips, {len(plan.missing)} to make{without}{price}."
        )
        if dry_run:
            _tell_reasons(plan.left_out)
            return
        if not plan.cost_usd <= max_cost:
            raise RequestError(
                f"The missing clips would cost about ${plan.cost_usd:.2f}.",
                next_step=f"Allow it with --max-cost {math.ceil(plan.cost_usd)}, "
                "or choose a --tag.",
            )
        with _stopped_by_signals() as should_cancel, _bar() as show:
            counts = run_suite(
                asked,
                generator,
                store,
                seeds=numbers,
                settings=fields,
                arguments=sys.argv,
                on_progress=show,
                should_cancel=should_cancel,
            )
    typer.echo(
        f"{out}: {counts.made} made, {counts.kept} kept, {counts.failed} failed, "
        f"{counts.skipped} left out"
    )
    _tell_reasons(counts.reasons)
    if counts.failed:
        raise typer.Exit(1)


def _tell_reasons(reasons: Mapping[str, int]) -> None:
    """The most frequent ones; the records of the items have all of them."""
    ordered = sorted(reasons.items(), key=lambda reason: -reason[1])
    for reason, count in ordered[:MOST_REASONS]:
        typer.echo(f"  {count} x {reason}", err=True)
    if len(ordered) > MOST_REASONS:
        typer.echo(f"  and {len(ordered) - MOST_REASONS} more reasons", err=True)


@contextmanager
def _generator(model: str, ray: str | None) -> "Iterator[Generator | MakesMany]":
    """What makes the clips: on this machine, or on the cluster at the address."""
    from evaluation.suites.cluster import cluster_generator
    from evaluation.suites.generators import find_generator

    if ray is None:
        yield find_generator(model)
    else:
        with cluster_generator(model, ray) as generator:
            yield generator


def score(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    metric: Annotated[
        list[str] | None, typer.Option(help="Only this one, or this group; repeatable.")
    ] = None,
) -> None:
    """Measure every clip of a run with every metric; what is measured is never measured again."""
    from evaluation.suites.records import RunFolder
    from evaluation.suites.scoring import chosen_metrics, score_run

    chosen = chosen_metrics(metric or ())
    others = [other for other in chosen_metrics(()) if other not in chosen]
    with _stopped_by_signals() as should_cancel, _bar() as show:
        counts = score_run(
            RunFolder(folder),
            chosen,
            others=others,
            arguments=sys.argv,
            on_progress=show,
            should_cancel=should_cancel,
        )
    typer.echo(f"{counts.path}: {counts.measured} measured, {counts.kept} kept")


def _delivered() -> list[Path]:
    return sorted(SUITES.glob("*.yaml"))


def _suite_file(name: str) -> Path:
    path = SUITES / f"{name}.yaml"
    if path in _delivered():
        return path
    if Path(name).is_file():
        return Path(name)
    raise RequestError(
        f"There is no suite {name}.",
        next_step=f"Give a YAML file or one of {', '.join(p.stem for p in _delivered())}.",
    )


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise RequestError(
            f"--seeds is {text!r}.", next_step="Write whole numbers, as in 1,2."
        ) from error


def _settings(texts: "list[str] | tuple[()]") -> dict[str, Any]:
    """Fields of requests; values are JSON where they can be read so, else words."""
    fields: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name in ("prompt", "seed"):
            raise RequestError(
                f"--settings {text} cannot be used.", next_step="Write one as in num_steps=8."
            )
        try:
            fields[name] = json.loads(value)
        except json.JSONDecodeError:
            fields[name] = value
    return fields


@contextmanager
def _stopped_by_signals() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM end the work after the step at hand; a second one ends it at once."""
    stop = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if stop.is_set():
            os._exit(EXIT_CANCELLED)
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop.is_set
    except GenerationCancelled as error:
        typer.echo("Stopped; the same command goes on from here.", err=True)
        raise typer.Exit(EXIT_CANCELLED) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _bar() -> "Iterator[OnProgress]":
    """A bar with the time left, on the error stream."""
    from tqdm import tqdm

    with tqdm(total=0, disable=None) as bar:

        def show(progress: "Progress") -> None:
            bar.set_description(progress.stage)
            bar.total = progress.total
            bar.update(progress.step - bar.n)

        yield show
