"""What Whisper's encoder makes of a clip's sound: phonetic features that a linear map can use.

Letters: N features, one every 20 ms; D = 512 numbers each.
"""

import numpy as np
from numpy.typing import NDArray

from evaluation.measurement import NotMeasurable
from evaluation.metrics.once import OncePerClip
from evaluation.metrics.recogniser import load_base_recogniser
from evaluation.metrics.sound import SPEECH_RATE, mono_speech
from ltx2 import Clip

FEATURE_RATE = 50.0
FEATURE_SIZE = 512
CHUNK_S = 30.0
"""What the network takes at once; shorter sounds are filled with silence."""
MEL_ROWS = 3000


@OncePerClip
def speech_features(clip: Clip) -> NDArray[np.float32] | NotMeasurable:
    """Features of the sound [N, D], always by the packaged base model, whose numbers they are."""
    recogniser = load_base_recogniser()
    if isinstance(recogniser, NotMeasurable):
        return recogniser
    speech = mono_speech(clip)
    chunk = round(CHUNK_S * SPEECH_RATE)
    parts = []
    for first in range(0, max(1, speech.size), chunk):
        piece = speech[first : first + chunk]
        mel = recogniser.network.feature_extractor(piece)[:, :MEL_ROWS]
        filled = np.pad(mel, ((0, 0), (0, MEL_ROWS - mel.shape[1]))).astype(np.float32)
        encoded = np.array(recogniser.network.encode(filled))[0]
        parts.append(encoded[: int(np.ceil(piece.size / SPEECH_RATE * FEATURE_RATE))])
    return np.concatenate(parts).astype(np.float32)
