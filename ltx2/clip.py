"""A clip: pictures, sound, and how it was made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from ltx2.request import Recipe


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames and stereo sound of equal length.

    Attributes:
        frames: uint8 RGB [F, H, W, 3].
        waveform: float32 [2, S] in -1..1; S is the length of the pictures at `sample_rate`, or
            0 for a file without sound, which is not the same as silence.
        frame_rate: pictures per second.
        sample_rate: samples per second and channel.
        recipe: how it was made; None for clips that are not ours.
    """

    frames: np.ndarray
    waveform: np.ndarray
    frame_rate: float
    sample_rate: int
    recipe: Recipe | None = None

    @property
    def duration_s(self) -> float:
        """Length of the pictures in seconds."""
        return len(self.frames) / self.frame_rate

    def save(self, path: str | Path) -> Path:
        """The path of the H.264 + AAC MP4 just written, with the recipe in its comment tag.

        Raises:
            MediaError: the file cannot be written; no partial file is left behind.
        """
        from ltx2.media.encode import write_clip

        return write_clip(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Clip read from a media file.

        Raises:
            MediaError: the file is missing, damaged, too large, or lacks a picture.
        """
        from ltx2.media.decode import read_clip

        clip = read_clip(Path(path))
        return cls(clip.frames, clip.waveform, clip.frame_rate, clip.sample_rate, clip.recipe)
