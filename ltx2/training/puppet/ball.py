"""Moves and draws the ball. All impacts fall exactly on frames, so that one shows each contact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltx2.training.puppet.drawing import Box, Canvas, Colour, below, box, ellipse, mix, ring
from ltx2.training.puppet.palette import BLACK, WHITE
from ltx2.training.puppet.scenes import BouncingBall

# Measures are shares of the picture's shorter side.
RADIUS = 0.15
FLOOR_TOP = 0.2
"""Where the floor meets the background."""
CONTACT_Y = 0.34
"""Where the ball touches the floor."""
SIDE_SHIFT = 0.2
GRAVITY = 3.0
"""Shares of the picture's shorter side per second squared."""
SMALLEST_BOUNCE = 0.012
SQUASH = 0.26
SQUASH_S = 0.035

BOUNCE_SPEED = {"wood": 0.62, "metal": 0.74, "water": 0.42}
"""Speed after an impact as a share of the speed before."""
DIP_S, DIP_DEPTH = 0.3, 0.1
"""How long and how deep the ball dips into water at the first impact."""
FLOAT_DEPTH = 0.05

BALL_COLOURS: dict[str, Colour] = {
    "red": (226, 40, 44),
    "green": (46, 176, 66),
    "yellow": (252, 214, 30),
    "purple": (150, 56, 196),
    "orange": (250, 132, 20),
}
FLOOR_COLOURS: dict[str, Colour] = {
    "wood": (158, 96, 44),
    "metal": (176, 184, 196),
    "water": (36, 104, 214),
}


@dataclass(frozen=True)
class Bounces:
    """How the ball moves.

    Attributes:
        heights: of the ball's lowest point above the floor, canvas units [F]; negative in water.
        impact_frames: frames that show the ball at the moment of an impact.
        strengths: speed of each impact beside the first, 0..1.
    """

    heights: NDArray[np.float64]
    impact_frames: tuple[int, ...]
    strengths: tuple[float, ...]


def plan_bounces(scene: BouncingBall, num_frames: int, frame_rate: float) -> Bounces:
    """Free fall and bounces, each flight stretched a little to last a whole number of frames."""
    rng = np.random.default_rng([scene.variation, 2])
    speed_kept = BOUNCE_SPEED[scene.material]
    fall_s = np.sqrt(2 * scene.start_height / GRAVITY)
    heights: list[float] = [scene.start_height] * round(rng.uniform(0.04, 0.2) * frame_rate)
    length = max(2, round(fall_s * frame_rate))
    heights += [scene.start_height * (1 - (k / length) ** 2) for k in range(length)]
    impact_frames, strengths, strength = [], [], 1.0
    while len(heights) < num_frames and scene.start_height * strength**2 > SMALLEST_BOUNCE:
        impact_frames.append(len(heights))
        strengths.append(strength)
        if scene.material == "water":
            length = max(3, round(DIP_S * frame_rate))
            dip = np.sin(np.pi * np.arange(length) / length)
            heights += list(-DIP_DEPTH * strength * dip)
        strength *= speed_kept
        length = max(2, round(2 * fall_s * strength * frame_rate))
        phase = np.arange(length) / length
        heights += list(4 * scene.start_height * strength**2 * phase * (1 - phase))
    rest = np.arange(max(0, num_frames - len(heights))) / frame_rate
    if scene.material == "water":
        heights += list(FLOAT_DEPTH * (np.exp(-rest / 0.5) * np.cos(8 * rest) - 1))
    else:
        heights += [0.0] * len(rest)
    return Bounces(np.array(heights[:num_frames]), tuple(impact_frames), tuple(strengths))


def paint_ball(
    canvas: Canvas, scene: BouncingBall, bounces: Bounces, *, frame_rate: float
) -> tuple[Box, ...]:
    """Paints the ball and its floor on an animated canvas.

    Returns:
        Where the ball is in each frame: left, top, right, bottom in pixels.
    """
    x = {"left": -SIDE_SHIFT, "centre": 0.0, "right": SIDE_SHIFT}[scene.position]
    since = _since_impacts(bounces, frame_rate)
    half_width, half_height = _squashed(scene, bounces, since)
    y = CONTACT_Y - bounces.heights - half_height
    FLOOR_PAINTERS[scene.material](canvas)
    if scene.material != "water":
        near = np.clip(1 - bounces.heights / 0.5, 0.25, 1)
        canvas.paint(ellipse(x, CONTACT_Y, RADIUS * near, 0.035 * near), BLACK, 0.5 * near)
    _paint_ball(canvas, scene, x, y, half_width, half_height)
    if scene.material == "water":
        _paint_waves(canvas, bounces, x, since)
    return tuple(
        canvas.pixels((x - rx, cy - ry, x + rx, cy + ry), frame)
        for frame, (cy, rx, ry) in enumerate(zip(y, half_width, half_height, strict=True))
    )


def _since_impacts(bounces: Bounces, frame_rate: float) -> NDArray[np.float64]:
    """Seconds since each impact, negative before it [impacts, F]."""
    frames = np.arange(len(bounces.heights))
    return (frames[None] - np.array(bounces.impact_frames, int)[:, None]) / frame_rate


def _squashed(
    scene: BouncingBall, bounces: Bounces, since: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Half width and half height of the ball [F]: flat at an impact, its area nearly kept."""
    most = SQUASH * (0.3 if scene.material == "water" else 1.0)
    strengths = np.array(bounces.strengths)[:, None]
    flat = (most * strengths * np.exp(-((since / SQUASH_S) ** 2))).sum(axis=0)
    return RADIUS * (1 + 0.7 * flat), RADIUS * (1 - flat)


def _paint_ball(
    canvas: Canvas,
    scene: BouncingBall,
    x: float,
    y: NDArray[np.float64],
    half_width: NDArray[np.float64],
    half_height: NDArray[np.float64],
) -> None:
    colour = BALL_COLOURS[scene.colour]
    ball = ellipse(x, y, half_width, half_height)
    canvas.paint(ball, mix(colour, BLACK, 0.6))
    canvas.paint(ball.grown(-0.014), mix(colour, BLACK, 0.2))
    lit = ellipse(x - 0.012, y - 0.016, half_width - 0.03, half_height - 0.03)
    canvas.paint(lit, colour)
    canvas.paint(
        ellipse(x - 0.05, y - 0.4 * half_height, 0.042, 0.03), mix(colour, WHITE, 0.75), 0.9
    )


def _paint_floor(canvas: Canvas, colour: Colour) -> None:
    canvas.paint(below(FLOOR_TOP), mix(colour, BLACK, 0.5))
    canvas.paint(below(FLOOR_TOP + 0.016), colour)


def _paint_wood(canvas: Canvas) -> None:
    """Long planks, wider toward the viewer, each with a joint or two."""
    colour = FLOOR_COLOURS["wood"]
    _paint_floor(canvas, colour)
    gap = mix(colour, BLACK, 0.5)
    canvas.paint(below(0.27), mix(colour, WHITE, 0.1))
    canvas.paint(below(0.37), colour)
    for level in (0.27, 0.37):
        canvas.paint(box(0, level, canvas.half_width, 0.007), gap)
    for x, middle, half in ((-0.25, 0.32, 0.05), (0.34, 0.32, 0.05), (0.06, 0.435, 0.065)):
        canvas.paint(box(x, middle, 0.007, half), gap)


def _paint_metal(canvas: Canvas) -> None:
    """A shiny sheet: broad light bands and a bright edge."""
    colour = FLOOR_COLOURS["metal"]
    _paint_floor(canvas, colour)
    canvas.paint(box(0, FLOOR_TOP + 0.03, canvas.half_width, 0.014), WHITE, 0.9)
    for level, half, light in ((0.3, 0.022, 0.8), (0.41, 0.03, 0.6), (0.47, 0.01, 0.8)):
        canvas.paint(box(0, level, canvas.half_width, half), WHITE, light)
    canvas.paint(below(0.35), mix(colour, BLACK, 0.5), 0.25)


def _paint_water(canvas: Canvas) -> None:
    """A blue surface, lighter far away."""
    colour = FLOOR_COLOURS["water"]
    _paint_floor(canvas, colour)
    canvas.paint(box(0, FLOOR_TOP + 0.04, canvas.half_width, 0.024), mix(colour, WHITE, 0.3))
    canvas.paint(below(0.42), mix(colour, BLACK, 0.25), 0.6)


def _paint_waves(canvas: Canvas, bounces: Bounces, x: float, since: NDArray[np.float64]) -> None:
    """What hides the wet part of the ball, rings that run outward, and drops that fly up."""
    water = FLOOR_COLOURS["water"]
    wet = ellipse(x, CONTACT_Y + 0.06, RADIUS + 0.05, 0.075) & below(CONTACT_Y)
    canvas.paint(wet, water, 0.9 * (bounces.heights < -0.004))
    for strength, age in zip(bounces.strengths, since, strict=True):
        started = age >= 0
        age = np.maximum(age, 0)
        fade = strength * started * np.clip(1 - age / 1.1, 0, 1)
        for lag in (0.0, 0.16):
            radius = 0.1 + 0.42 * np.maximum(age - lag, 0)
            line = ring(x, CONTACT_Y, radius, 0.3, 0.011)
            canvas.paint(line, (226, 244, 255), fade * (age >= lag))
        for drift in (-0.75, -0.3, 0.3, 0.75):
            flight = CONTACT_Y - strength * (1.25 - 0.6 * abs(drift)) * age + 2.2 * age**2
            drop = ellipse(x + drift * (0.2 + 0.5 * age), flight, 0.02, 0.026)
            visible = started & (flight <= CONTACT_Y) & (age < 1)
            canvas.paint(drop, (190, 226, 255), visible)


FLOOR_PAINTERS = {"wood": _paint_wood, "metal": _paint_metal, "water": _paint_water}
