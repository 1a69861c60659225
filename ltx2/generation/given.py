"""What a window of a clip is held to, read from files and cut to the window."""

from dataclasses import dataclass, replace

import numpy as np

from ltx2.conditions import Reference
from ltx2.generation.canvas import Canvas
from ltx2.inputs import Inputs
from ltx2.media.recompress import recompressed
from ltx2.request import Request


@dataclass(frozen=True)
class Shown:
    """A keyframe: a picture uint8 [H, W, 3] of any size, at a frame of the window."""

    picture: np.ndarray
    frame: int
    strength: float


@dataclass(frozen=True)
class Followed:
    """A reference video: pictures uint8 [F, H, W, 3] of any size, one per frame of the window."""

    frames: np.ndarray
    strength: float
    downscale: int


@dataclass(frozen=True)
class Given:
    """Everything that a window is held to.

    Attributes:
        canvas: the window itself, with what is known of it.
        keyframes: pictures that it shows.
        reference: a video that it follows.
    """

    canvas: Canvas
    keyframes: tuple[Shown, ...] = ()
    reference: Followed | None = None

    def window(self, start: int, stop: int) -> "Given":
        """What concerns the frames [start, stop)."""
        reference = self.reference
        if reference is not None:
            last = len(reference.frames) - 1
            reference = replace(reference, frames=reference.frames[min(start, last) : stop])
        return Given(
            self.canvas.window(start, stop),
            tuple(
                replace(shown, frame=shown.frame - start)
                for shown in self.keyframes
                if start <= shown.frame < stop
            ),
            reference,
        )


def read_given(request: Request, inputs: Inputs, canvas: Canvas) -> Given:
    """What a resolved request gives, beside what its canvas holds.

    Raises:
        RequestError: a file is not there.
        MediaError: a file cannot be read.
    """
    last = len(canvas.frames) - 1
    keyframes = [
        Shown(
            recompressed(inputs.read(keyframe.image).frames[0], request.image_crf),
            min(round(keyframe.at_s * canvas.frame_rate), last),
            keyframe.strength,
        )
        for keyframe in request.keyframes
    ]
    reference = request.reference
    return Given(
        canvas, tuple(keyframes), None if reference is None else _read(reference, inputs, canvas)
    )


def _read(reference: Reference, inputs: Inputs, canvas: Canvas) -> Followed:
    clip = inputs.read(reference.file)
    times = (np.arange(len(canvas.frames)) + 0.5) / canvas.frame_rate
    index = np.floor(times * clip.frame_rate).astype(int)
    return Followed(
        clip.frames[index[index < len(clip.frames)]], reference.strength, reference.downscale
    )
