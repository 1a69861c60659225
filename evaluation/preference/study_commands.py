"""`study new|open|status|...`: studies from the command line, beside a running server."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.preference import place
from ltx2.errors import RequestError
from ltx2.settings import Settings

if TYPE_CHECKING:
    from evaluation.preference.store import Store

study = typer.Typer(help="Blind side-by-side ratings.", no_args_is_help=True)

StudyId = Annotated[str, typer.Argument(help="As `study status` lists it.")]


def database_url() -> str:
    """Where the studies of this environment are kept."""
    return place.database_url(Settings.from_environment(os.environ))


@contextmanager
def opened_store() -> Iterator["Store"]:
    """The database of this environment, closed afterwards."""
    from evaluation.preference.store import Store

    store = Store(database_url())
    try:
        yield store
    finally:
        store.close()


@study.command()
def new(path: Annotated[Path, typer.Argument(help="YAML of the study.")]) -> None:
    """Keeps a study as a draft and prints its id."""
    from evaluation.preference.study import read_study

    with opened_store() as store:
        typer.echo(store.create(read_study(path)).id)


@study.command(name="open")
def open_(study_id: StudyId) -> None:
    """Checks and prepares the clips, draws the sessions, hashes the plan, lets raters in."""
    from evaluation.preference.opening import open_study

    folder = place.studies_folder(Settings.from_environment(os.environ))
    started = time.monotonic()

    def on_pair(done: int, of: int) -> None:
        typer.echo(f"pair {done + 1} of {of} ({time.monotonic() - started:.0f} s)", err=True)

    with opened_store() as store:
        entry = open_study(store, study_id, folder, on_pair=on_pair)
    typer.echo(f"open; plan {entry.content['plan_sha256']}, log {entry.hash}")


@study.command()
def status(
    study_id: Annotated[str, typer.Argument(help="One study; all without it.")] = "",
) -> None:
    """Studies with their raters and votes; the log's chain of hashes is checked."""
    with opened_store() as store:
        for row in [store.study(study_id)] if study_id else store.studies():
            counts = store.counts(row.id)
            entries = store.verify(row.id)
            typer.echo(
                f"{row.id}  {row.status:6}  {counts['joined']} of {counts['sessions']} raters, "
                f"{counts['votes']} votes, {entries} entries checked, "
                f"last {store.head(row.id)[:16]}  {row.plan.name}"
            )


@study.command()
def export(
    study_id: StudyId,
    path: Annotated[Path, typer.Argument(help=".csv, .jsonl or .parquet.")],
    every_kind: Annotated[
        bool, typer.Option(help="Also training, attention and repeat pairs.")
    ] = False,
) -> None:
    """Writes the votes in the columns that `rank` reads."""
    from evaluation.preference.export import rows, write_rows

    with opened_store() as store:
        store.verify(study_id)
        table = rows(store, study_id, every_kind=every_kind)
    typer.echo(f"{len(table)} rows in {write_rows(table, path)}")


@study.command()
def recover(
    log: Annotated[Path, typer.Argument(help="STUDY.jsonl of the dataset of votes.")],
    path: Annotated[Path, typer.Argument(help=".csv, .jsonl or .parquet.")],
) -> None:
    """Checks a copy of a log and writes its votes, where the server is gone."""
    from evaluation.preference.export import rows_of_log, write_rows

    table = rows_of_log(log)
    typer.echo(f"{len(table)} rows in {write_rows(table, path)}")


@study.command()
def rank(
    study_id: StudyId,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Ranks the models by the votes so far, screened by the rules of the study's plan."""
    from evaluation.preference.commands import lines_of, ranking_lines
    from evaluation.preference.findings import find
    from evaluation.preference.ranking import NotRanked, Ranking

    with opened_store() as store:
        found = find(store, study_id)
    if isinstance(found.board, NotRanked):
        raise RequestError(found.board.reason, next_step="Collect votes first.")
    if as_json:
        typer.echo(json.dumps(found.board.as_json(), indent=2))
        return
    lines = lines_of(found.board)
    if found.styled is not None:
        if isinstance(found.styled.ranking, Ranking):
            lines += ["", *ranking_lines("With style held equal", found.styled.ranking)]
        if found.styled.confounded:
            named = ", ".join(found.styled.confounded)
            lines += ["", f"Always the same between two models, so not held equal: {named}"]
    lines += [
        f"Blinding index of {model}: {index.value:+.2f} ({index.low:+.2f} to {index.high:+.2f})"
        for model, index in found.blinding.items()
    ]
    typer.echo("\n".join(lines))


@study.command()
def pause(study_id: StudyId) -> None:
    """Takes no votes until the study is resumed."""
    with opened_store() as store:
        typer.echo(f"paused; log {store.set_status(study_id, 'paused').hash}")


@study.command()
def resume(study_id: StudyId) -> None:
    """Lets raters go on in a paused study."""
    with opened_store() as store:
        typer.echo(f"open; log {store.set_status(study_id, 'open').hash}")


@study.command()
def close(study_id: StudyId) -> None:
    """Takes no more votes, for good."""
    with opened_store() as store:
        typer.echo(f"closed; log {store.set_status(study_id, 'closed').hash}")
