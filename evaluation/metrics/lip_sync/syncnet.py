"""Offset, LSE-C and LSE-D by SyncNet, where its authors' weights are given."""

import os
from pathlib import Path

import numpy as np

from evaluation.expectation import Expectation
from evaluation.measurement import Curve, Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics.faces import FaceTrack, find_faces
from evaluation.metrics.lip_sync.lag import verdict
from evaluation.metrics.lip_sync.preference import preferred_in_step
from evaluation.metrics.sound import SPEECH_RATE, mono_speech
from ltx2 import Clip
from ltx2.errors import LTX2Error

WEIGHTS_VARIABLE = "LTX2_SYNCNET_WEIGHTS"
LEAST_CONFIDENCE = 4.2
"""LSE-C below which frozen and swapped mouths lie too (published measurements, 0.8 to 3.7)."""
LEAST_FRAMES = 30
"""Shorter tracks have fewer windows than shifts to choose from."""
LEAST_FACE_PX = 32
INT16_SCALE = 32768.0
NUM_FACES = 3
"""Tracks that are read, the most visible ones."""

NO_WEIGHTS = NotMeasurable(
    "SyncNet's weights are not on this machine.",
    f"Take syncnet_v2.model from www.robots.ox.ac.uk/~vgg/software/lipsync and set"
    f" {WEIGHTS_VARIABLE} to its path, or to a copy on the Hugging Face Hub as OWNER/REPO/FILE.",
)


def measure(clip: Clip, expectation: Expectation) -> Outcome:
    """Signed milliseconds, positive = sound early."""
    given = os.environ.get(WEIGHTS_VARIABLE)
    if not given:
        return NO_WEIGHTS
    if expectation.is_cartoon:
        return NotMeasurable("SyncNet reads faces of people only.")
    if not clip.waveform.size or not clip.waveform.any():
        return NotMeasurable("The clip has no sound.")
    try:
        faces = find_faces(clip, cartoon=False)
        shown = [face for face in faces.tracks if _is_large(face)][:NUM_FACES]
        if not shown:
            return NotMeasurable(f"No face of {LEAST_FACE_PX} px is seen in {LEAST_FRAMES} frames.")
        from evaluation.networks.syncnet import find_weights

        weights = find_weights(given)
        return max((_read(face, clip, weights) for face in shown), key=_confidence)
    except LTX2Error as error:
        return NotMeasurable(error.message, error.next_step)


METRIC = Metric(
    name="lip_sync.syncnet", version=1, measured_by="SyncNet, authors' weights", measure=measure
)


def _is_large(face: FaceTrack) -> bool:
    width = float((face.boxes[:, 2] - face.boxes[:, 0]).mean())
    return len(face.frames) >= LEAST_FRAMES and width >= LEAST_FACE_PX


def _confidence(outcome: Outcome) -> float:
    if isinstance(outcome, Measured):
        return 1e3 + (outcome.confidence or 0.0)
    return float(getattr(outcome, "details", {}).get("lse_c", 0.0))


def _read(face: FaceTrack, clip: Clip, weights: Path) -> Outcome:
    from evaluation.networks.face_crop import crop_bounds, crops
    from evaluation.networks.syncnet import SAMPLES_PER_FRAME, embed, load_syncnet, read_offset

    pictures = crops((clip.frames[number] for number in face.frames), crop_bounds(face.boxes))
    # The network knows 640 samples a picture: at other frame rates the sound is re-timed.
    speech = mono_speech(clip)
    places = np.arange(len(face.frames) * SAMPLES_PER_FRAME) / SAMPLES_PER_FRAME + face.frames[0]
    at = places / clip.frame_rate * SPEECH_RATE
    samples = np.interp(at, np.arange(len(speech)), speech) * INT16_SCALE
    reading = read_offset(*embed(load_syncnet(weights), pictures, samples))
    frame_ms = 1000 / clip.frame_rate
    offset_ms = reading.fine_offset_frames * frame_ms
    reach = len(reading.mean_distance) // 2
    shifts_ms = (reach - np.arange(2 * reach + 1)) * frame_ms
    curve = Curve(
        "distance of lips and sound",
        shifts_ms[::-1],
        reading.mean_distance[::-1],
        "sound early by (ms)",
        "distance",
    )
    details = {
        "lse_c": reading.lse_c,
        "lse_d": reading.lse_d,
        "offset_frames": reading.offset_frames,
        "verdict": verdict(offset_ms),
        "preferred_in_step": preferred_in_step(offset_ms),
        "frames": len(face.frames),
    }
    if reading.at_edge:
        reason = f"The best offset is the largest searched, {offset_ms:+.0f} ms."
        return NotMeasurable(reason, details=details, evidence=(curve,))
    if reading.lse_c < LEAST_CONFIDENCE:
        reason = f"SyncNet's confidence {reading.lse_c:.1f} is below {LEAST_CONFIDENCE}."
        return NotMeasurable(reason, details=details, evidence=(curve,))
    return Measured(offset_ms, "ms", confidence=reading.lse_c, details=details, evidence=(curve,))
