"""Draws the puppet: a round felt head with big eyes, a big mouth and perhaps a hat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltx2.training.puppet.drawing import (
    Array,
    Box,
    Canvas,
    Colour,
    Shape,
    above,
    below,
    box,
    circle,
    ellipse,
    mix,
    per_frame,
    stroke,
)
from ltx2.training.puppet.palette import BLACK, HAIR_COLOURS, SKIN_COLOURS, WHITE
from ltx2.training.puppet.scenes import Puppet

# Measures are shares of the picture's shorter side.
HEAD_HALF_WIDTH = 0.27
HEAD_HALF_HEIGHT = 0.29
HEAD_Y = 0.085
SIDE_SHIFT = 0.15
"""Distance of a lone head on the left or right from the centre."""
PAIR_SCALE, PAIR_SHIFT, PAIR_Y = 0.68, 0.25, 0.14
"""Size of each of two puppets beside a lone one, and their places."""
OUTLINE = 0.014
MOUTH_Y = 0.075
MOUTH_HALF_WIDTH = 0.165
MOUTH_SMILE = 0.035
"""How much the corners of the mouth lie above its middle."""
MOUTH_DROP = 0.135
"""How far the lower lip falls when the mouth is wide open."""
EYE_X = 0.1
EYE_Y = -0.085
EYE_RADIUS = 0.088

MOUTH_COLOUR: Colour = (70, 8, 22)
TONGUE_COLOUR: Colour = (255, 112, 134)
BLINK_S = 0.2
NOD_HZ = 2.6
NOD = 0.014


@dataclass(frozen=True)
class Pose:
    """Where the parts of the head are in each frame.

    Attributes:
        x: centre of the head, in canvas units.
        y: the same downward [F].
        opening: of the mouth, 0 closed .. 1 wide open [F].
        lid: of the eyes, 0 open .. 1 closed [F].
        gaze: sideways shift of the pupils, canvas units.
    """

    x: float
    y: NDArray[np.float64]
    opening: NDArray[np.float64]
    lid: NDArray[np.float64]
    gaze: float


@dataclass(frozen=True)
class DrawnPuppet:
    """Where the parts of a drawn puppet are in each frame, in pixels."""

    head_boxes: tuple[Box, ...]
    mouth_boxes: tuple[Box, ...]


def stage(canvas: Canvas, puppet: Puppet, *, alone: bool) -> Canvas:
    """The canvas in the coordinates of a puppet: alone it is large, beside another smaller."""
    if alone:
        shift = {"left": -1, "centre": 0, "right": 1}[puppet.position]
        return canvas.placed(shift * SIDE_SHIFT, 0.0, 1.0)
    side = -1 if puppet.position == "left" else 1
    return canvas.placed(side * PAIR_SHIFT, PAIR_Y, PAIR_SCALE)


def paint_puppet(
    canvas: Canvas,
    puppet: Puppet,
    opening: NDArray[np.float64],
    *,
    frame_rate: float,
    variation: int,
) -> DrawnPuppet:
    """Paints a puppet whose mouth opens so far [F] on an animated canvas in its coordinates."""
    pose = _pose(opening, frame_rate, variation)
    skin = SKIN_COLOURS[puppet.skin]
    _paint_body(canvas, skin)
    if puppet.hair != "none":
        _paint_hair(canvas, pose, HAIR_COLOURS[puppet.hair])
    _paint_head(canvas, pose, skin)
    if puppet.hair != "none":
        _paint_fringe(canvas, pose, HAIR_COLOURS[puppet.hair])
    _paint_mouth(canvas, pose, skin)
    _paint_eyes(canvas, pose, skin)
    if puppet.hat != "none" or puppet.hair == "none":
        HAT_PAINTERS[puppet.hat](canvas, pose, skin)
    heads, mouths = [], []
    for frame, (y, opened) in enumerate(zip(pose.y, opening, strict=True)):
        top, bottom = y - HEAD_HALF_HEIGHT, y + HEAD_HALF_HEIGHT
        heads.append(canvas.pixels((-HEAD_HALF_WIDTH, top, HEAD_HALF_WIDTH, bottom), frame))
        top = y + MOUTH_Y - MOUTH_SMILE
        bottom = y + MOUTH_Y + MOUTH_DROP * opened + OUTLINE
        mouths.append(canvas.pixels((-MOUTH_HALF_WIDTH, top, MOUTH_HALF_WIDTH, bottom), frame))
    return DrawnPuppet(tuple(heads), tuple(mouths))


def _pose(opening: NDArray[np.float64], frame_rate: float, variation: int) -> Pose:
    rng = np.random.default_rng([variation, 1])
    time = np.arange(len(opening)) / frame_rate
    blinks = rng.uniform(0.1, 1.2) + np.cumsum(rng.uniform(1.2, 2.4, size=1 + int(time[-1])))
    since_blink = np.abs(time[:, None] - blinks[None]).min(axis=1)
    lid = np.clip(1.4 - since_blink / (BLINK_S / 2), 0, 1)
    # The head nods while it speaks: the sound's envelope, spread over a third of a second.
    reach = max(1, round(0.16 * frame_rate))
    window = np.hanning(2 * reach + 3)[1:-1]
    speaking = np.convolve(np.pad(opening, reach), window / window.sum(), mode="valid")
    phase = rng.uniform(0, 2 * np.pi)
    nod = NOD * speaking * (np.sin(2 * np.pi * NOD_HZ * time + phase) - 0.5)
    return Pose(0.0, HEAD_Y + nod, opening, lid, gaze=float(rng.uniform(-0.012, 0.012)))


def _paint_body(canvas: Canvas, skin: Colour) -> None:
    x, dark = 0.0, mix(skin, BLACK, 0.32)
    shoulders = box(x, 0.56, 0.25, 0.16, rounding=0.13)
    canvas.paint(shoulders.grown(OUTLINE), mix(skin, BLACK, 0.6))
    canvas.paint(shoulders, dark)
    if canvas.half_height > 0.5:  # an upright picture shows more of the body
        canvas.paint(box(x, 0.55 + canvas.half_height, 0.25, canvas.half_height), dark)
    canvas.paint(box(x, 0.4, 0.085, 0.08), mix(skin, BLACK, 0.5))


def _paint_hair(canvas: Canvas, pose: Pose, colour: Colour) -> None:
    """What of the hair lies behind the head: round above, long at the sides."""
    y, wide = pose.y - 0.025, HEAD_HALF_WIDTH + 0.06
    mane = ellipse(0.0, y, wide, HEAD_HALF_HEIGHT + 0.05) & above(y + 0.02)
    sides = box(0.0, y + 0.1, wide, 0.13, rounding=0.06)
    for part in (mane, sides):
        canvas.paint(part.grown(OUTLINE), mix(colour, BLACK, 0.6))
    for part in (mane, sides):
        canvas.paint(part, colour)


def _paint_fringe(canvas: Canvas, pose: Pose, colour: Colour) -> None:
    head = ellipse(0.0, pose.y, HEAD_HALF_WIDTH - OUTLINE, HEAD_HALF_HEIGHT - OUTLINE)
    canvas.paint(head & above(pose.y - 0.205), colour)


def _paint_head(canvas: Canvas, pose: Pose, skin: Colour) -> None:
    x, y = pose.x, pose.y
    for side in (-1, 1):
        ear = circle(x + side * (HEAD_HALF_WIDTH - 0.005), y + 0.01, 0.055)
        canvas.paint(ear.grown(OUTLINE), mix(skin, BLACK, 0.55))
        canvas.paint(ear, mix(skin, BLACK, 0.15))
    head = ellipse(x, y, HEAD_HALF_WIDTH, HEAD_HALF_HEIGHT)
    canvas.paint(head, mix(skin, BLACK, 0.55))
    canvas.paint(head.grown(-OUTLINE), mix(skin, BLACK, 0.17))
    lit = ellipse(x, y - 0.02, HEAD_HALF_WIDTH - 0.03, HEAD_HALF_HEIGHT - 0.035)
    canvas.paint(lit, skin)
    canvas.paint(ellipse(x - 0.03, y - 0.16, 0.15, 0.09), mix(skin, WHITE, 0.3), opacity=0.5)
    for side in (-1, 1):
        canvas.paint(ellipse(x + side * 0.19, y + 0.055, 0.042, 0.03), (255, 120, 120), opacity=0.4)


def _paint_mouth(canvas: Canvas, pose: Pose, skin: Colour) -> None:
    x, y = pose.x, pose.y + MOUTH_Y
    lips = _mouth(x, y, pose.opening)
    canvas.paint(lips.grown(0.022), mix(skin, BLACK, 0.35))
    canvas.paint(lips.grown(0.01), MOUTH_COLOUR)
    tongue = ellipse(x, y + MOUTH_DROP * pose.opening + 0.015, 0.085, 0.06)
    canvas.paint(tongue & lips.grown(-0.006), TONGUE_COLOUR)


def _mouth(x: float, y: NDArray[np.float64], opening: NDArray[np.float64]) -> Shape:
    """Between an upper lip, a smiling parabola, and a lower lip that falls as the mouth opens."""
    cx, cy, drop = per_frame(x), per_frame(y), per_frame(MOUTH_DROP * opening)
    bend = np.float32(MOUTH_SMILE / MOUTH_HALF_WIDTH**2)

    def distance(px: Array, py: Array) -> Array:
        offset = np.clip(px - cx, -MOUTH_HALF_WIDTH, MOUTH_HALF_WIDTH)
        upper = cy - bend * offset**2
        fall = drop * np.maximum(1 - (offset / np.float32(MOUTH_HALF_WIDTH)) ** 2, 0)
        slope = 2 * np.abs(offset) * drop / np.float32(MOUTH_HALF_WIDTH**2)
        vertical = np.maximum(upper - py, (py - upper - fall) / np.sqrt(1 + slope**2))
        beyond = np.abs(px - cx - offset)
        return np.where(beyond > 0, np.sqrt(beyond**2 + np.maximum(vertical, 0) ** 2), vertical)

    bounds = (
        x - MOUTH_HALF_WIDTH,
        float(y.min()) - MOUTH_SMILE,
        x + MOUTH_HALF_WIDTH,
        float((y + MOUTH_DROP * opening).max()),
    )
    return Shape(distance, bounds)


def _paint_eyes(canvas: Canvas, pose: Pose, skin: Colour) -> None:
    y = pose.y + EYE_Y
    for side in (-1, 1):
        x = pose.x + side * EYE_X
        eye = circle(x, y, EYE_RADIUS)
        canvas.paint(eye.grown(OUTLINE), mix(skin, BLACK, 0.6))
        canvas.paint(eye, WHITE)
        pupil_x = x - side * 0.018 + pose.gaze
        canvas.paint(circle(pupil_x, y + 0.008, 0.046), BLACK)
        canvas.paint(circle(pupil_x + 0.016, y - 0.012, 0.017), WHITE)
        lid = EYE_RADIUS * (2 * pose.lid - 1)
        canvas.paint(eye & above(y + lid), mix(skin, BLACK, 0.25), opacity=pose.lid > 0)
        canvas.paint(eye & above(y + lid + 0.01) & below(y + lid - 0.012), BLACK, pose.lid > 0)
    raised = pose.y - 0.2 - 0.02 * pose.opening
    for side in (-1, 1):
        inner, outer = pose.x + side * 0.055, pose.x + side * 0.145
        canvas.paint(stroke(inner, raised - 0.012, outer, raised + 0.012, 0.017), BLACK)
    nose = ellipse(pose.x, pose.y + 0.018, 0.05, 0.042)
    canvas.paint(nose.grown(OUTLINE), mix(skin, BLACK, 0.6))
    canvas.paint(nose, mix(skin, WHITE, 0.4))


def _paint_tuft(canvas: Canvas, pose: Pose, skin: Colour) -> None:
    """A bare head's hair: three strands."""
    top = pose.y - HEAD_HALF_HEIGHT
    for lean, length in ((-0.07, 0.075), (0.07, 0.075), (0.0, 0.105)):
        strand = stroke(pose.x + lean * 0.4, top + 0.01, pose.x + lean, top - length, 0.02)
        canvas.paint(strand.grown(OUTLINE * 0.7), mix(skin, BLACK, 0.6))
        canvas.paint(strand, mix(skin, BLACK, 0.25))


def _paint_top_hat(canvas: Canvas, pose: Pose, skin: Colour) -> None:
    x, y = pose.x, pose.y - HEAD_HALF_HEIGHT + 0.05
    felt, edge = (48, 44, 60), (128, 122, 146)
    brim = box(x, y, 0.25, 0.028, rounding=0.028)
    crown = box(x, y - 0.13, 0.155, 0.135, rounding=0.025)
    for part in (brim, crown):
        canvas.paint(part.grown(OUTLINE), edge)
    for part in (brim, crown):
        canvas.paint(part, felt)
    canvas.paint(box(x, y - 0.055, 0.155, 0.028), (232, 40, 60))


def _paint_party_hat(canvas: Canvas, pose: Pose, skin: Colour) -> None:
    x, base = pose.x, pose.y - HEAD_HALF_HEIGHT + 0.065
    cone = _cone(x, base, half_width=0.16, height=0.27)
    canvas.paint(cone.grown(OUTLINE), (150, 20, 110))
    canvas.paint(cone, (255, 70, 180))
    for level in (0.03, 0.13):
        canvas.paint(cone & box(x, base - level - 0.022, 0.2, 0.022), (255, 236, 80))
    pompom = circle(x, base - 0.265, 0.052)
    canvas.paint(pompom.grown(OUTLINE), (40, 110, 60))
    canvas.paint(pompom, (90, 230, 120))


def _cone(x: float, base: NDArray[np.float64], *, half_width: float, height: float) -> Shape:
    """A triangle that stands on its base line."""
    cx, cy = per_frame(x), per_frame(base)
    length = np.hypot(half_width, height)
    across, along = np.float32(height / length), np.float32(half_width / length)

    def distance(px: Array, py: Array) -> Array:
        side = (np.abs(px - cx) - half_width) * across + (cy - py) * along
        return np.maximum(side, py - cy)

    top, bottom = float(base.min()) - height, float(base.max())
    return Shape(distance, (x - half_width, top, x + half_width, bottom))


def _paint_crown(canvas: Canvas, pose: Pose, skin: Colour) -> None:
    x, base = pose.x, pose.y - HEAD_HALF_HEIGHT + 0.075
    gold, edge = (255, 214, 44), (150, 92, 0)
    half_width, height, points = 0.19, 0.2, 3
    cx, cy = per_frame(x), per_frame(base)
    period = 2 * half_width / points

    def distance(px: Array, py: Array) -> Array:
        phase = ((px - cx + half_width) / period) % 1
        zigzag = height * (0.45 + 0.55 * (1 - np.abs(2 * phase - 1)))
        jags = (cy - zigzag - py) * np.float32(0.5)  # 0.5: cosine of the jags' steep slope
        return np.maximum(np.maximum(jags, py - cy), np.abs(px - cx) - half_width)

    top, bottom = float(base.min()) - height, float(base.max())
    crown = Shape(distance, (x - half_width, top, x + half_width, bottom))
    canvas.paint(crown.grown(OUTLINE), edge)
    canvas.paint(crown, gold)
    for side, gem in ((-1, (60, 120, 255)), (0, (232, 40, 60)), (1, (60, 190, 90))):
        canvas.paint(circle(x + side * 0.12, base - 0.045, 0.028), gem)


HAT_PAINTERS = {
    "none": _paint_tuft,
    "top hat": _paint_top_hat,
    "party hat": _paint_party_hat,
    "crown": _paint_crown,
}
