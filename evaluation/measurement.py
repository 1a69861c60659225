"""What a measurement says: a number with its unit, or why there is none."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluation.expectation import Expectation
from ltx2 import Clip


@dataclass(frozen=True)
class Curve:
    """Evidence that can be drawn.

    Attributes:
        name: what it shows ("mouth opening").
        x, y: equally long; NaN in `y` where there is nothing.
        x_label, y_label: with units ("time (s)").
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    x_label: str
    y_label: str


@dataclass(frozen=True)
class Measured:
    """A number.

    Attributes:
        value: in `unit`.
        unit: "ms", "dB", "share"; empty for a count or a ratio.
        low, high: 95 % interval, where the method gives one.
        confidence: of the method itself, in the method's own scale; None where it has none.
        details: further numbers and words that belong to it, JSON values only.
        evidence: curves for a plot.
    """

    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    evidence: tuple[Curve, ...] = ()


@dataclass(frozen=True)
class NotMeasurable:
    """There is no number, and that is no fault of the program.

    Attributes:
        reason: a sentence for people ("No face is seen.").
        next_step: what would make it measurable; empty where nothing would.
        details, evidence: as in `Measured`, for what was seen before it gave up.
    """

    reason: str
    next_step: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    evidence: tuple[Curve, ...] = ()


@dataclass(frozen=True)
class MeasurementFailed:
    """The program failed; the run goes on.

    Attributes:
        message: what happened and what to do next.
    """

    message: str


Outcome = Measured | NotMeasurable | MeasurementFailed


@dataclass(frozen=True)
class Metric:
    """One question that can be asked of a clip.

    Attributes:
        name: stable identifier ("lip_sync.landmarks").
        version: counted up whenever the same clip could give another number.
        measured_by: which model or method gives the number ("landmark ridge, 416 weights").
        measure: answers it. Raises nothing but what a bug raises.
    """

    name: str
    version: int
    measured_by: str
    measure: Callable[[Clip, Expectation], Outcome]
