"""Measures that keep the best of several clips: `python -m ltx2 generate --best-of 4 --by ...`."""

from evaluation.expectation import Expectation
from evaluation.measurement import Measured
from evaluation.metrics.lip_sync import landmarks
from ltx2.clip import Clip


def lip_sync(clip: Clip) -> float | None:
    """How close voice and lips are, in milliseconds, negative; None where nobody can tell."""
    outcome = landmarks.measure(clip, Expectation())
    return -abs(outcome.value) if isinstance(outcome, Measured) else None
