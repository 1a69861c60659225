"""Mel-frequency cepstral coefficients as python_speech_features 0.6 computes them by default.

Both audio-visual networks were trained on these; another recipe gives other scores. Float64
throughout, because the logarithm of near silence magnifies rounding. Letters: S samples, R rows.
"""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

SAMPLE_RATE = 16_000
INT16_SCALE = 32_768.0
"""Samples are expected at the scale of 16-bit integers."""
ROWS_PER_S = 100
NUM_COEFFICIENTS = 13
PRE_EMPHASIS = 0.97
WINDOW_S, STEP_S = 0.025, 0.010
FFT_SIZE = 512
LIFTER = 22
FLOOR = 2.0**-52
"""Stands for an energy of exactly 0."""
MEL_BINS = (
    *(0, 2, 4, 7, 10, 13, 16, 20, 24, 29, 34, 40, 46, 53, 60, 68, 77, 87, 97, 109, 122),
    *(136, 152, 169, 188, 209, 231, 256),
)
"""Bins of the FFT at 28 points equally spaced in mel, 0..8000 Hz. Written out because one of them
lies so near an integer that rounding decides."""


def mfcc(samples: ArrayLike, *, speed: float = 1.0) -> Array:
    """Coefficients [R, 13] of mono sound [S] at 16 kHz on the scale of 16-bit integers.

    Args:
        samples: -32768..32767, integers or floats.
        speed: 25 / frame rate makes four rows fall on each picture of another frame rate.
    """
    signal = np.asarray(samples, np.float64)
    emphasised = np.append(signal[:1], signal[1:] - PRE_EMPHASIS * signal[:-1])
    frames = _frames(emphasised, _round(WINDOW_S * speed), _round(STEP_S * speed))
    power = np.abs(np.fft.rfft(frames, FFT_SIZE)) ** 2 / FFT_SIZE
    energy = _floored(power.sum(axis=1))
    logs = np.log(_floored(power @ filterbank().T))
    rows = logs @ _cosines().T * _lifter()
    rows[:, 0] = np.log(energy)
    return rows


@cache
def filterbank() -> Array:
    """Triangles over the bins of the FFT [26, 257]."""
    bins = np.arange(FFT_SIZE // 2 + 1)
    triangles = np.zeros((len(MEL_BINS) - 2, len(bins)))
    for row, (low, top, high) in enumerate(zip(MEL_BINS, MEL_BINS[1:], MEL_BINS[2:], strict=False)):
        rising, falling = (bins >= low) & (bins < top), (bins >= top) & (bins < high)
        triangles[row, rising] = (bins[rising] - low) / (top - low)
        triangles[row, falling] = (high - bins[falling]) / (high - top)
    return triangles


def _round(seconds: float) -> int:
    """Samples, rounded half up."""
    return int(np.floor(seconds * SAMPLE_RATE + 0.5))


def _frames(signal: Array, window: int, step: int) -> Array:
    """Windows [R, window]; zeros are appended until the last one is full."""
    count = 1 + max(0, -(-(len(signal) - window) // step))
    padded = np.pad(signal, (0, max(0, (count - 1) * step + window - len(signal))))
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::step][:count]


def _floored(values: Array) -> Array:
    return np.where(values == 0, FLOOR, values)


@cache
def _cosines() -> Array:
    """Orthonormal DCT-II of 26 values, its first 13 rows [13, 26]."""
    size = len(MEL_BINS) - 2
    rows, columns = np.arange(NUM_COEFFICIENTS)[:, None], np.arange(size)[None]
    scale = np.sqrt(np.where(rows == 0, 1.0, 2.0) / size)
    return scale * np.cos(np.pi * rows * (2 * columns + 1) / (2 * size))


@cache
def _lifter() -> Array:
    return 1 + LIFTER / 2 * np.sin(np.pi * np.arange(NUM_COEFFICIENTS) / LIFTER)
