"""Runs: every item of a suite with every seed, made once, however often one has to start again."""

import fcntl
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from evaluation.canonical import digest
from evaluation.suites.generators.base import Generator, Skipped
from evaluation.suites.records import ItemRecord, RunFolder, RunRecord, environment
from evaluation.suites.schema import Item, Suite, request_of
from ltx2 import Request
from ltx2.errors import GenerationCancelled, LTX2Error, MediaError, RequestError
from ltx2.files import replaced
from ltx2.progress import OnProgress, Progress, ShouldCancel, ignore_progress, never_cancel

logger = logging.getLogger(__name__)

LOCK_FILE = "run.lock"


@dataclass(frozen=True)
class Task:
    """One clip to make.

    Attributes:
        key: digest of everything that the clip depends on.
        item: what to show; `request` asks for it with one seed.
    """

    key: str
    item: Item
    request: Request


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        tasks: all clips asked for, in order.
        missing: those that are not made yet.
        cost_usd: estimated price of the missing ones.
    """

    tasks: tuple[Task, ...]
    missing: tuple[Task, ...]
    cost_usd: float


@dataclass(frozen=True)
class Counts:
    """How a run went: clips made now, found made, failed, and left out."""

    made: int = 0
    kept: int = 0
    failed: int = 0
    skipped: int = 0


def plan_run(
    suite: Suite,
    generator: Generator,
    folder: RunFolder,
    *,
    seeds: Sequence[int] = (1,),
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """What a run would make and what it would cost; writes nothing.

    Raises:
        RequestError: a setting is none, or cannot be used.
    """
    who = {"generator": generator.name, "version": generator.version()}
    tasks = []
    for seed in dict.fromkeys(seeds):
        for item in suite.items:
            request = request_of(item, seed, settings)
            # The item counts only by what is asked, so that suites may share clips.
            key = digest({**who, "request": request.model_dump(mode="json")})
            tasks.append(Task(key, item, request))
    missing = tuple(task for task in tasks if not folder.clip(task.key).is_file())
    cost = sum(generator.cost_usd(task.request) for task in missing)
    return Plan(tuple(tasks), missing, cost)


def run_suite(
    suite: Suite,
    generator: Generator,
    folder: RunFolder,
    *,
    seeds: Sequence[int] = (1,),
    settings: Mapping[str, Any] | None = None,
    arguments: Sequence[str] = (),
    on_progress: OnProgress = ignore_progress,
    should_cancel: ShouldCancel = never_cancel,
) -> Counts:
    """Makes every clip that is not there yet and records what became of each.

    May be stopped at any moment, even by the loss of power, and started again with the same
    arguments. What failed before is tried again.

    Args:
        suite: what to show.
        generator: makes the clips.
        folder: of the run.
        seeds: every item is made once with each.
        settings: fields of requests that go before the items' own.
        arguments: of the command, for the record.
        on_progress: told after every clip, as stage "clips".
        should_cancel: asked before every clip, and by generators while they work.

    Raises:
        RequestError: a setting cannot be used, the folder holds clips of another suite or
            generator, or somebody else is writing there.
        GenerationCancelled: `should_cancel` said so; all that was made is kept.
    """
    plan = plan_run(suite, generator, folder, seeds=seeds, settings=settings)
    folder.create()
    with _locked(folder.path):
        record = RunRecord(
            suite=suite.name,
            title=suite.title,
            suite_digest=digest(suite.model_dump(mode="json")),
            generator={
                "name": generator.name,
                "version": generator.version(),
                **generator.describe(),
            },
            settings=dict(settings or {}),
            seeds=tuple(seeds),
            keys=tuple(dict.fromkeys(task.key for task in plan.tasks)),
            environment=environment(),
            arguments=tuple(arguments),
            started=_now(),
        )
        _check_same(folder, record)
        folder.write_run(record)
        counts = dict.fromkeys(("made", "kept", "failed", "skipped"), 0)
        with tempfile.TemporaryDirectory(dir=folder.path, prefix="work-") as work:
            for number, task in enumerate(plan.tasks):
                on_progress(Progress("clips", number, len(plan.tasks)))
                if should_cancel():
                    raise GenerationCancelled
                what = _do(task, suite, generator, folder, Path(work), should_cancel)
                counts[what] += 1
        on_progress(Progress("clips", len(plan.tasks), len(plan.tasks)))
    return Counts(**counts)


def _do(
    task: Task,
    suite: Suite,
    generator: Generator,
    folder: RunFolder,
    work: Path,
    should_cancel: ShouldCancel,
) -> Literal["made", "kept", "failed", "skipped"]:
    """Makes one clip, unless it is there; its record says what became of it."""
    common: dict[str, Any] = {
        "key": task.key,
        "item": task.item.id,
        "seed": task.request.seed,
        "request": task.request,
        "expected": suite.expectation(task.item),
        "language": task.item.language,
        "tags": task.item.tags,
        "group": task.item.group,
        "variant": task.item.variant,
        "started": _now(),
    }
    if folder.clip(task.key).is_file():
        known = folder.read_item(task.key)
        # A clip without a record was made just before the program was killed.
        if known is None or known.status != "ok":
            folder.write_item(ItemRecord(**common, status="ok"))
        return "kept"
    started = time.monotonic()
    made = work / f"{task.key}.mp4"
    try:
        left_out = generator(
            task.item,
            task.request,
            made,
            on_progress=ignore_progress,
            should_cancel=should_cancel,
        )
        if left_out is None:
            _keep(made, folder.clip(task.key))
    except GenerationCancelled:
        raise
    except (LTX2Error, OSError) as error:
        reason = str(error)
    except Exception as error:
        # Other people's programs fail in ways of their own; one item must not end the run.
        logger.exception("Item %s failed.", task.item.id)
        reason = f"{type(error).__name__}: {error}"
    else:
        folder.write_item(
            ItemRecord(
                **common,
                status="ok" if left_out is None else "skipped",
                reason=left_out.reason if isinstance(left_out, Skipped) else "",
                seconds=round(time.monotonic() - started, 3),
            )
        )
        return "made" if left_out is None else "skipped"
    finally:
        made.unlink(missing_ok=True)
    seconds = round(time.monotonic() - started, 3)
    folder.write_item(ItemRecord(**common, status="error", reason=reason, seconds=seconds))
    return "failed"


def _keep(made: Path, clip: Path) -> None:
    from ltx2.media.decode import read_first_picture

    if not made.is_file():
        raise MediaError("No clip was written.", next_step="See what the program says.")
    read_first_picture(made)  # refuses what is no video
    with replaced(clip) as part:
        shutil.move(made, part)


def _check_same(folder: RunFolder, record: RunRecord) -> None:
    before = folder.read_run()
    if before is None:
        return
    for what, old, new in (
        ("suite", before.suite, record.suite),
        ("generator", before.generator.get("name"), record.generator["name"]),
    ):
        if old != new:
            raise RequestError(
                f"{folder.path} holds a run with the {what} {old}, not {new}.",
                next_step="Choose another --out.",
            )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Nobody else writes to the folder; the system ends this with the process, however it ends."""
    with (folder / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RequestError(
                f"Another program is writing to {folder}.",
                next_step="Wait for it, or choose another --out.",
            ) from error
        # Only whoever was killed leaves these.
        for left in folder.glob("work-*"):
            shutil.rmtree(left, ignore_errors=True)
        for left in folder.glob("*/*.part"):
            left.unlink(missing_ok=True)
        yield


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
