"""How loud a sound is (ITU-R BS.1770, EBU R 128)."""

import math
import warnings

import numpy as np

SHORTEST_S = 0.4
"""One block of the meter."""


def loudness_lufs(waveform: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness of a waveform [2, S]; -inf for silence and for less than one block."""
    if waveform.shape[1] < SHORTEST_S * sample_rate:
        return -math.inf
    # It takes as long to import as all the rest of a server that only shows clips.
    import pyloudnorm

    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")  # the meter divides by the number of loud blocks
        meter = pyloudnorm.Meter(sample_rate)
        return float(meter.integrated_loudness(np.ascontiguousarray(waveform.T, np.float64)))
