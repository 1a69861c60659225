"""Integer geometry of clips and their latents: frames, seconds, sizes.

Letters used throughout the package: `B` batch, `C` channels, `F H W` pixel frames, height and
width, `f h w` the same on the latent grid, `T` tokens, `D` width of a stream, `N` heads,
`K` head dimension, `S` audio samples, `L` mel frames, `l` latent audio frames, `M` mel bins.
"""

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class VideoCompression:
    """How many pixels one latent voxel stands for.

    Attributes:
        temporal: frames per latent frame; the first latent frame holds a single frame.
        spatial: pixels per latent pixel, in height and in width.
    """

    temporal: int
    spatial: int

    def latent_grid(self, num_frames: int, height: int, width: int) -> tuple[int, int, int]:
        """Latent frames, height and width `(f, h, w)` of a clip that fits the grid."""
        return (
            (num_frames - 1) // self.temporal + 1,
            height // self.spatial,
            width // self.spatial,
        )


def snap_num_frames(num_frames: float, temporal: int, *, at_most: float = math.inf) -> int:
    """Nearest count of the form `temporal * k + 1` from 1 to `at_most`; ties go down."""
    steps = math.ceil((num_frames - 1) / temporal - 0.5)
    if steps * temporal + 1 > at_most:
        steps = math.floor((at_most - 1) / temporal)
    return temporal * max(0, steps) + 1


def snap_size(pixels: int, multiple: int) -> int:
    """Nearest positive multiple; ties go up."""
    return max(1, (pixels + multiple // 2) // multiple) * multiple


def num_audio_latents(num_frames: int, frame_rate: float, latents_per_second: float) -> int:
    """Latent audio frames that belong to `num_frames` pictures, at least 1.

    The released model rounds `duration * 25`, so sound and picture differ by up to 20 ms
    before the waveform is cut to the picture's length.
    """
    return max(1, round(num_frames / frame_rate * latents_per_second))


AUDIO_LATENTS_PER_SECOND = 25.0
"""Of the released audio autoencoder; in estimates of memory, sound is too small a part for others
to matter."""

NTSC_FRAME_RATES = (24, 30, 48, 60, 120)
"""Rates that also exist 1,000/1,001 times as fast and are then written 23.976 or 23.98."""


def rational_frame_rate(frame_rate: float) -> Fraction:
    """The exact rate that a rounded number of pictures per second stands for.

    23.976 is 24000/1001; any other rate is the nearest fraction with a denominator up to 1001.
    """
    for nominal in NTSC_FRAME_RATES:
        exact = Fraction(nominal * 1000, 1001)
        if abs(frame_rate - exact) < 0.005:
            return exact
    return Fraction(frame_rate).limit_denominator(1001)


def num_samples(num_frames: int, frame_rate: float, sample_rate: int) -> int:
    """Audio samples that last exactly as long as `num_frames` pictures."""
    return round(num_frames / frame_rate * sample_rate)
