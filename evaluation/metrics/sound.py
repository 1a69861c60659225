"""Sound as the speech networks take it."""

from fractions import Fraction

import numpy as np
from scipy.signal import resample_poly

from ltx2 import Clip

SPEECH_RATE = 16_000
"""Sample rate in Hz that every network for speech expects."""


def mono_speech(clip: Clip) -> np.ndarray:
    """Mean of both channels [S] float32 at `SPEECH_RATE`, -1..1; empty without sound.

    Samples that are not numbers count as silence.
    """
    if not clip.waveform.size:
        return np.zeros(0, np.float32)
    mono = np.nan_to_num(clip.waveform.astype(np.float64).mean(axis=0), posinf=0.0, neginf=0.0)
    ratio = Fraction(SPEECH_RATE, clip.sample_rate)
    if ratio != 1:
        mono = resample_poly(mono, ratio.numerator, ratio.denominator)
    return np.clip(mono, -1, 1).astype(np.float32)
