"""Tells from pixels alone what a clip of the puppet world shows and how it moves.

The picture's middle in time is compared with drawings of everything that can be shown; the
mouth's opening and the ball's height are then read from each frame. Coordinates are those of the
drawings: origin in the picture's centre, y down, 1 the picture's shorter side.
Letters: F frames, H height, W width; h and w are the size of the shrunk picture.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from ltx2.training.puppet import ball, face
from ltx2.training.puppet.palette import backdrop
from ltx2.training.puppet.scenes import (
    BACKGROUNDS,
    HATS,
    MATERIALS,
    POSITIONS,
    SKINS,
    TalkingFace,
)

Pixels = NDArray[np.float32]
Signal = NDArray[np.float64]

SHRUNK_SIDE = 48
"""Shorter side of the picture in which everything is measured."""
FAR = 60.0
"""Difference of a colour, 0..255, beyond which more of it means nothing."""
LARGEST_MISFIT = 18.0
"""Mean difference from the nearest drawing beyond which a picture shows nothing known."""
BALL_DIFFERENCE, BALL_CHROMA = 55.0, 45.0
"""Least distance from the empty scene, and least colourfulness, of a pixel of the ball."""
SMALLEST_BALL = 0.25
"""Visible share of a ball below which its place in a frame counts as unknown."""
SMALLEST_BOUNCE = 0.02
RESTING_Y = ball.CONTACT_Y - ball.RADIUS
"""Where the centre of a ball is that just touches its floor."""


@dataclass(frozen=True)
class SeenFace:
    """A puppet's head as seen.

    Attributes:
        skin, hat, background, position: the nearest of the world's choices.
        opening: of the mouth [F]; about 0 closed, 1 wide open.
    """

    skin: str
    hat: str
    background: str
    position: str
    opening: Signal


@dataclass(frozen=True)
class SeenBall:
    """A ball as seen.

    Attributes:
        colour, material, background, position: the nearest of the world's choices.
        fall, rise: how far the ball's centre falls to the first contact and ever rises after it,
            shares of the picture's shorter side; 0 without a contact.
        contact_frames: when the ball hits its floor, in frames, perhaps between two.
        contact_strengths: root of the fall before each, a measure of the speed.
    """

    colour: str
    material: str
    background: str
    position: str
    fall: float
    rise: float
    contact_frames: tuple[float, ...]
    contact_strengths: tuple[float, ...]


def look(frames: NDArray[np.uint8]) -> SeenFace | SeenBall | None:
    """What a clip uint8 [F, H, W, 3] shows; None where it is like nothing in the world."""
    shrunk = shrink(frames)
    still = np.median(shrunk, axis=0)
    height, width = still.shape[:2]
    face_misfits = _misfits(still, _face_drawings(height, width))
    floor_misfits = _misfits(still, _floor_drawings(height, width))
    if min(face_misfits.min(), floor_misfits.min()) > LARGEST_MISFIT:
        return None
    if face_misfits.min() < floor_misfits.min():
        return _look_at_face(shrunk, FACE_LOOKS[int(face_misfits.argmin())])
    nearest = int(floor_misfits.argmin())
    material, background = FLOOR_LOOKS[nearest]
    return _look_at_ball(shrunk, _floor_drawings(height, width)[nearest], material, background)


def shrink(frames: NDArray[np.uint8]) -> Pixels:
    """Frames with the shorter side `SHRUNK_SIDE`, each pixel a mean over area [F, h, w, 3]."""
    _, height, width, _ = frames.shape
    scale = SHRUNK_SIDE / min(height, width)
    down = _area_means(height, round(height * scale))
    across = _area_means(width, round(width * scale))
    rows = np.tensordot(down, frames.astype(np.float32), axes=(1, 1))  # [h, F, W, 3]
    return np.tensordot(across, rows, axes=(1, 2)).transpose(2, 1, 0, 3)


def _area_means(size: int, new_size: int) -> Pixels:
    """Matrix [new_size, size] whose rows average equal parts of a line of pixels."""
    edges = np.linspace(0, size, new_size + 1)
    low = np.maximum(edges[:-1, None], np.arange(size)[None])
    high = np.minimum(edges[1:, None], np.arange(size)[None] + 1)
    overlap = np.maximum(high - low, 0)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


FACE_LOOKS = tuple(itertools.product(SKINS, HATS, BACKGROUNDS, POSITIONS))
FLOOR_LOOKS = tuple(itertools.product(MATERIALS, BACKGROUNDS))


@functools.lru_cache(maxsize=4)
def _face_drawings(height: int, width: int) -> Pixels:
    """Every face with its mouth closed, in the order of `FACE_LOOKS` [N, h, w, 3]."""
    return np.stack([_draw_mouth(names, (0.0,), height, width)[0] for names in FACE_LOOKS])


@functools.lru_cache(maxsize=4)
def _floor_drawings(height: int, width: int) -> Pixels:
    """Every floor without its ball, in the order of `FLOOR_LOOKS` [N, h, w, 3]."""
    drawings = []
    for material, background in FLOOR_LOOKS:
        canvas = backdrop(background, height=height, width=width)
        ball.FLOOR_PAINTERS[material](canvas)
        drawings.append(canvas.frames()[0].astype(np.float32))
    return np.stack(drawings)


def _draw_mouth(
    names: tuple[str, ...], opening: tuple[float, ...], height: int, width: int
) -> Pixels:
    """A face's drawings with its mouth opened so far [N, h, w, 3]."""
    skin, hat, background, position = names
    scene = TalkingFace(skin, hat, background, position, "yes", "en", "low", 0.0, 0)
    drawn = face.draw_face(scene, np.array(opening), height=height, width=width, frame_rate=1e3)
    return drawn.frames.astype(np.float32)


def _misfits(still: Pixels, drawings: Pixels) -> Signal:
    """Mean difference, 0..FAR, of a picture from each drawing [N]."""
    return np.array([np.minimum(np.abs(still - drawing), FAR).mean() for drawing in drawings])


def _look_at_face(shrunk: Pixels, names: tuple[str, ...]) -> SeenFace:
    skin, hat, background, position = names
    height, width = shrunk.shape[1:3]
    closed, opened = _draw_mouth(names, (0.0, 1.0), height, width)
    change = opened - closed
    eyes_end = np.searchsorted(_levels(height, width), face.HEAD_Y + face.MOUTH_Y - 0.05)
    change[:eyes_end] = 0  # brows rise too, and blinks must not count
    opening = np.tensordot(shrunk - closed, change, axes=3) / (change**2).sum()
    return SeenFace(skin, hat, background, position, opening.astype(np.float64))


def _levels(height: int, width: int) -> Signal:
    """The y of each row's centre [h]."""
    return (np.arange(height) + 0.5 - height / 2) / min(height, width)


def _look_at_ball(shrunk: Pixels, empty: Pixels, material: str, background: str) -> SeenBall | None:
    height, width = empty.shape[:2]
    colour, weight = _find_ball(shrunk, empty)
    mass = weight.sum(axis=(1, 2))
    whole = np.pi * (ball.RADIUS * min(height, width)) ** 2
    visible = mass > SMALLEST_BALL * whole
    if not visible.any():
        return None
    x = (weight.sum(axis=1) @ np.arange(width))[visible] / mass[visible]
    y = (weight.sum(axis=2) @ _levels(height, width))[visible] / mass[visible]
    y = np.interp(np.arange(len(shrunk)), np.flatnonzero(visible), y)
    place = (float(np.median(x)) + 0.5) / width - 0.5
    side = int(place > ball.SIDE_SHIFT / 2) - int(place < -ball.SIDE_SHIFT / 2)
    contacts = _entries(y) if material == "water" else _turns(y)
    fall = rise = 0.0
    if contacts:
        first = int(contacts[0][0])
        fall = float(y[first] - y[: first + 1].min())
        rise = float((np.maximum.accumulate(y[first:]) - y[first:]).max())
    return SeenBall(
        colour=colour,
        material=material,
        background=background,
        position=POSITIONS[1 + side],
        fall=fall,
        rise=rise,
        contact_frames=tuple(frame for frame, _ in contacts),
        contact_strengths=tuple(strength for _, strength in contacts),
    )


def _find_ball(shrunk: Pixels, empty: Pixels) -> tuple[str, Pixels]:
    """The ball's colour and how surely each pixel shows it, 0..1 [F, h, w]."""
    names = tuple(ball.BALL_COLOURS)
    hues = _hue(np.array([ball.BALL_COLOURS[name] for name in names], np.float32))
    chroma = shrunk.max(axis=-1) - shrunk.min(axis=-1)
    different = np.abs(shrunk - empty).max(axis=-1)
    coloured = (different > BALL_DIFFERENCE) & (chroma > BALL_CHROMA)
    nearest = (_hue(shrunk) @ hues.T).argmax(axis=-1)
    chosen = int(np.bincount(nearest[coloured], minlength=len(names)).argmax())
    sure = np.clip((different - BALL_DIFFERENCE) / 20, 0, 1)
    return names[chosen], np.where(coloured & (nearest == chosen), sure, 0)


def _hue(colours: Pixels) -> Pixels:
    """Direction of each colour away from grey, of length 1 [..., 3]; neither pale nor dark."""
    away = colours - colours.mean(axis=-1, keepdims=True)
    return away / (np.linalg.norm(away, axis=-1, keepdims=True) + np.float32(1e-3))


def _turns(y: Signal) -> list[tuple[float, float]]:
    """Frames in which a falling ball is lowest, with the root of each fall."""
    lowest, found = find_peaks(y, prominence=SMALLEST_BOUNCE)
    floor = y.max() - 0.1
    return [
        (float(frame), float(np.sqrt(depth)))
        for frame, depth in zip(lowest, found["prominences"], strict=True)
        if y[frame] > floor
    ]


def _entries(y: Signal) -> list[tuple[float, float]]:
    """Moments, in frames, at which a ball comes down to the water, with the root of each fall."""
    entries = []
    highest = y[0]
    for frame in range(1, len(y)):
        before, now = y[frame - 1], y[frame]
        highest = min(highest, before)
        if before < RESTING_Y <= now and RESTING_Y - highest > SMALLEST_BOUNCE:
            moment = frame - (now - RESTING_Y) / (now - before)
            entries.append((float(moment), float(np.sqrt(RESTING_Y - highest))))
            highest = now
    return entries
