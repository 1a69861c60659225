"""Progress as data: one callback that the command line and the page both understand."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where a piece of work stands.

    Attributes:
        stage: what is being done now, as a user would call it ("denoise").
        step: finished steps of this stage, 0..total.
        total: steps of this stage, at least 1.
    """

    stage: str
    step: int
    total: int


OnProgress = Callable[[Progress], None]
"""Receives every change of state, in order, on the thread that does the work."""

ShouldCancel = Callable[[], bool]
"""Asked between steps; True stops the work with `GenerationCancelled`."""


def ignore_progress(_: Progress) -> None:
    """Progress callback for callers that do not care."""


def never_cancel() -> bool:
    """Cancel callback for callers that never stop early."""
    return False
