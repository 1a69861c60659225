"""How loud a voice is before a background that swells, like gusts of wind.

A background is noise: between the harmonics of a voice it goes on, and its loudness changes more
slowly than that of consonants. So what even the quieter bins of a band of the spectrum hold for a
third of a second is background, however loud it becomes, and the rest is voice.

Letters: B bins of a spectrum, R rows, S samples.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import grey_opening, percentile_filter, uniform_filter
from scipy.signal import stft

from evaluation.metrics.sound import SPEECH_RATE

Array = NDArray[np.float64]

LEVEL_RATE = 200
"""Rows of a level per second."""
WINDOW = 512
NOISE_WINDOW = 2048
"""Long enough for valleys between the harmonics of every voice from 50 Hz on."""
NOISE_RATE = 50
"""Rows of the background per second."""
NOISE_BAND_HZ, NOISE_TIME_S = 200.0, 0.06
NOISE_QUANTILE = 0.3
"""Share of a band and time that the valleys between harmonics take up at least."""
SHORTEST_NOISE_S = 0.3
"""What is loud for a shorter time is a consonant."""
SOFT_BINS, SOFT_ROWS = 3, 5
"""Over which power is averaged before it is compared, since that of noise flickers."""
NOISE_MARGIN = 5.0
"""What is not this much louder than the background, averaged so, may be a flicker of it."""


def voice_level(speech: NDArray[np.float32]) -> Array:
    """Level of a sound [S] above its background, at `LEVEL_RATE` per second [R]."""
    power = uniform_filter(_powers(speech, WINDOW, LEVEL_RATE), (SOFT_BINS, SOFT_ROWS))
    noise = _background(speech)[:: NOISE_WINDOW // WINDOW] * (NOISE_WINDOW / WINDOW)
    rows, known = np.arange(power.shape[1]) / LEVEL_RATE, np.arange(noise.shape[1]) / NOISE_RATE
    at_rows = np.stack([np.interp(rows, known, line) for line in noise])
    level: Array = np.sqrt(np.maximum(power - NOISE_MARGIN * at_rows, 0).sum(axis=0))
    return level


def _background(speech: NDArray[np.float32]) -> Array:
    """Mean power of the background in each bin [B, R]."""
    power = _powers(speech, NOISE_WINDOW, NOISE_RATE)
    bins = round(NOISE_BAND_HZ * NOISE_WINDOW / SPEECH_RATE) | 1
    rows = round(NOISE_TIME_S * NOISE_RATE) | 1
    quiet = percentile_filter(power, 100 * NOISE_QUANTILE, size=(bins, rows), mode="nearest")
    # The power of noise in a bin is exponentially distributed: from its quantile to its mean.
    mean = quiet / -np.log(1 - NOISE_QUANTILE)
    lasting: Array = grey_opening(mean, (1, round(SHORTEST_NOISE_S * NOISE_RATE)), mode="nearest")
    return lasting


def _powers(speech: NDArray[np.float32], window: int, rate: int) -> Array:
    """Power of each bin of a sound [S], `rate` times a second [B, R]."""
    padded = np.pad(speech, (0, max(0, window - speech.size)))
    hop = SPEECH_RATE // rate
    _, _, spectrum = stft(padded, SPEECH_RATE, nperseg=window, noverlap=window - hop)
    return np.square(np.abs(spectrum)).astype(np.float64)
