"""Square face crops as SyncNet and Light-ASD were trained on.

The square has a side of 2.8 half sizes of the face, begins at the top of the box and ends below
the chin. Letters: N frames of a track, H height, W width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import medfilt
from torch.nn.functional import interpolate

CROP_SIDE = 224
CROP_SCALE = 0.4
SMOOTHING = 13
"""Frames of the median over size and place; at both ends it reads zeros, as in the training."""
PADDING_GREY = 110
GREY_MARGIN = 56
"""What the inner 112 pixels leave out on each side."""


@dataclass(frozen=True)
class CropBounds:
    """Where a track's crops lie, in pictures padded by `padding` on all sides.

    Attributes:
        padding, top, bottom, left, right: pixels, whole numbers [N]; ends exclusive.
    """

    padding: NDArray[np.int64]
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]


def smoothed_places(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Half size, x and y of the centre after a running median [N, 3], from boxes [N, 4]."""
    left, top, right, bottom = np.asarray(boxes, np.float64).T
    half = np.maximum(bottom - top, right - left) / 2
    raw = (half, (left + right) / 2, (top + bottom) / 2)
    return np.stack([medfilt(values, SMOOTHING) for values in raw], axis=1)


def crop_bounds(boxes: NDArray[np.floating]) -> CropBounds:
    """Bounds of the crops for tight boxes [N, 4] in pixels; N is at least 7."""
    half, x, y = smoothed_places(boxes).T
    padding = (half * (1 + 2 * CROP_SCALE)).astype(np.int64)
    x, y = x + padding, y + padding
    edges = (
        y - half,
        y + half * (1 + 2 * CROP_SCALE),
        x - half * (1 + CROP_SCALE),
        x + half * (1 + CROP_SCALE),
    )
    return CropBounds(padding, *(edge.astype(np.int64) for edge in edges))


def crops(frames: Iterator[NDArray[np.uint8]], bounds: CropBounds) -> NDArray[np.uint8]:
    """RGB crops [N, 224, 224, 3] of a track's pictures [H, W, 3], one for each bound."""
    cut = np.empty((len(bounds.top), CROP_SIDE, CROP_SIDE, 3), np.uint8)
    for row, frame in enumerate(frames):
        pad = int(bounds.padding[row])
        padded = np.pad(frame, ((pad, pad), (pad, pad), (0, 0)), constant_values=PADDING_GREY)
        rows = slice(bounds.top[row], bounds.bottom[row])
        part = padded[rows, bounds.left[row] : bounds.right[row]]
        pixels = torch.from_numpy(part.copy()).permute(2, 0, 1)[None].float()
        small = interpolate(pixels, (CROP_SIDE, CROP_SIDE), mode="bilinear")[0]
        cut[row] = small.round().clamp(0, 255).permute(1, 2, 0).numpy()
    return cut


def grey_centres(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The inner squares in grey [N, 112, 112] of crops [N, 224, 224, 3]."""
    inner = slice(GREY_MARGIN, CROP_SIDE - GREY_MARGIN)
    grey = np.empty((len(rgb), *rgb[0, inner, inner].shape[:2]), np.uint8)
    for row, picture in enumerate(rgb):
        weighed = picture[inner, inner].astype(np.float64) @ np.array([0.299, 0.587, 0.114])
        grey[row] = np.round(weighed)
    return grey
