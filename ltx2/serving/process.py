"""Clips of a grid without a page: one after the other, into a folder."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ltx2.errors import LTX2Error, ResourceError
from ltx2.progress import ignore_progress
from ltx2.runtime.memory import look
from ltx2.serving import grid
from ltx2.serving.models import Models, Stop, open_offers
from ltx2.serving.preflight import check
from ltx2.serving.store import Member
from ltx2.settings import Settings


@dataclass(frozen=True)
class Planned:
    """A clip that would be made, and whether it fits."""

    name: str
    sentence: str


@dataclass(frozen=True)
class Made:
    """A clip that is there now, or was before."""

    name: str
    sentence: str


@dataclass(frozen=True)
class Refused:
    """A clip that could not be made, and why."""

    name: str
    sentence: str


def plan_clips(file: Path, settings: Settings) -> Iterator[Planned]:
    """What a file asks for, in its order; no model is loaded.

    Raises:
        RequestError: the file, or a line of it, cannot be used.
        CheckpointError: there is no such model.
    """
    models = Models(open_offers(settings), device=settings.device)
    for name, member in _named(file, models):
        offer = models.offer(member.choice.model)
        found = check(
            member.request,
            offer.profile,
            offer.anatomy,
            look(settings.device),
            None,
            offload=offer.offload,
        )
        yield Planned(name, f"{_described(member)}. {found.sentence}".strip())


def make_clips(
    file: Path, settings: Settings, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Made | Refused]:
    """The clips that a file asks for, each once it is written; one that fails ends no other.

    A clip whose file is there already is not made again, so an interrupted run goes on.

    Args:
        file: a grid as JSON lines or CSV.
        settings: model, device, and the folder of the clips.
        clock: seconds, for how long each took.

    Raises:
        RequestError: the file, or a line of it, cannot be used.
        CheckpointError: there is no such model.
        ResourceError: the folder cannot be made.
    """
    models = Models(open_offers(settings), device=settings.device)
    clips = _named(file, models)
    folder = settings.output_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"The folder {folder} cannot be made ({error.strerror}).",
            next_step="Choose another one as --output-dir.",
        ) from error
    try:
        for name, member in clips:
            if (folder / name).exists():
                yield Made(name, "is there already.")
                continue
            started = clock()
            try:
                maker = models.take(member.choice, Stop(), ignore_progress)
                clip = maker(
                    member.request,
                    on_progress=ignore_progress,
                    should_cancel=lambda: False,
                    on_preview=None,
                )
                clip.save(folder / name)
            except LTX2Error as error:
                yield Refused(name, f"{error.message} {error.next_step}")
            else:
                yield Made(name, f"made in {clock() - started:.1f} s.")
    finally:
        models.close()


def _named(file: Path, models: Models) -> list[tuple[str, Member]]:
    members = grid.expand(grid.read_lines(file), models)
    return [
        (f"{number:03d}-seed-{member.request.seed}.mp4", member)
        for number, member in enumerate(members, start=1)
    ]


def _described(member: Member) -> str:
    return ", ".join(f"{name} {value}" for name, value in member.labels.items())
