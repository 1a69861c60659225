"""Integer geometry of clips and their latents: frames, seconds, sizes.

Letters used throughout the package: `B` batch, `C` channels, `F H W` pixel frames, height and
width, `f h w` the same on the latent grid, `T` tokens, `D` width of a stream, `N` heads,
`K` head dimension, `S` audio samples, `L` mel frames, `l` latent audio frames, `M` mel bins.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal


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


Enlarging = Literal["space", "space-1.5", "time"]
"""What a stage after the first one enlarges: height and width, to 2 or 1.5 times as many pixels
along each, or the frame rate, to twice as many pictures."""

_IN_SPACE = {"space": Fraction(2), "space-1.5": Fraction(3, 2), "time": Fraction(1)}
_IN_TIME = {"space": 1, "space-1.5": 1, "time": 2}

ENLARGINGS: tuple[Enlarging, ...] = ("space", "space-1.5", "time")


@dataclass(frozen=True)
class StageSize:
    """What a clip has in one of the stages that make it.

    Attributes:
        height, width, num_frames, frame_rate: of the clip in this stage.
        shrink: how much smaller its pictures are than the result's; `slow` the same for its
            frame rate.
    """

    height: int
    width: int
    num_frames: int
    frame_rate: float
    shrink: Fraction
    slow: int


def growth(stages: Sequence[Enlarging]) -> tuple[Fraction, int]:
    """How much larger, and how much faster, a clip is after all of these stages."""
    return (
        math.prod((_IN_SPACE[stage] for stage in stages), start=Fraction(1)),
        math.prod(_IN_TIME[stage] for stage in stages),
    )


def stage_sizes(
    stages: Sequence[Enlarging], height: int, width: int, num_frames: int, frame_rate: float
) -> tuple[StageSize, ...]:
    """Sizes in the first stage and after each that follows.

    Args:
        stages: those after the first one.
        height, width: of the result, multiples of `enlarged_multiple`.
        num_frames, frame_rate: of the result.
    """
    sizes = []
    for index in range(len(stages) + 1):
        shrink, slow = growth(stages[index:])
        sizes.append(
            StageSize(
                int(height / shrink),
                int(width / shrink),
                (num_frames - 1) // slow + 1,
                frame_rate / slow,
                shrink,
                slow,
            )
        )
    return tuple(sizes)


def enlarged_multiple(stages: Sequence[Enlarging], multiple: int) -> int:
    """What sizes have to divide by for a multiple of `multiple` in every stage.

    A stage to 1.5 times the size turns 2 latent pixels into 3, so that 96 px come of 64.
    """
    shrinks = [growth(stages[index:])[0] for index in range(len(stages) + 1)]
    return multiple * math.lcm(*(shrink.numerator for shrink in shrinks))


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
