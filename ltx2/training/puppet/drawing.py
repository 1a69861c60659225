"""Smooth cartoon shapes drawn over all frames of a clip at once, from signed distances.

Coordinates: the origin is the picture's centre, x points right, y down, and 1 is the shorter
side of the picture. A shape's parameter is a number or one number per frame [F].
Letters: F frames, H height, W width; h and w are the size of a window inside the picture.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating[Any]]
Colour = tuple[float, float, float]
"""Red, green, blue in 0..255."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

EDGE_PX = 2.8
"""Width over which an edge is smoothed: soft enough for a small autoencoder to carry."""
INFINITE_BOX: Box = (-np.inf, -np.inf, np.inf, np.inf)


@dataclass(frozen=True)
class Shape:
    """A region of the plane that may move from frame to frame.

    Attributes:
        distance: signed distance to the edge, negative inside, from x [1, 1, w], y [1, h, 1];
            its result broadcasts to [F, h, w].
        box: bounds of the region over all frames; nothing outside is painted.
    """

    distance: Callable[[Array, Array], Array]
    box: Box = INFINITE_BOX

    def __and__(self, other: Shape) -> Shape:
        """What lies in both shapes."""
        a, b = self.box, other.box
        box = (max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
        return Shape(lambda x, y: np.maximum(self.distance(x, y), other.distance(x, y)), box)

    def grown(self, margin: float) -> Shape:
        """The shape with its edge moved outward by `margin` (inward where negative)."""
        left, top, right, bottom = self.box
        box = (left - margin, top - margin, right + margin, bottom + margin)
        return Shape(lambda x, y: self.distance(x, y) - np.float32(margin), box)


class Canvas:
    """A picture of F frames; later shapes cover earlier ones.

    Args:
        height, width: size in pixels.
        colour: what fills the picture at first.
    """

    def __init__(self, height: int, width: int, colour: Colour) -> None:
        side = min(height, width)
        self.half_height = height / 2 / side
        self.half_width = width / 2 / side
        columns = (np.arange(width, dtype=np.float32) + 0.5) / side - self.half_width
        rows = (np.arange(height, dtype=np.float32) + 0.5) / side - self.half_height
        self._x = columns[None, None, :]  # [1 or F, 1, W]
        self._y = rows[None, :, None]  # [1 or F, H, 1]
        self._pixels_per_unit = per_frame(side)  # [1 or F, 1, 1]
        fill = np.asarray(colour, np.float32)[:, None, None, None]
        self._planes = np.broadcast_to(fill, (3, 1, height, width)).copy()  # [3, F, H, W]

    def animate(self, num_frames: int) -> None:
        """Turn the still picture drawn so far into `num_frames` equal frames."""
        self._planes = np.repeat(self._planes, num_frames, axis=1)

    def placed(self, x: ArrayLike, y: ArrayLike, scale: ArrayLike) -> Canvas:
        """The same picture in other coordinates, for a part of the scene or a moving camera.

        Args:
            x, y: where the new origin lies in the old coordinates, one number or one per frame.
            scale: length of the new unit in old units.
        """
        other = copy.copy(self)  # shares the pixels
        x, y, scale = per_frame(x), per_frame(y), per_frame(scale)
        other._x = (self._x - x) / scale
        other._y = (self._y - y) / scale
        other._pixels_per_unit = self._pixels_per_unit * scale
        other.half_width = float(np.abs(other._x).max())
        other.half_height = float(np.abs(other._y).max())
        return other

    def paint(self, shape: Shape, colour: Colour, opacity: ArrayLike = 1.0) -> None:
        """Cover the shape with a colour, its edge smoothed over `EDGE_PX`.

        Args:
            shape: what to cover.
            colour: red, green, blue in 0..255.
            opacity: 0..1, one number or one per frame [F].
        """
        margin = EDGE_PX / float(self._pixels_per_unit.min())
        left = np.searchsorted(self._x.max(axis=0)[0], shape.box[0] - margin)
        right = np.searchsorted(self._x.min(axis=0)[0], shape.box[2] + margin)
        top = np.searchsorted(self._y.max(axis=0)[:, 0], shape.box[1] - margin)
        bottom = np.searchsorted(self._y.min(axis=0)[:, 0], shape.box[3] + margin)
        if left >= right or top >= bottom:
            return
        distance = shape.distance(self._x[:, :, left:right], self._y[:, top:bottom])
        steepness = self._pixels_per_unit / np.float32(EDGE_PX)
        cover = np.clip(0.5 - distance * steepness, 0, 1) * per_frame(opacity)
        for plane, value in zip(self._planes, colour, strict=True):
            window = plane[:, top:bottom, left:right]
            window += cover * (np.float32(value) - window)

    def pixels(self, box: Box, frame: int = 0) -> Box:
        """A box of the plane in pixels of one frame, cut to the picture."""
        # What does not move is stored once for all frames.
        scale, x, y = (
            float(values[min(frame, len(values) - 1), 0, 0])
            for values in (self._pixels_per_unit, self._x, self._y)
        )
        height, width = self._planes.shape[2:]
        left, right = ((value - x) * scale + 0.5 for value in (box[0], box[2]))
        top, bottom = ((value - y) * scale + 0.5 for value in (box[1], box[3]))
        return max(0.0, left), max(0.0, top), min(width, right), min(height, bottom)

    def frames(self) -> NDArray[np.uint8]:
        """The finished picture, uint8 [F, H, W, 3]."""
        rounded = np.clip(self._planes + 0.5, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(rounded.transpose(1, 2, 3, 0))


def per_frame(value: ArrayLike) -> Array:
    """A number or one number per frame, as [1 or F, 1, 1] float32."""
    return np.asarray(value, np.float32).reshape(-1, 1, 1)


def mix(colour: Colour, other: Colour, amount: float) -> Colour:
    """The colour moved toward another; 0 keeps it, 1 gives the other."""
    red, green, blue = (a + amount * (b - a) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def _around(x: ArrayLike, y: ArrayLike, half_width: ArrayLike, half_height: ArrayLike) -> Box:
    """Bounds over all frames of a region given by its centre and half sizes."""
    x, y = np.asarray(x), np.asarray(y)
    half_width, half_height = np.asarray(half_width), np.asarray(half_height)
    return (
        float(np.min(x - half_width)),
        float(np.min(y - half_height)),
        float(np.max(x + half_width)),
        float(np.max(y + half_height)),
    )


def ellipse(x: ArrayLike, y: ArrayLike, half_width: ArrayLike, half_height: ArrayLike) -> Shape:
    """An upright ellipse; its distance is exact at the edge to first order."""
    cx, cy, rx, ry = map(per_frame, (x, y, half_width, half_height))

    def distance(px: Array, py: Array) -> Array:
        u, v = (px - cx) / rx, (py - cy) / ry
        value = u * u + v * v
        slope = np.sqrt((u / rx) ** 2 + (v / ry) ** 2)
        return (value - 1) / (2 * slope + np.float32(1e-6))

    return Shape(distance, _around(x, y, half_width, half_height))


def circle(x: ArrayLike, y: ArrayLike, radius: ArrayLike) -> Shape:
    """A disc."""
    cx, cy, r = map(per_frame, (x, y, radius))

    def distance(px: Array, py: Array) -> Array:
        return np.sqrt((px - cx) ** 2 + (py - cy) ** 2) - r

    return Shape(distance, _around(x, y, radius, radius))


def box(
    x: ArrayLike, y: ArrayLike, half_width: ArrayLike, half_height: ArrayLike, rounding: float = 0
) -> Shape:
    """An upright rectangle with rounded corners."""
    cx, cy, rx, ry = map(per_frame, (x, y, half_width, half_height))
    r = np.float32(rounding)

    def distance(px: Array, py: Array) -> Array:
        dx, dy = np.abs(px - cx) - (rx - r), np.abs(py - cy) - (ry - r)
        outside = np.sqrt(np.maximum(dx, 0) ** 2 + np.maximum(dy, 0) ** 2)
        return outside + np.minimum(np.maximum(dx, dy), 0) - r

    return Shape(distance, _around(x, y, half_width, half_height))


def stroke(
    x0: ArrayLike, y0: ArrayLike, x1: ArrayLike, y1: ArrayLike, half_thickness: float
) -> Shape:
    """A straight stroke with round ends."""
    ax, ay, bx, by = map(per_frame, (x0, y0, x1, y1))
    r = np.float32(half_thickness)

    def distance(px: Array, py: Array) -> Array:
        dx, dy = bx - ax, by - ay
        along = ((px - ax) * dx + (py - ay) * dy) / (dx * dx + dy * dy)
        along = np.clip(along, 0, 1)
        return np.sqrt((px - ax - along * dx) ** 2 + (py - ay - along * dy) ** 2) - r

    ends = np.stack([np.broadcast_arrays(x0, y0), np.broadcast_arrays(x1, y1)])  # [2, 2, ...]
    (left, top), (right, bottom) = (
        [float(reduce(ends[:, axis])) for axis in (0, 1)] for reduce in (np.min, np.max)
    )
    grown = float(half_thickness)
    return Shape(distance, (left - grown, top - grown, right + grown, bottom + grown))


def ring(
    x: ArrayLike, y: ArrayLike, half_width: ArrayLike, flatness: float, half_thickness: float
) -> Shape:
    """The outline of an ellipse whose height is `flatness` times its width."""
    outer = ellipse(x, y, half_width, np.asarray(half_width) * flatness)
    line = Shape(lambda px, py: np.abs(outer.distance(px, py)), outer.box)
    return line.grown(half_thickness)


def below(y: ArrayLike) -> Shape:
    """Everything lower than a level."""
    level = per_frame(y)
    return Shape(lambda px, py: level - py + 0 * px, (-np.inf, float(np.min(y)), np.inf, np.inf))


def above(y: ArrayLike) -> Shape:
    """Everything higher than a level."""
    level = per_frame(y)
    return Shape(lambda px, py: py - level + 0 * px, (-np.inf, -np.inf, np.inf, float(np.max(y))))
