"""Tells from pixels alone what a clip of the puppet world shows and how it moves.

First the camera's move is undone: of all moves that it can make, the one that leaves the least
movement. The median over time of what is left has neither mouth movements nor drops of rain; it
is compared with drawings, one attribute after the other. Mouths, lights and the ball are then
read from each frame. Coordinates are those of the drawings: origin in the picture's centre,
y down, 1 the picture's shorter side.
Letters: F frames, H height, W width; h and w are the size of the shrunk picture; N drawings.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.signal import find_peaks

from ltx2.training.puppet import ball, face, surroundings, xylophone
from ltx2.training.puppet.drawing import Canvas, Colour, below
from ltx2.training.puppet.palette import BACKGROUND_COLOURS, backdrop
from ltx2.training.puppet.scenes import (
    BACKGROUNDS,
    CAMERAS,
    HAIRS,
    HATS,
    KEYS,
    MATERIALS,
    POSITIONS,
    SKINS,
    TAUGHT_CAMERA,
    Puppet,
)

Pixels = NDArray[np.float32]
Signal = NDArray[np.float64]
Mask = NDArray[np.bool_]

SHRUNK_SIDE = 48
"""Shorter side of the picture in which everything is measured."""
FAR = 60.0
"""Difference of a colour, 0..255, beyond which more of it means nothing."""
LARGEST_MISFIT = 18.0
"""Mean difference from the nearest drawing beyond which a picture shows nothing known."""

MOVE_FRAMES = 13
"""Frames from which the camera's move is told."""
MOVE_BLUR = 1.0
MOVE_SPEEDS = (0.4, 0.7, 1.0, 1.3)
LEAST_SPEED = 0.55
"""A move slower than this share of the world's own counts as none."""
LEAST_MOVE_GAIN = 0.04
"""A move is believed where undoing it leaves so much less movement, as a share."""
STILL_FRAMES = 25

BALL_DIFFERENCE, BALL_CHROMA = 55.0, 45.0
"""Least distance from the empty scene, and least colourfulness, of a pixel of the ball."""
SMALLEST_BALL = 0.25
"""Visible share of a ball below which its place in a frame counts as unknown."""
SMALLEST_BOUNCE = 0.02
RESTING_Y = ball.CONTACT_Y - ball.RADIUS
"""Where the centre of a ball is that just touches its floor."""
LEAST_LIGHT = 0.35
"""Rise of a key's light, 1 for that of a drawing, that counts as a stroke."""
EMPTY_DIFFERENCE = 24.0
"""Largest distance of the still picture from its background where nothing stands in front."""
FREE_MARGIN = 2
"""Pixels around all else that are left out, because heads nod."""
LEAST_COVER, LARGEST_RESIDUE = 0.2, 24.0
"""What makes a pixel part of a drop or a leaf: its opacity, and how far off its colour is."""
LEAST_WEATHER = 0.0025
"""Share of the free background that drops or leaves cover at least."""
WEATHER_COLOURS: dict[str, Colour] = {
    "rain": surroundings.RAIN_COLOUR,
    "wind": surroundings.LEAF_COLOUR,
}


@dataclass(frozen=True)
class SeenPuppet:
    """A puppet as seen.

    Attributes:
        skin, hair, hat, position: the nearest of the world's choices.
        opening: of the mouth [F]; about 0 closed, 1 wide open.
    """

    skin: str
    hair: str
    hat: str
    position: str
    opening: Signal


@dataclass(frozen=True)
class SeenBall:
    """A ball as seen.

    Attributes:
        colour, material, position: the nearest of the world's choices.
        fall, rise: how far the ball's centre falls to the first contact and ever rises after it,
            shares of the picture's shorter side; 0 without a contact.
        contact_frames: when the ball hits its floor, in frames, perhaps between two.
        contact_strengths: root of the fall before each, a measure of the speed.
        x: its usual place.
        drift: movement to the right, shares of the picture's shorter side per frame.
    """

    colour: str
    material: str
    position: str
    x: float
    drift: float
    fall: float
    rise: float
    contact_frames: tuple[float, ...]
    contact_strengths: tuple[float, ...]


@dataclass(frozen=True)
class SeenXylophone:
    """A xylophone as seen.

    Attributes:
        keys: that light up, in order.
        frames: when they do.
    """

    keys: tuple[str, ...]
    frames: tuple[float, ...]


Subject = tuple[SeenPuppet, ...] | SeenBall | SeenXylophone | None
"""One puppet or two, left first; a ball, a xylophone, or nothing known."""


@dataclass(frozen=True)
class Seen:
    """What a clip shows.

    Attributes:
        subject: what is in front.
        background, ambience, camera: the nearest of the world's choices.
    """

    subject: Subject
    background: str
    ambience: str
    camera: str


def look(frames: NDArray[np.uint8], frame_rate: float) -> Seen:
    """What a clip uint8 [F, H, W, 3] shows."""
    shrunk = shrink(frames)
    camera, steady = _steadied(shrunk, frame_rate)
    still = _still(steady)
    background = _background(still)
    empty = _backdrop(background, *still.shape[:2])
    subject = _subject(steady.frames, still, empty)
    if isinstance(subject, SeenBall) and camera == "still":
        camera = _pan_of(subject, frame_rate)
    return Seen(subject, background, _ambience(steady, still, empty, subject), camera)


def shrink(frames: NDArray[np.uint8]) -> Pixels:
    """Frames with the shorter side `SHRUNK_SIDE`, each pixel a mean over area [F, h, w, 3]."""
    _, height, width, _ = frames.shape
    scale = SHRUNK_SIDE / min(height, width)
    down = _area_means(height, round(height * scale))
    across = _area_means(width, round(width * scale))
    narrow = across @ frames.astype(np.float32)  # [F, H, w, 3]
    return np.ascontiguousarray(np.einsum("hH,FHwc->Fhwc", down, narrow, optimize=True))


def _area_means(size: int, new_size: int) -> Pixels:
    """Matrix [new_size, size] whose rows average equal parts of a line of pixels."""
    edges = np.linspace(0, size, new_size + 1)
    low = np.maximum(edges[:-1, None], np.arange(size)[None])
    high = np.minimum(edges[1:, None], np.arange(size)[None] + 1)
    overlap = np.maximum(high - low, 0)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


def _places(size: int, other: int) -> Signal:
    """Coordinates of the centres of a line of pixels [size]; `other` is the other side's size."""
    return (np.arange(size) + 0.5 - size / 2) / min(size, other)


# --- the camera ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Steady:
    """Frames as a camera would see them that stands still at its usual place.

    Attributes:
        frames: [F, h, w, 3].
        visible: what the moving camera saw of it [F, h, w].
    """

    frames: Pixels
    visible: Mask


def _steadied(shrunk: Pixels, frame_rate: float) -> tuple[str, _Steady]:
    """The camera's move, and the frames without it."""
    count = len(shrunk)
    some = np.unique(np.linspace(0, count - 1, MOVE_FRAMES).round().astype(int))
    # Soft already, so that reading between pixels, which softens noise, gains nothing.
    soft = np.zeros_like(shrunk)
    soft[some] = gaussian_filter(shrunk[some], (0, MOVE_BLUR, MOVE_BLUR, 0), mode="nearest")
    moves = [("still", 1.0, "still")]
    for name, speed in itertools.product((*CAMERAS[1:], TAUGHT_CAMERA), MOVE_SPEEDS):
        moves.append((name, speed, name if speed > LEAST_SPEED else "still"))
    unrest = np.array(
        [
            _unrest(_undone(soft, name, speed, frame_rate, some)) * (1 + LEAST_MOVE_GAIN * number)
            for number, (name, speed, _) in ((int(move[0] != "still"), move) for move in moves)
        ]
    )
    name, speed, told = moves[int(unrest.argmin())]
    return told, _undone(shrunk, name, speed, frame_rate, np.arange(count))


def _undone(
    shrunk: Pixels, camera: str, speed: float, frame_rate: float, chosen: NDArray[np.int_]
) -> _Steady:
    """Some of the frames without a move of the camera, made at a share of its usual speed."""
    _, height, width, _ = shrunk.shape
    frames = shrunk[chosen]
    if camera == "still":
        return _Steady(frames, np.ones(frames.shape[:3], bool))
    seconds, last = chosen / frame_rate, (len(shrunk) - 1) / frame_rate
    scale, shift = np.ones(len(chosen)), np.zeros(len(chosen))
    match camera:
        case "zoom in":
            scale = 1 + speed * (surroundings.ZOOM_START - 1 + surroundings.ZOOM_PER_S * seconds)
        case "zoom out":
            scale = 1 + speed * (
                surroundings.ZOOM_OUT_START - 1 - surroundings.ZOOM_PER_S * seconds
            )
        case _:
            direction = 1 if camera == "pan left" else -1
            shift = direction * speed * surroundings.PAN_PER_S * (seconds - last / 2)
    rows, rows_visible = _sampling(height, width, scale, np.zeros(len(chosen)))
    columns, columns_visible = _sampling(width, height, scale, shift)
    narrow = columns[:, None] @ frames  # [F, 1, w, W] @ [F, H, W, 3]
    flat = rows @ narrow.reshape(len(chosen), height, -1)
    visible = rows_visible[:, :, None] & columns_visible[:, None, :]
    return _Steady(flat.reshape(frames.shape), visible)


def _sampling(size: int, other: int, scale: Signal, shift: Signal) -> tuple[Pixels, Mask]:
    """Matrices [F, size, size] that read a line where the camera saw it, and whether it did."""
    unit = min(size, other)
    source = (_places(size, other) * scale[:, None] + shift[:, None]) * unit + size / 2 - 0.5
    distance = np.abs(np.clip(source, 0, size - 1)[:, :, None] - np.arange(size))
    visible = (source > -0.6) & (source < size - 0.4)
    return np.maximum(1 - distance, 0).astype(np.float32), visible


def _unrest(steady: _Steady) -> float:
    """Mean difference between neighbouring frames and from the middle one, where both are seen."""
    total = seen = 0.0
    for step in (1, len(steady.frames) // 2):
        if not 0 < step < len(steady.frames):
            continue
        both = steady.visible[step:] & steady.visible[:-step]
        change = np.abs(steady.frames[step:] - steady.frames[:-step])
        total += float((np.minimum(change, FAR).mean(axis=-1) * both).sum())
        seen += float(both.sum())
    return total / max(seen, 1.0) + 1e-3


def _still(steady: _Steady) -> Pixels:
    """Median over the times at which each pixel is seen [h, w, 3]."""
    count = len(steady.frames)
    some = np.unique(np.linspace(0, count - 1, STILL_FRAMES).round().astype(int))
    visible = steady.visible[some, :, :, None]
    ordered = np.sort(np.where(visible, steady.frames[some], np.float32(np.inf)), axis=0)
    times = np.maximum(visible.sum(axis=0), 1)
    middle = np.take_along_axis(ordered, ((times - 1) // 2)[None].repeat(3, axis=-1), axis=0)[0]
    return np.where(np.isfinite(middle), middle, np.median(steady.frames[some], axis=0))


# --- what is in front ------------------------------------------------------------------------


def _background(still: Pixels) -> str:
    """The background whose colour the upper corners have."""
    height, width = still.shape[:2]
    high = _places(height, width) < -0.3 * height / min(height, width)
    wide = np.abs(_places(width, height)) > 0.4 * width / min(height, width)
    colour = np.median(still[high][:, wide].reshape(-1, 3), axis=0)
    colours = np.array([BACKGROUND_COLOURS[name] for name in BACKGROUNDS])
    return BACKGROUNDS[int(np.abs(colours - colour).sum(axis=1).argmin())]


def _subject(frames: Pixels, still: Pixels, empty: Pixels) -> Subject:
    height, width = still.shape[:2]
    alone = [_fit_puppet(still, empty, position, True) for position in POSITIONS]
    pair = [_fit_puppet(still, empty, position, False) for position in ("left", "right")]
    floors = _floor_drawings(height, width)
    floor_misfits = _misfits(still, floors.over(empty))
    keys = _xylophone_drawings(height, width)
    misfits = [
        min(fit.misfit for fit in alone),
        sum(fit.misfit for fit in pair) / 2,
        float(floor_misfits.min()),
        float(_misfits(still, keys.over(empty)[:1])[0]),
    ]
    nearest = int(np.argmin(misfits))
    if misfits[nearest] > LARGEST_MISFIT:
        return None
    if nearest == 0:
        return (_read_mouth(frames, empty, min(alone, key=lambda fit: fit.misfit)),)
    if nearest == 1:
        return tuple(_read_mouth(frames, empty, fit) for fit in pair)
    if nearest == 2:
        floor = int(floor_misfits.argmin())
        return _look_at_ball(frames, floors.over(empty)[floor], MATERIALS[floor])
    return _look_at_keys(frames, keys.over(empty))


@dataclass(frozen=True)
class _Drawings:
    """Things cut out, to be laid over any background.

    Attributes:
        colour: of what is opaque, on black [N, h, w, 3].
        clear: how much of the background shows, 0..1 [N, h, w, 3].
    """

    colour: Pixels
    clear: Pixels

    def over(self, empty: Pixels) -> Pixels:
        return self.colour + self.clear * empty

    def chosen(self, index: int) -> _Drawings:
        return _Drawings(self.colour[index : index + 1], self.clear[index : index + 1])


def _cut_out(canvas: Canvas) -> _Drawings:
    """Drawings from a canvas that shows each of them twice, on black and then on white."""
    black, white = np.split(shrink(canvas.frames()), 2)
    return _Drawings(black, np.clip((white - black) / 255, 0, 1))


def _black_and_white(height: int, width: int, number: int) -> Canvas:
    """A canvas, twice as large as the shrunk picture, of black frames and as many white ones."""
    canvas = Canvas(2 * height, 2 * width, (0, 0, 0))
    canvas.animate(2 * number)
    canvas.paint(below(-10.0), (255, 255, 255), np.arange(2 * number) >= number)
    return canvas


@functools.cache
def _backdrop(background: str, height: int, width: int) -> Pixels:
    drawn = backdrop(background, height=2 * height, width=2 * width, num_frames=1)
    return shrink(drawn.frames())[0]


@functools.cache
def _floor_drawings(height: int, width: int) -> _Drawings:
    """Every floor without its ball."""
    drawings = []
    for material in MATERIALS:
        canvas = _black_and_white(height, width, 1)
        ball.FLOOR_PAINTERS[material](canvas)
        drawings.append(_cut_out(canvas))
    return _stacked(drawings)


@functools.cache
def _xylophone_drawings(height: int, width: int) -> _Drawings:
    """The xylophone with no light, and with each key lit."""
    number = 1 + len(KEYS)
    canvas = _black_and_white(height, width, number)
    frames = [(key, 1 + index + half) for half in (0, number) for index, key in enumerate(KEYS)]
    notes = tuple(xylophone.Note(key, float(frame), frame) for key, frame in frames)
    xylophone.draw_xylophone(canvas, notes, 2 * number, frame_rate=1.0)
    return _cut_out(canvas)


@functools.cache
def _puppet_drawings(
    skin: str, hair: str, hat: str, position: str, alone: bool, height: int, width: int
) -> _Drawings:
    """A puppet with its mouth closed and wide open."""
    puppet = Puppet(skin, hair, hat, "low", position)
    canvas = _black_and_white(height, width, 2)
    place = face.stage(canvas, puppet, alone=alone)
    opening = np.array([0.0, 1.0, 0.0, 1.0])
    face.paint_puppet(place, puppet, opening, frame_rate=1e3, variation=0)  # no time to blink
    return _cut_out(canvas)


def _stacked(drawings: Sequence[_Drawings]) -> _Drawings:
    return _Drawings(
        np.concatenate([drawing.colour for drawing in drawings]),
        np.concatenate([drawing.clear for drawing in drawings]),
    )


@functools.cache
def _skins(position: str, alone: bool, height: int, width: int) -> _Drawings:
    """A bare head in every skin."""
    return _stacked(
        [
            _puppet_drawings(skin, "none", "none", position, alone, height, width).chosen(0)
            for skin in SKINS
        ]
    )


LOOKS = tuple(itertools.product(HAIRS, HATS))


@functools.cache
def _looks(skin: str, position: str, alone: bool, height: int, width: int) -> _Drawings:
    """A head of one skin with all hair and hats, in the order of `LOOKS`."""
    return _stacked(
        [
            _puppet_drawings(skin, hair, hat, position, alone, height, width).chosen(0)
            for hair, hat in LOOKS
        ]
    )


@functools.cache
def _bare(position: str, alone: bool, height: int, width: int) -> Mask:
    """Where a puppet is the same with any hair and hat [h, w]."""
    looks = _looks(SKINS[0], position, alone, height, width)
    same = np.ptp(looks.colour, axis=0).max(axis=-1) < 8
    return same & (looks.clear[0].max(axis=-1) < 0.5)


@dataclass(frozen=True)
class _FittedPuppet:
    """The drawing most like what is seen, and by how much it is off in its part of the picture."""

    puppet: Puppet
    alone: bool
    misfit: float


def _fit_puppet(still: Pixels, empty: Pixels, position: str, alone: bool) -> _FittedPuppet:
    """The skin by what hair and hats leave free, then hair and hat together."""
    height, width = still.shape[:2]
    part: Any = ...
    if not alone:
        part = (_places(width, height) < 0) == (position == "left")
    bare = _bare(position, alone, height, width)
    skins = _skins(position, alone, height, width).over(empty)
    skin = SKINS[int(_misfits(still[bare], skins[:, bare]).argmin())]
    looks = _looks(skin, position, alone, height, width).over(empty)
    misfits = _misfits(still[:, part], looks[:, :, part])
    best = int(misfits.argmin())
    return _FittedPuppet(Puppet(skin, *LOOKS[best], "low", position), alone, float(misfits[best]))


def _misfits(still: Pixels, drawings: Pixels) -> Signal:
    """Mean difference, 0..FAR, of a picture from each drawing [N]."""
    different = np.minimum(np.abs(drawings - still), np.float32(FAR))
    return different.reshape(len(drawings), -1).mean(axis=1).astype(np.float64)


def _read_mouth(frames: Pixels, empty: Pixels, fit: _FittedPuppet) -> SeenPuppet:
    height, width = frames.shape[1:3]
    puppet = fit.puppet
    drawings = _puppet_drawings(
        puppet.skin, puppet.hair, puppet.hat, puppet.position, fit.alone, height, width
    )
    closed, opened = drawings.over(empty)
    change = opened - closed
    eyes_end = face.HEAD_Y + face.MOUTH_Y - 0.05
    if not fit.alone:
        eyes_end = eyes_end * face.PAIR_SCALE + face.PAIR_Y
    change[_places(height, width) < eyes_end] = 0  # brows rise too, and blinks must not count
    opening = np.tensordot(frames - closed, change, axes=3) / (change**2).sum()
    return SeenPuppet(
        puppet.skin, puppet.hair, puppet.hat, puppet.position, opening.astype(np.float64)
    )


def _look_at_keys(frames: Pixels, drawings: Pixels) -> SeenXylophone:
    dark, *lit = drawings
    strokes = []
    for key, bright in zip(KEYS, lit, strict=True):
        change = bright - dark
        light = np.tensordot(frames - dark, change, axes=3) / (change**2).sum()
        rise = np.diff(light, prepend=light[:1])
        rise = rise + np.maximum(np.concatenate([rise[1:], [0.0]]), 0)  # over two frames
        for frame in find_peaks(np.pad(rise, 1), height=LEAST_LIGHT)[0] - 1:
            # A stroke shows on the frame that brings the larger part of the rise.
            later = frame + 1 < len(light) and rise[frame] - (light[frame] - light[frame - 1]) > (
                light[frame] - light[frame - 1]
            )
            strokes.append((float(frame + later), key))
    strokes.sort()
    return SeenXylophone(tuple(key for _, key in strokes), tuple(frame for frame, _ in strokes))


# --- the ball --------------------------------------------------------------------------------


def _look_at_ball(frames: Pixels, empty: Pixels, material: str) -> SeenBall | None:
    height, width = empty.shape[:2]
    colour, weight = _find_ball(frames, empty)
    mass = weight.sum(axis=(1, 2))
    whole = np.pi * (ball.RADIUS * min(height, width)) ** 2
    visible = mass > SMALLEST_BALL * whole
    if not visible.any():
        return None
    x = (weight.sum(axis=1) @ _places(width, height))[visible] / mass[visible]
    y = (weight.sum(axis=2) @ _places(height, width))[visible] / mass[visible]
    y = np.interp(np.arange(len(frames)), np.flatnonzero(visible), y)
    place = float(np.median(x))
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
        position=POSITIONS[1 + side],
        x=place,
        drift=float(np.polyfit(np.flatnonzero(visible), x, 1)[0]) if visible.sum() > 1 else 0.0,
        fall=fall,
        rise=rise,
        contact_frames=tuple(frame for frame, _ in contacts),
        contact_strengths=tuple(strength for _, strength in contacts),
    )


def _find_ball(frames: Pixels, empty: Pixels) -> tuple[str, Pixels]:
    """The ball's colour and how surely each pixel shows it, 0..1 [F, h, w]."""
    names = tuple(ball.BALL_COLOURS)
    hues = _hue(np.array([ball.BALL_COLOURS[name] for name in names], np.float32))
    chroma = frames.max(axis=-1) - frames.min(axis=-1)
    different = np.abs(frames - empty).max(axis=-1)
    coloured = (different > BALL_DIFFERENCE) & (chroma > BALL_CHROMA)
    nearest = (_hue(frames) @ hues.T).argmax(axis=-1)
    chosen = int(np.bincount(nearest[coloured], minlength=len(names)).argmax())
    sure = np.clip((different - BALL_DIFFERENCE) / 20, 0, 1)
    weight = np.where(coloured & (nearest == chosen), sure, 0).astype(np.float32)
    # Leaves may have the ball's hue: keep what lies within a ball around the densest place.
    radius = ball.RADIUS * min(empty.shape[:2])
    dense = gaussian_filter(weight, (0, radius / 2, radius / 2), truncate=2.5)
    peaks = dense.reshape(len(dense), -1).argmax(axis=1)
    rows, columns = np.unravel_index(peaks, dense.shape[1:])
    away = (np.arange(dense.shape[1])[None, :, None] - rows[:, None, None]) ** 2 + (
        np.arange(dense.shape[2])[None, None, :] - columns[:, None, None]
    ) ** 2
    return names[chosen], np.where(away < (1.45 * radius) ** 2, weight, 0)


def _hue(colours: Pixels) -> Pixels:
    """Direction of each colour away from grey, of length 1 [..., 3]; neither pale nor dark."""
    away = colours - colours.mean(axis=-1, keepdims=True)
    return away / (np.linalg.norm(away, axis=-1, keepdims=True) + np.float32(1e-3))


def _pan_of(seen: SeenBall, frame_rate: float) -> str:
    """The camera's pan that explains how a ball drifts to a side; a floor does not tell it."""
    speed = seen.drift * frame_rate / surroundings.PAN_PER_S
    if abs(speed) < LEAST_SPEED:
        return "still"
    return "pan left" if speed > 0 else "pan right"


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


# --- the weather -----------------------------------------------------------------------------


def _ambience(steady: _Steady, still: Pixels, empty: Pixels, subject: Subject) -> str:
    """Whether drops or leaves cover some of what is free of all else."""
    free = np.abs(still - empty).max(axis=-1) < EMPTY_DIFFERENCE  # [h, w]
    if isinstance(subject, SeenBall):  # it moves, and water splashes
        height, width = free.shape
        free &= (_places(height, width) < ball.FLOOR_TOP - 0.1)[:, None]
        free &= np.abs(_places(width, height) - subject.x) > ball.RADIUS + 0.05
    free = binary_erosion(free, iterations=FREE_MARGIN, border_value=1)
    seen = steady.visible[:, free]
    if not seen.any():
        return "none"
    away = steady.frames[:, free] - empty[free]  # [F, free, 3]
    covered = {}
    for name, colour in WEATHER_COLOURS.items():
        full = np.array(colour, np.float32) - empty[free]
        cover = (away * full).sum(axis=-1) / (full**2).sum(axis=-1)
        residue = np.abs(away - cover[..., None] * full).max(axis=-1)
        covered[name] = float(((cover > LEAST_COVER) & (residue < LARGEST_RESIDUE))[seen].mean())
    most = max(covered, key=lambda name: covered[name])
    return most if covered[most] > LEAST_WEATHER else "none"
