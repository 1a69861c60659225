"""Clips small enough for a report that carries them: less wide, softer, the same sound in mono."""

import base64
import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from ltx2 import Clip

WIDTH, FRAME_RATE, MAX_S = 256, 24.0, 12.0
QUALITY = {"crf": "30", "preset": "medium"}
AUDIO_BIT_RATE, AUDIO_RATE = 48_000, 24_000


@dataclass(frozen=True)
class SmallClip:
    """A clip and its first picture as data URIs, and how many bytes both have in the report."""

    video: str
    poster: str

    @property
    def num_bytes(self) -> int:
        """In the report."""
        return len(self.video) + len(self.poster)


def small_clip(path: Path) -> SmallClip:
    """The clip of a file, cut to 12 seconds.

    Raises:
        MediaError: the file cannot be read.
    """
    clip = Clip.load(path)
    step = max(1, round(clip.frame_rate / FRAME_RATE))
    frames = clip.frames[: round(MAX_S * clip.frame_rate) : step]
    height, width = frames.shape[1:3]
    small = min(WIDTH, width) // 2 * 2
    size = small, max(2, round(height * small / width) // 2 * 2)
    pictures = [
        np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS))
        for frame in frames
    ]
    video = _encoded(pictures, clip.frame_rate / step, _mono(clip, len(frames) * step))
    poster = io.BytesIO()
    # The first picture is often black or still; the middle shows what the clip is about.
    Image.fromarray(pictures[len(pictures) // 2]).save(poster, "JPEG", quality=70)
    return SmallClip(_uri("video/mp4", video), _uri("image/jpeg", poster.getvalue()))


def _mono(clip: Clip, num_frames: int) -> np.ndarray:
    """The sound [S] at `AUDIO_RATE`; empty where there is none."""
    if not clip.waveform.size:
        return np.zeros(0, np.float32)
    from scipy.signal import resample_poly

    sound = clip.waveform.mean(axis=0)[: round(num_frames / clip.frame_rate * clip.sample_rate)]
    factor = Fraction(AUDIO_RATE, clip.sample_rate)
    resampled: np.ndarray = resample_poly(sound, factor.numerator, factor.denominator)
    return np.clip(np.nan_to_num(resampled), -1.0, 1.0).astype(np.float32)


def _encoded(pictures: list[np.ndarray], frame_rate: float, sound: np.ndarray) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        rate = Fraction(frame_rate).limit_denominator(1001)
        video = container.add_stream("libx264", rate=rate, options=dict(QUALITY))
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=AUDIO_RATE, layout="mono") if sound.size else None
        if audio is not None:
            audio.bit_rate = AUDIO_BIT_RATE
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = AUDIO_RATE, 0
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return file.getvalue()


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
