"""How much each face of a clip looks as if it were speaking, frame by frame."""

import numpy as np
from scipy.ndimage import uniform_filter1d

from evaluation.metrics.faces import Faces, FaceTrack
from evaluation.metrics.sound import SPEECH_RATE, mono_speech
from ltx2 import Clip

MOST_FACES = 4
"""More would take longer than everything else; the most visible ones are looked at."""
LEAST_FRAMES = 7
"""Shortest track that the network's crops can be smoothed over."""
OPEN = 0.15
"""Opening of a puppet's mouth, 0..1, averaged over a tenth of a second, that is no noise: generated
mouths that should be shut flicker up to 0.1."""


def speaking_curves(clip: Clip, faces: Faces) -> list[np.ndarray]:
    """Score of every face in every frame [F]: above 0 speaking, NaN where it is not seen.

    For people it is Light-ASD's logit, for puppets the mouth's opening beyond `OPEN`; both follow
    the lips, not the sound, so they mean something only while somebody is heard.

    Args:
        clip: what to look at.
        faces: of that clip; those beyond `MOST_FACES` are left out.
    """
    tracks = [track for track in faces.tracks if len(track.frames) >= LEAST_FRAMES]
    score = _puppet_score if faces.is_cartoon else _person_score
    curves = []
    for track in tracks[:MOST_FACES]:
        curve = np.full(len(clip.frames), np.nan)
        curve[track.frames] = score(clip, track)
        curves.append(curve)
    return curves


def _puppet_score(clip: Clip, track: FaceTrack) -> np.ndarray:
    reach = max(1, round(clip.frame_rate / 10))
    return uniform_filter1d(np.nan_to_num(track.opening.astype(np.float64)), reach) - OPEN


def _person_score(clip: Clip, track: FaceTrack) -> np.ndarray:
    # They bring torch, which the rest of the metrics does without.
    from evaluation.networks.face_crop import crop_bounds, crops, grey_centres
    from evaluation.networks.light_asd import speaking_scores

    pictures = (clip.frames[number] for number in track.frames)
    cut = grey_centres(crops(pictures, crop_bounds(track.boxes)))
    first, last = (
        round(edge / clip.frame_rate * SPEECH_RATE)
        for edge in (track.frames[0], track.frames[-1] + 1)
    )
    samples = mono_speech(clip)[first:last] * 32768
    return speaking_scores(cut, samples, clip.frame_rate)
