"""Offset between what is seen to hit and what is heard: for clips without faces.

A thing that hits the floor changes its speed from one picture to the next, so the pictures'
movement jumps; a sound that begins makes the spectrum jump. Both series of jumps are compared at
every lag. One hit goes with any other at some lag, so this measures when, and is no proof that the
sound belongs to what is seen. Letters: F frames, H height, W width, L lags.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from evaluation.expectation import Expectation
from evaluation.measurement import Curve, Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics.face_tracks import find_cuts
from evaluation.metrics.lip_sync.lag import verdict
from evaluation.metrics.sound import SPEECH_RATE, mono_speech
from ltx2 import Clip

Array = NDArray[np.float64]

RATE = 200.0
LARGEST_LAG_MS = 400
SIDE = 96
STILL_LEVELS = 8.0
"""Change of a pixel, 0..255, that noise does not reach."""
LEAST_MOTION = 0.002
"""Share of the picture that moves at least, on average."""
SOFTNESS_S = 0.02
LEAST_MARGIN = 0.15
NEIGHBOURHOOD_MS = 120
SILENCE = 1e-3


def measure(clip: Clip, expectation: Expectation) -> Outcome:  # noqa: PLR0911 - one per reason
    """Signed milliseconds, positive = sound early."""
    if expectation.lines:
        # Nods and syllables are no impacts, and agree with each other somewhere.
        return NotMeasurable("Words were asked for, not impacts.", "See the offset of the lips.")
    if not clip.waveform.size:
        return NotMeasurable("The clip has no sound.")
    speech = mono_speech(clip)
    if np.sqrt(np.mean(speech**2)) < SILENCE:
        return NotMeasurable("The sound is silent.")
    if len(clip.frames) < 8:
        return NotMeasurable("The clip has fewer than eight pictures.")
    turns = motion_onsets(clip)
    if turns is None:
        return NotMeasurable("Nothing moves.")
    seen, heard = turns, sound_onsets(speech, clip.duration_s)
    lags = np.arange(-LARGEST_LAG_MS, LARGEST_LAG_MS + 1, 5)
    curve = np.array([_agreement(seen, heard, round(lag * RATE / 1000)) for lag in lags])
    best = int(curve.argmax())
    far = np.abs(lags - lags[best]) > NEIGHBOURHOOD_MS
    margin = float(curve[best] - curve[far].max())
    offset = -float(lags[best])
    evidence = Curve(
        "agreement of movement and sound",
        -lags[::-1].astype(float),
        curve[::-1],
        "sound early by (ms)",
        "correlation",
    )
    details = {"margin": margin, "peak": float(curve[best]), "verdict": verdict(offset)}
    if best in (0, len(lags) - 1) or margin < LEAST_MARGIN:
        return NotMeasurable(
            "No lag joins movements and sounds clearly better than others.",
            "Ask for something that hits something, heard and seen.",
            details=details,
            evidence=(evidence,),
        )
    return Measured(offset, "ms", confidence=margin, details=details, evidence=(evidence,))


METRIC = Metric(
    name="impacts.offset",
    version=2,
    measured_by="jumps of movement against onsets of sound",
    measure=measure,
)


def motion_onsets(clip: Clip) -> Array | None:
    """How abruptly what moves turns upward, at `RATE` per second; None where nothing moves."""
    step = max(1, min(clip.frames.shape[1:3]) // SIDE)
    small = clip.frames[:, ::step, ::step].astype(np.float64).mean(axis=-1)
    away = np.abs(small - np.median(small, axis=0))
    moving = np.where(away > STILL_LEVELS, away, 0.0)
    weight = moving.sum(axis=(1, 2))
    if (moving > 0).mean() < LEAST_MOTION:
        return None
    rows = np.arange(small.shape[1])[None, :, None]
    height = (moving * rows).sum(axis=(1, 2)) / np.maximum(weight, 1e-9) / small.shape[1]
    # Falling and then rising: the bend of the height downward in the picture.
    bend = np.maximum(2 * height[1:-1] - height[:-2] - height[2:], 0)
    bend = np.pad(bend, 1)
    for cut in find_cuts(clip.frames):
        bend[max(cut - 2, 0) : cut + 2] = 0
    times = np.arange(int(clip.duration_s * RATE)) / RATE
    return np.interp(times, np.arange(len(bend)) / clip.frame_rate, bend)


def sound_onsets(speech: NDArray[np.float32], duration_s: float) -> Array:
    """How abruptly the sound becomes louder in any band, at `RATE` per second."""
    import librosa

    hop = round(SPEECH_RATE / RATE)
    power = librosa.feature.melspectrogram(
        y=speech, sr=SPEECH_RATE, n_fft=512, hop_length=hop, n_mels=32
    )
    levels = np.log(power / (power.max() + 1e-12) + 1e-4)
    rise = np.maximum(np.diff(levels, axis=1, prepend=levels[:, :1]), 0).mean(axis=0)
    count = int(duration_s * RATE)
    return np.pad(rise, (0, max(0, count - len(rise))))[:count].astype(np.float64)


def _agreement(seen: Array, heard: Array, lag: int) -> float:
    """Correlation of what is seen with what is heard `lag` steps later."""
    soft = SOFTNESS_S * RATE
    a = seen[: len(seen) - lag] if lag >= 0 else seen[-lag:]
    b = heard[lag:] if lag >= 0 else heard[:lag]
    a, b = (gaussian_filter1d(values, soft) for values in (a, b))
    spread = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else 0.0
