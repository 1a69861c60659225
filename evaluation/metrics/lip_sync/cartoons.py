"""Offset between puppets' mouths and their voices: both are envelopes, so no training is needed.

A puppet says one word or two, and any word is a bump of sound that fits a bump of the mouth
somewhere. So the agreement counts only beside that of the world's other words, said at the same
moments: how many of them would fit the mouths as well tells how easily it came about by chance.

Letters: F frames, L lags, S samples, R rows of a level, W words of the bank.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from evaluation.metrics.lip_sync.lag import LARGEST_LAG_MS, LagReading, agreement, read_lags
from evaluation.metrics.lip_sync.voice_level import LEVEL_RATE, voice_level

Array = NDArray[np.float64]

LAG_STEP_MS = 5
COMPRESSION = 0.8
"""Power of the level to which a puppet's mouth opens."""
SOFT_FRAMES = (0.0, 1.0)
"""Drawn mouths move sharply; generated ones blur over time, by about this standard deviation."""
EDGE, SHORTEST_PAUSE_S = 0.08, 0.25
"""Share of the loudest level at which a word begins, and the pause before another does."""
LEAST_WORD = 0.15
"""What sounds less than this share of the largest word, in sum, is left over from a background."""
SAME_WORD = 0.97
"""Agreement of two words' levels from which on nobody could tell them by a mouth."""
NOISE_EXCUSE, LEAST_SAME_WORD = 2.0, 0.9
"""Where a background covers the level, it is like no word: one may then be off by this factor more
than the nearest and still be what is said, down to that agreement."""
LEAST_WORDS = 20
"""Other words without which a comparison says nothing."""
BANK = Path(__file__).parent / "weights" / "puppet_words.npz"


@dataclass(frozen=True)
class CartoonReading:
    """What mouths and sound say.

    Attributes:
        lag: the best offset and its curve.
        chance: share of the other words that fit the mouths as well, 0..1.
    """

    lag: LagReading
    chance: float


def cartoon_reading(
    opening: Array, speech: NDArray[np.float32], frame_rate: float
) -> CartoonReading | None:
    """How the widest of all mouths [F] agrees with the loudness of sound [S].

    A frame shows the loudness over the time for which it stands.
    """
    half = 500.0 * len(opening) / frame_rate
    largest = min(LARGEST_LAG_MS, LAG_STEP_MS * int(half / LAG_STEP_MS))
    lags_ms = np.arange(-largest, largest + 1, LAG_STEP_MS, dtype=np.float64)
    if len(lags_ms) < 3:
        return None
    level = voice_level(speech)
    sharp = _expected(level, len(opening), lags_ms, frame_rate)
    soft = max(
        SOFT_FRAMES, key=lambda frames: agreement(opening[:, None], _softened(sharp, frames)).max()
    )
    reading = read_lags(opening[:, None], _softened(sharp, soft), lags_ms, frame_rate)
    if reading is None:
        return None
    others = [
        float(agreement(opening[:, None], _softened(other, soft)).max())
        for other in (
            _expected(said, len(opening), lags_ms, frame_rate) for said in _other_words(level)
        )
    ]
    enough = len(others) >= LEAST_WORDS
    chance = float(np.mean([other >= reading.peak for other in others])) if enough else 1.0
    return CartoonReading(reading, chance)


@cache
def word_levels(path: Path = BANK) -> tuple[Array, ...]:
    """Levels [R] of every word of the puppet world in both voices, as `make_bank` wrote them."""
    with np.load(path) as file:
        ends = np.cumsum(file["lengths"])[:-1]
        return tuple(np.split(file["levels"].astype(np.float64), ends))


def _other_words(level: Array) -> list[Array]:
    """Levels [R] with other words at the moments at which this one has words."""
    starts = _starts(level)
    bank = word_levels()
    loudest = level.max(initial=0.0)
    if not starts:
        return []
    made = []
    for number in range(len(bank)):
        said = np.zeros_like(level)
        for turn, start in enumerate(starts):
            word = bank[(number + 7 * turn) % len(bank)]
            part = said[start : start + len(word)]
            part[:] = np.maximum(part, word[: len(part)] * loudest)
        made.append(said)
    likeness = np.array([_likeness(said, level) for said in made])
    excused = max(LEAST_SAME_WORD, 1 - NOISE_EXCUSE * (1 - likeness.max()))
    other = likeness < min(SAME_WORD, excused)
    return [said for said, is_other in zip(made, other, strict=True) if is_other]


def _starts(level: Array) -> list[int]:
    """Rows at which words begin."""
    loud = np.flatnonzero(level > EDGE * level.max(initial=0.0))
    if not loud.size:
        return []
    pauses = np.flatnonzero(np.diff(loud) > SHORTEST_PAUSE_S * LEVEL_RATE)
    parts = np.split(loud, pauses + 1)
    sums = [float(level[part].sum()) for part in parts]
    return [
        int(part[0])
        for part, sum_ in zip(parts, sums, strict=True)
        if sum_ >= LEAST_WORD * max(sums)
    ]


def _likeness(a: Array, b: Array) -> float:
    """Largest correlation of two levels within a tenth of a second."""
    reach = LEVEL_RATE // 10
    found = [np.corrcoef(np.roll(a, step), b)[0, 1] for step in range(-reach, reach + 1, 2)]
    return float(np.nan_to_num(found).max())


def _expected(level: Array, num_frames: int, lags_ms: Array, frame_rate: float) -> Array:
    """Opening of a mouth at each lag [L, F] that follows a level; NaN where there is no sound."""
    total = np.concatenate([[0.0], np.cumsum(level)])
    starts = np.arange(num_frames) / frame_rate + lags_ms[:, None] / 1000
    # A row of the level stands for the time around it.
    first, last = ((times * LEVEL_RATE + 0.5) for times in (starts, starts + 1 / frame_rate))
    inside = (first >= 0) & (last <= len(level))
    places = np.arange(len(total))
    loudness = np.interp(last, places, total) - np.interp(first, places, total)
    quiet = np.quantile(loudness[inside], 0.1) if inside.any() else 0.0
    return np.where(inside, np.maximum(loudness - quiet, 0) ** COMPRESSION, np.nan)


def _softened(expected: Array, frames: float) -> Array:
    """An expected opening [L, F] blurred over time, as `read_lags` takes it [L, F, 1]."""
    if not frames:
        return expected[..., None]
    known = np.isfinite(expected)
    soft = gaussian_filter1d(np.where(known, expected, 0.0), frames, axis=-1, mode="nearest")
    return np.where(known, soft, np.nan)[..., None]
