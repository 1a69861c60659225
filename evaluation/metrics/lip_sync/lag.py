"""The lag at which movements and sound agree best, with what can be said for and against it.

A lag is positive where the sound comes late; offsets, as ITU-R BT.1359-1 has them, are positive
where the sound comes early. Letters: T times, K features, L lags, B blocks of time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LARGEST_LAG_MS = 800
NEIGHBOURHOOD_MS = 160
"""Lags this near the best one do not speak against it."""
BLOCK_S = 0.5
"""Length of the pieces that the bootstrap draws: about two syllables."""
NUM_DRAWS = 200
LEAST_OVERLAP = 0.4
"""Of the most that overlaps at any lag."""
LEAST_VARIANCE = 0.01
"""Of the largest power at any lag, below which a side counts as constant."""
GREEN_MS, AMBER_MS = (-125.0, 45.0), (-185.0, 90.0)
"""Where an offset is not noticed, and where it is accepted (ITU-R BT.1359-1)."""


@dataclass(frozen=True)
class LagReading:
    """What a curve of agreement says.

    Attributes:
        offset_ms: positive = sound early.
        low_ms, high_ms: 95 % interval by a bootstrap over blocks of time.
        peak: correlation at the best lag, -1..1.
        margin: how far the peak stands above everything farther than `NEIGHBOURHOOD_MS` from it.
        seconds: of picture and sound that were compared at the best lag.
        offsets_ms: searched, ascending [L].
        curve: correlation at each [L].
        at_edge: whether the best one is the first or last.
    """

    offset_ms: float
    low_ms: float
    high_ms: float
    peak: float
    margin: float
    seconds: float
    offsets_ms: Array
    curve: Array
    at_edge: bool


def read_lags(picture: Array, sound: Array, lags_ms: Array, rate: float) -> LagReading | None:
    """The best lag; None where nothing overlaps or nothing varies.

    Args:
        picture: movements [T, K]; NaN where unknown.
        sound: what the sound lets expect at each lag [L, T, K]; NaN where there is no sound.
        lags_ms: ascending and evenly spaced [L]; positive = sound late.
        rate: times per second.
    """
    blocks = _block_sums(picture, sound, max(1, round(BLOCK_S * rate)))
    curve = _correlations(blocks.sum(axis=0))
    if not curve.any():
        return None
    best = int(curve.argmax())
    far = np.abs(lags_ms - lags_ms[best]) > NEIGHBOURHOOD_MS
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, len(blocks), (NUM_DRAWS, len(blocks)))
    draws = [_best_lag(_correlations(blocks[rows].sum(axis=0)), lags_ms) for rows in chosen]
    low, high = np.quantile(-np.array(draws), (0.025, 0.975))
    offset = -_best_lag(curve, lags_ms)
    return LagReading(
        offset_ms=offset,
        low_ms=min(float(low), offset),
        high_ms=max(float(high), offset),
        peak=float(curve[best]),
        margin=float(curve[best] - curve[far].max()) if far.any() else 0.0,
        seconds=float(blocks.sum(axis=0)[0, best].mean() / rate),
        offsets_ms=-lags_ms[::-1],
        curve=curve[::-1],
        at_edge=best in (0, len(curve) - 1),
    )


def agreement(picture: Array, sound: Array) -> Array:
    """Correlation at each lag [L]; arguments as in `read_lags`."""
    return _correlations(_block_sums(picture, sound, len(picture)).sum(axis=0))


def verdict(offset_ms: float) -> str:
    """Which light an offset gets by ITU-R BT.1359-1: "green", "amber" or "red"."""
    for name, (low, high) in (("green", GREEN_MS), ("amber", AMBER_MS)):
        if low <= offset_ms <= high:
            return name
    return "red"


def _block_sums(picture: Array, sound: Array, size: int) -> Array:
    """Sums over blocks that a correlation is made of [B, 6, L, K]."""
    both = np.isfinite(picture) & np.isfinite(sound)
    a = np.where(both, picture, 0.0)
    b = np.where(both, sound, 0.0)
    terms = np.stack([both.astype(float), a, b, a * a, b * b, a * b])  # [6, L, T, K]
    starts = np.arange(0, picture.shape[0], size)
    return np.add.reduceat(terms, starts, axis=2).transpose(2, 0, 1, 3)


def _correlations(sums: Array) -> Array:
    """Mean correlation over features at each lag [L], from sums [6, L, K].

    0 where little overlaps or one side is constant: that speaks neither for a lag nor against it.
    """
    count, a, b, aa, bb, ab = sums
    enough = count >= LEAST_OVERLAP * count.max()
    with np.errstate(invalid="ignore", divide="ignore"):
        across, up = aa - a * a / count, bb - b * b / count
        varies = (across > LEAST_VARIANCE * aa.max()) & (up > LEAST_VARIANCE * bb.max())
        values = (ab - a * b / count) / np.sqrt(across * up)
    return np.where(enough & varies, values, 0.0).mean(axis=-1)


def _best_lag(curve: Array, lags_ms: Array) -> float:
    """Lag of the peak, between two lags by a parabola."""
    best = int(curve.argmax())
    if not 0 < best < len(curve) - 1:
        return float(lags_ms[best])
    before, top, after = curve[best - 1 : best + 2]
    bend = before - 2 * top + after
    shift = float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
    return float(lags_ms[best] + shift * (lags_ms[1] - lags_ms[0]))
