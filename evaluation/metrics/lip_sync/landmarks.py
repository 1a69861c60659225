"""Offset between lips and sound from face landmarks: an estimate that runs everywhere.

What a linear map expects of the lips from the sound is compared with what the landmarks show, at
every lag. It measures an offset; it is no proof that the lips say these words.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from evaluation.expectation import Expectation
from evaluation.measurement import Curve, Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics.faces import Faces, FaceTrack, find_faces
from evaluation.metrics.lip_sync import ridge
from evaluation.metrics.lip_sync.cartoons import cartoon_reading
from evaluation.metrics.lip_sync.lag import LARGEST_LAG_MS, LagReading, read_lags, verdict
from evaluation.metrics.lip_sync.preference import preferred_in_step
from evaluation.metrics.sound import mono_speech
from evaluation.metrics.speech_features import speech_features
from evaluation.metrics.voice_activity import heard
from ltx2 import Clip
from ltx2.errors import ResourceError

Array = NDArray[np.float64]

LAG_STEP_MS = 10
LEAST_EVIDENCE = 0.28
"""Margin of the peak, scaled to a clip of three seconds, below which nothing is believed."""
EVIDENCE_SECONDS, LONGEST_EVIDENCE_S = 3.0, 12.0
LEAST_TRACK_S = 1.0
LEAST_SPEECH_S = 0.3
SILENCE = 1e-3
"""Root mean square of a sound that counts as none."""
LEAST_MOVEMENT = 0.003
"""Standard deviation of the inner lips' opening, shares of the face's height, of a moving mouth."""
LEAST_CARTOON_CONFIDENCE = 0.99
"""Share of the world's other words that must fit a puppet's mouth worse than what is heard."""
LEAST_CARTOON_MOVEMENT = 0.05


def measure(clip: Clip, expectation: Expectation) -> Outcome:  # noqa: PLR0911 - one per reason
    """Signed milliseconds, positive = sound early; see the module."""
    if not clip.waveform.size:
        return NotMeasurable("The clip has no sound.")
    speech = mono_speech(clip)
    if np.sqrt(np.mean(speech**2)) < SILENCE:
        return NotMeasurable("The sound is silent.")
    try:
        faces = find_faces(clip, cartoon=True if expectation.is_cartoon else None)
    except ResourceError as error:
        return NotMeasurable(error.message, error.next_step)
    shown = [face for face in faces.tracks if len(face.frames) >= LEAST_TRACK_S * clip.frame_rate]
    if not shown:
        return NotMeasurable(
            "No face is seen for a second or more.", "Ask for a face that looks at the camera."
        )
    still = NotMeasurable("No mouth moves.", "Ask for somebody who speaks.")
    if faces.is_cartoon:
        moving = [face for face in shown if np.nanstd(face.opening) > LEAST_CARTOON_MOVEMENT]
        return _judged_cartoon(clip, speech, moving, faces) if moving else still
    voice = heard(clip)
    if not isinstance(voice, NotMeasurable) and voice[1].speech_s < LEAST_SPEECH_S:
        return NotMeasurable("Nobody is heard to speak.", "Ask for a line of dialogue in quotes.")
    moving = [face for face in shown if np.nanstd(face.opening) > LEAST_MOVEMENT]
    if not moving:
        return still
    features = speech_features(clip)
    if isinstance(features, NotMeasurable):
        return features
    weights = ridge.shipped_ridge().weights_for(clip)
    expected = ridge.expected_movements(features, weights, speech, clip.duration_s)
    readings = [person_reading(face, expected, clip.frame_rate, clip.duration_s) for face in moving]
    return _judged(readings, evidence_of, LEAST_EVIDENCE, faces)


METRIC = Metric(
    name="lip_sync.landmarks",
    version=5,
    measured_by="landmarks against Whisper-base features by ridge; puppets: mouth against voice",
    measure=measure,
)


def person_reading(
    face: FaceTrack, expected: Array, frame_rate: float, duration_s: float
) -> LagReading | None:
    """How the movements of a face agree with those expected [T, K] from the sound."""
    moves = ridge.lip_movements(face, frame_rate, duration_s)
    lags_ms = np.arange(-LARGEST_LAG_MS, LARGEST_LAG_MS + 1, LAG_STEP_MS, dtype=np.float64)
    rows = np.arange(len(moves)) + np.round(lags_ms[:, None] * ridge.RATE / 1000).astype(int)
    outside = (rows < 0) | (rows >= len(expected))
    shifted = expected[np.clip(rows, 0, len(expected) - 1)]  # [L, T, K]
    shifted[outside] = np.nan
    return read_lags(moves, shifted, lags_ms, ridge.RATE)


def evidence_of(reading: LagReading) -> float:
    """The margin as it would be in a clip of three seconds; chance peaks shrink with length."""
    seconds = min(reading.seconds, LONGEST_EVIDENCE_S)
    return reading.margin * float(np.sqrt(seconds / EVIDENCE_SECONDS))


def _judged_cartoon(
    clip: Clip, speech: NDArray[np.float32], moving: list[FaceTrack], faces: Faces
) -> Outcome:
    # Puppets speak in turn, so whichever mouth is open widest belongs to the sound.
    openings = np.array([face.opening_of(len(clip.frames)) for face in moving], np.float64)
    seen = np.isfinite(openings).any(axis=0)
    widest = np.where(seen, np.nan_to_num(openings).max(axis=0), np.nan)
    found = cartoon_reading(widest, speech, clip.frame_rate)
    if found is None:
        return _judged([], evidence_of, 0.0, faces)
    outcome = _judged(
        [found.lag], lambda reading: 1 - found.chance, LEAST_CARTOON_CONFIDENCE, faces
    )
    return replace(outcome, details=dict(outcome.details) | {"chance": found.chance})


def _judged(
    readings: Sequence[LagReading | None],
    confidence: Callable[[LagReading], float],
    least: float,
    faces: Faces,
) -> Measured | NotMeasurable:
    """The surest reading, if it is sure enough."""
    found = [reading for reading in readings if reading is not None]
    if not found:
        return NotMeasurable("At no lag do lips and sound agree better than at others.")
    best = max(found, key=confidence)
    sure = confidence(best)
    curve = Curve(
        "agreement of lips and sound",
        best.offsets_ms,
        best.curve,
        "sound early by (ms)",
        "correlation",
    )
    details = {
        "verdict": verdict(best.offset_ms),
        "preferred_in_step": preferred_in_step(best.offset_ms),
        "margin": best.margin,
        "peak": best.peak,
        "found_by": faces.found_by,
        "least_confidence": least,
        "seconds": best.seconds,
    }
    if best.at_edge:
        reason = f"Lips and sound agree best at {best.offset_ms:+.0f} ms, the largest searched."
        return NotMeasurable(reason, details=details, evidence=(curve,))
    if sure < least:
        reason = (
            f"Lips and sound do not agree clearly better at one offset (confidence {sure:.2f},"
            f" needed {least:.2f})."
        )
        next_step = "Measure a longer clip, or one whose mouth is large and seen from the front."
        return NotMeasurable(reason, next_step, details=details, evidence=(curve,))
    return Measured(
        value=best.offset_ms,
        unit="ms",
        low=best.low_ms,
        high=best.high_ms,
        confidence=sure,
        details=details,
        evidence=(curve,),
    )
