"""Offset between a puppet's mouth and its voice: both are envelopes, so no training is needed.

Letters: F frames, L lags, S samples.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from evaluation.metrics.lip_sync.lag import LARGEST_LAG_MS, LagReading, read_lags
from evaluation.metrics.sound import SPEECH_RATE

LAG_STEP_MS = 5
SMOOTHING_S = 0.03
COMPRESSION = 0.8
"""Power of the level to which a puppet's mouth opens."""


def cartoon_reading(
    opening: NDArray[np.float64], speech: NDArray[np.float32], frame_rate: float
) -> LagReading | None:
    """How a mouth's opening [F], NaN where unseen, agrees with the loudness of sound [S].

    A frame shows the loudness over the time for which it stands.
    """
    half = 500.0 * len(opening) / frame_rate
    largest = min(LARGEST_LAG_MS, LAG_STEP_MS * int(half / LAG_STEP_MS))
    lags_ms = np.arange(-largest, largest + 1, LAG_STEP_MS, dtype=np.float64)
    if len(lags_ms) < 3:
        return None
    size = round(SMOOTHING_S * SPEECH_RATE) | 1
    level = uniform_filter1d(np.abs(speech).astype(np.float64), size, mode="constant")
    total = np.concatenate([[0.0], np.cumsum(level)])
    starts = np.arange(len(opening)) / frame_rate + lags_ms[:, None] / 1000  # [L, F]
    first = np.round(starts * SPEECH_RATE).astype(int)
    last = np.round((starts + 1 / frame_rate) * SPEECH_RATE).astype(int)
    inside = (first >= 0) & (last <= level.size)
    first, last = np.clip(first, 0, level.size), np.clip(last, 0, level.size)
    loudness = (total[last] - total[first]) / np.maximum(last - first, 1)
    quiet = np.quantile(loudness[inside], 0.1) if inside.any() else 0.0
    expected = np.where(inside, np.maximum(loudness - quiet, 0) ** COMPRESSION, np.nan)
    return read_lags(opening[:, None], expected[..., None], lags_ms, frame_rate)
