"""From an item to a clip, and what became of it; whoever makes several at once says so."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from evaluation.suites.generators.base import Generator, Source
from evaluation.suites.schema import Item
from ltx2 import Request
from ltx2.errors import GenerationCancelled, LTX2Error, MediaError
from ltx2.progress import ShouldCancel, ignore_progress

logger = logging.getLogger(__name__)


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
class Outcome:
    """What became of a task.

    Attributes:
        status: "ok" has a clip; "error" and "skipped" have a reason.
        started: date and time, UTC.
        seconds: that it took.
    """

    status: Literal["ok", "error", "skipped"]
    started: str
    seconds: float
    reason: str = ""


@runtime_checkable
class MakesMany(Source, Protocol):
    """Makes several clips at once."""

    def make_many(
        self, tasks: Sequence[Task], work: Path, should_cancel: ShouldCancel
    ) -> Iterator[tuple[Task, Outcome]]:
        """Outcomes as they come, in any order; see `one_by_one`."""


def one_by_one(
    generator: Generator, tasks: Sequence[Task], work: Path, should_cancel: ShouldCancel
) -> Iterator[tuple[Task, Outcome]]:
    """The outcome of every task; a clip lies at `made_at` until the next one is asked for.

    Raises:
        GenerationCancelled: `should_cancel` said so.
    """
    for task in tasks:
        if should_cancel():
            raise GenerationCancelled
        made = made_at(work, task)
        try:
            yield task, make_clip(generator, task, made, should_cancel)
        finally:
            made.unlink(missing_ok=True)


def made_at(work: Path, task: Task) -> Path:
    """Where the clip of a task is written before it is kept."""
    return work / f"{task.key}.mp4"


def make_clip(generator: Generator, task: Task, made: Path, should_cancel: ShouldCancel) -> Outcome:
    """Has a clip made at `made`; whatever goes wrong is the outcome.

    Raises:
        GenerationCancelled: `should_cancel` said so.
    """
    started, begun = now(), time.monotonic()
    left_out = generator.leaves_out(task.item, task.request)
    if left_out:
        return Outcome("skipped", started, 0.0, left_out)
    try:
        generator(
            task.item,
            task.request,
            made,
            on_progress=ignore_progress,
            should_cancel=should_cancel,
        )
        _check_video(made)
    except GenerationCancelled:
        raise
    except (LTX2Error, OSError) as error:
        reason = str(error)
    except Exception as error:
        # Other people's programs fail in ways of their own; one item must not end the run.
        logger.exception("Item %s failed.", task.item.id)
        reason = f"{type(error).__name__}: {error}"
    else:
        reason = ""
    seconds = round(time.monotonic() - begun, 3)
    if reason:
        return Outcome("error", started, seconds, reason)
    return Outcome("ok", started, seconds)


def _check_video(made: Path) -> None:
    from ltx2.media.decode import read_first_picture

    if not made.is_file():
        raise MediaError("No clip was written.", next_step="See what the program says.")
    read_first_picture(made)


def now() -> str:
    """Date and time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
