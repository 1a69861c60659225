"""Whether a clip changes for the worse as it goes on: sharpness, colour, motion, loudness.

A quantity is measured in windows that overlap by half; its slope is the median of the slopes
between all pairs of windows (Theil, 1950; Sen, 1968), which a single odd window does not move.
Letters: F frames, W windows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from scipy.stats import theilslopes

from evaluation.expectation import Expectation
from evaluation.measurement import Curve, Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics.face_tracks import find_cuts
from evaluation.metrics.sound_health import decibels
from ltx2 import Clip

VERSION = 1
WINDOW_S, HOP_S = 4.0, 2.0
LEAST_WINDOWS = 4
"""With fewer there is one slope or three, and no interval to speak of."""
EDGE_SHARE = 0.15
"""Part of the clip at each end whose difference is the start-end contrast."""
MOST_CLIPS = 0.75
"""Share of the clips that must reach a moment to say where they bend most."""
BREAK_S = 20.0
"""The longest clip that LTX-2 was trained on; the authors name drift beyond it."""
PICTURES_PER_S = 4
WIDTH = 256


@dataclass(frozen=True)
class Series:
    """A quantity over the windows of a clip.

    Attributes:
        times_s: middles of the windows [W].
        values: NaN where nothing could be measured [W].
    """

    times_s: np.ndarray
    values: np.ndarray


def windows(clip: Clip) -> list[tuple[float, Clip]]:
    """Middle in seconds, and pictures and sound, of each window of a clip."""
    length = round(WINDOW_S * clip.frame_rate)
    hop = round(HOP_S * clip.frame_rate)
    cut = []
    for first in range(0, len(clip.frames) - length + 1, max(1, hop)):
        edges = (round(n / clip.frame_rate * clip.sample_rate) for n in (first, first + length))
        part = replace(
            clip,
            frames=clip.frames[first : first + length],
            waveform=clip.waveform[:, slice(*edges)],
        )
        cut.append(((first + length / 2) / clip.frame_rate, part))
    return cut


def series(clip: Clip, measure: Callable[[Clip], Outcome]) -> Series | NotMeasurable:
    """Any measurement in every window, NaN where it is not measurable; why not, if in none."""
    found = [(time_s, measure(part)) for time_s, part in windows(clip)]
    reasons = [outcome for _, outcome in found if isinstance(outcome, NotMeasurable)]
    if reasons and len(reasons) == len(found):
        return reasons[0]
    values = [outcome.value if isinstance(outcome, Measured) else np.nan for _, outcome in found]
    return Series(np.array([time_s for time_s, _ in found]), np.array(values, float))


def drift(data: Series, name: str, unit: str) -> Outcome:
    """Change of a quantity a second, with its 95 % interval.

    Args:
        data: the quantity over time.
        name, unit: its own, for the plot.
    """
    curve = Curve(name, data.times_s, data.values, "time (s)", f"{name} ({unit})")
    known = np.isfinite(data.values)
    if known.sum() < LEAST_WINDOWS:
        seconds = WINDOW_S + (LEAST_WINDOWS - 1) * HOP_S
        return NotMeasurable(
            f"It can be measured in {_counted(int(known.sum()))} of {WINDOW_S:g} s only.",
            f"Drift needs {LEAST_WINDOWS}: clips of {seconds:g} s or more, "
            f"of {seconds + WINDOW_S:g} s for voices.",
            evidence=(curve,),
        )
    values, times_s = data.values[known], data.times_s[known]
    slope, _, low, high = theilslopes(values, times_s, alpha=0.95)
    at_end = max(1, round(EDGE_SHARE * len(values)))
    contrast = abs(float(values[-at_end:].mean() - values[:at_end].mean()))
    details = {"start_end_contrast": contrast, "windows": len(values)}
    return Measured(
        float(slope), f"{unit}/s", float(low), float(high), details=details, evidence=(curve,)
    )


def _counted(stretches: int) -> str:
    return "one stretch" if stretches == 1 else f"{stretches or 'no'} stretches"


def bend(data: Series, at_s: float = BREAK_S) -> float | None:
    """How much faster a quantity changes after a moment than before, per second.

    From the least-squares line that bends there; None without two windows on both sides.
    """
    found = _bent(data, at_s)
    return None if found is None else found[0]


def bends_most_at(clips: Sequence[Series]) -> float | None:
    """The moment, in seconds, at which one bend explains most of all clips.

    Where a quantity bends at one moment, it bends a little at every other one: a bend at 20 s means
    a break there only if it fits best about there.

    Args:
        clips: the same quantity; each counts by its own spread.

    Returns:
        None where there is no moment that most of the clips reach well beyond.
    """
    left = {}
    for moment in sorted({float(time) for data in clips for time in data.times_s}):
        found = [bent[1] for data in clips if (bent := _bent(data, moment)) is not None]
        if found and len(found) >= MOST_CLIPS * len(clips):
            left[moment] = float(np.mean(found))
    return min(left, key=lambda moment: left[moment], default=None)


def _bent(data: Series, at_s: float) -> tuple[float, float] | None:
    """The bend, and the share of the variance that is left around the line that bends there."""
    known = np.isfinite(data.values)
    times_s, values = data.times_s[known], data.values[known]
    if (times_s < at_s).sum() < 2 or (times_s > at_s).sum() < 2:
        return None
    terms = np.stack([np.ones_like(times_s), times_s, np.maximum(times_s - at_s, 0)], axis=1)
    line = np.linalg.lstsq(terms, values)[0]
    spread = float(np.square(values - values.mean()).sum())
    left = float(np.square(values - terms @ line).sum())
    return float(line[2]), left / spread if spread > 0 else 0.0


# --- quantities ------------------------------------------------------------------------------


def sharpness(clip: Clip) -> Outcome:
    """Fine detail, in decibels: mean variance of the pictures' Laplacian."""
    grey = _pictures(clip, "L")
    if not len(grey):
        return NotMeasurable("The clip has no picture.")
    inner = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return Measured(10 * float(np.log10((around - 4 * inner).var(axis=(1, 2)).mean() + 1e-6)), "dB")


def colour(clip: Clip) -> Outcome:
    """Mean saturation of the pictures, 0..255."""
    pictures = _pictures(clip, "HSV")
    if not len(pictures):
        return NotMeasurable("The clip has no picture.")
    return Measured(float(pictures[..., 1].mean()), "levels")


def motion(clip: Clip) -> Outcome:
    """Mean change of brightness between pictures a quarter of a second apart, 0..255."""
    grey = _pictures(clip, "L")
    if len(grey) < 2:
        return NotMeasurable("One picture does not move.")
    return Measured(float(np.abs(np.diff(grey, axis=0)).mean()), "levels")


def loudness(clip: Clip) -> Outcome:
    """Root mean square of the sound in decibels below full scale."""
    if not clip.waveform.size:
        return NotMeasurable("The clip has no sound.")
    return Measured(decibels(np.nan_to_num(clip.waveform)), "dBFS")


def _pictures(clip: Clip, mode: str) -> np.ndarray:
    """A few small pictures a second [n, h, w] or [n, h, w, 3], 0..255."""
    step = max(1, round(clip.frame_rate / PICTURES_PER_S))
    factor = max(1, clip.frames.shape[2] // WIDTH)
    small = (Image.fromarray(frame).reduce(factor).convert(mode) for frame in clip.frames[::step])
    return np.array([np.asarray(picture, np.float32) for picture in small])


def _metric(name: str, unit: str, measure: Callable[[Clip], Outcome]) -> Metric:
    def measured(clip: Clip, expectation: Expectation) -> Outcome:
        data = series(clip, measure)
        outcome = data if isinstance(data, NotMeasurable) else drift(data, name, unit)
        if isinstance(outcome, Measured):
            # After a cut another scene is measured, which is no drift.
            details = dict(outcome.details) | {"cuts": len(find_cuts(clip.frames))}
            outcome = replace(outcome, details=details)
        return outcome

    return Metric(f"drift.{name}", VERSION, "Theil-Sen slope over windows of 4 s", measured)


METRICS = (
    _metric("sharpness", "dB", sharpness),
    _metric("colour", "levels", colour),
    _metric("motion", "levels", motion),
    _metric("loudness", "dBFS", loudness),
)
