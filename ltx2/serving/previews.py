"""What a clip looks and sounds like so far, small enough to be sent every second."""

import io
import struct
import wave
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ltx2.media.recipe_tag import AI_GENERATED
from ltx2.preview import Preview

MAX_PICTURES = 6
"""Side by side: enough to see motion."""

MAX_HEIGHT = 160
"""Pixels."""

MAX_SOUND_S = 20.0


@dataclass(frozen=True)
class Sketch:
    """A preview as files.

    Attributes:
        step: finished steps.
        total: all steps.
        pictures: JPEG of `num_pictures` pictures of equal width side by side, in order.
        num_pictures: at least 1.
        sound: WAV; None beside a single picture.
    """

    step: int
    total: int
    pictures: bytes
    num_pictures: int
    sound: bytes | None


def sketch(preview: Preview) -> Sketch:
    """Files of a preview."""
    chosen = np.linspace(0, len(preview.frames) - 1, min(MAX_PICTURES, len(preview.frames)))
    frames = preview.frames[chosen.round().astype(int)]
    return Sketch(
        preview.step,
        preview.total,
        _jpeg(frames),
        len(frames),
        None if preview.waveform is None else _wav(preview.waveform, preview.sample_rate),
    )


def _jpeg(frames: np.ndarray) -> bytes:
    """A strip of pictures [F, H, W, 3]."""
    _, height, width, _ = frames.shape
    strip = Image.fromarray(np.concatenate(list(frames), axis=1))  # [H, F * W, 3]
    if height > MAX_HEIGHT:
        narrow = max(1, round(width * MAX_HEIGHT / height))
        strip = strip.resize((narrow * len(frames), MAX_HEIGHT), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    strip.save(file, "JPEG", quality=80, comment=AI_GENERATED)
    return file.getvalue()


def _wav(waveform: np.ndarray, sample_rate: int) -> bytes:
    """Sound [C, S] of 16 bits."""
    waveform = waveform[:, : round(MAX_SOUND_S * sample_rate)]
    samples = (np.clip(waveform, -1.0, 1.0) * 32767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(len(waveform))
        sound.setsampwidth(2)
        sound.setframerate(sample_rate)
        sound.writeframes(samples.T.tobytes())
    return _marked(file.getvalue())


def _marked(riff: bytes) -> bytes:
    """A WAV file with a comment, as RIFF writes it: a list of texts of even length."""
    text = AI_GENERATED.encode() + b"\0"
    text += b"\0" * (len(text) % 2)
    info = b"INFOICMT" + struct.pack("<I", len(text)) + text
    riff += b"LIST" + struct.pack("<I", len(info)) + info
    return riff[:4] + struct.pack("<I", len(riff) - 8) + riff[8:]
