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
from scipy.signal import stft

from evaluation.metrics.lip_sync.lag import LARGEST_LAG_MS, LagReading, agreement, read_lags
from evaluation.metrics.sound import SPEECH_RATE

Array = NDArray[np.float64]

LAG_STEP_MS = 5
LEVEL_RATE = 200
"""Rows of a level per second."""
WINDOW = 512
COMPRESSION = 0.8
"""Power of the level to which a puppet's mouth opens."""
NOISE_QUANTILE, NOISE_MARGIN = 0.3, 8.0
"""What is not this much louder than the quieter third of the time, in its band, is rain or wind."""
EDGE, SHORTEST_PAUSE_S = 0.08, 0.25
"""Share of the loudest level at which a word begins, and the pause before another does."""
SAME_WORD = 0.97
"""Agreement of two words' levels from which on nobody could tell them by a mouth."""
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
    expected = _expected(level, len(opening), lags_ms, frame_rate)
    reading = read_lags(opening[:, None], expected[..., None], lags_ms, frame_rate)
    if reading is None:
        return None
    others = [
        float(agreement(opening[:, None], other[..., None]).max())
        for other in (
            _expected(said, len(opening), lags_ms, frame_rate) for said in _other_words(level)
        )
    ]
    chance = float(np.mean([other >= reading.peak for other in others])) if others else 1.0
    return CartoonReading(reading, chance)


def voice_level(speech: NDArray[np.float32]) -> Array:
    """Level of a sound [S] above what is heard all the time, at `LEVEL_RATE` per second [R]."""
    hop = SPEECH_RATE // LEVEL_RATE
    padded = np.pad(speech, (0, max(0, WINDOW - speech.size)))
    _, _, spectrum = stft(padded, SPEECH_RATE, nperseg=WINDOW, noverlap=WINDOW - hop)
    power = np.square(np.abs(spectrum))
    noise = np.quantile(power, NOISE_QUANTILE, axis=1, keepdims=True)
    above: Array = np.sqrt(np.maximum(power - NOISE_MARGIN * noise, 0).sum(axis=0))
    return above


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
    made = []
    for number in range(len(bank)):
        said = np.zeros_like(level)
        for turn, start in enumerate(starts):
            word = bank[(number + 7 * turn) % len(bank)]
            part = said[start : start + len(word)]
            part[:] = np.maximum(part, word[: len(part)] * loudest)
        if said.any() and _likeness(said, level) < SAME_WORD:
            made.append(said)
    return made


def _starts(level: Array) -> list[int]:
    """Rows at which words begin."""
    loud = np.flatnonzero(level > EDGE * level.max(initial=0.0))
    if not loud.size:
        return []
    pauses = np.flatnonzero(np.diff(loud) > SHORTEST_PAUSE_S * LEVEL_RATE)
    return [int(loud[0]), *(int(loud[pause + 1]) for pause in pauses)]


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
