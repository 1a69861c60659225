"""Draws and sounds the xylophone: three coloured keys that light up when they are struck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltx2.training.puppet.drawing import Box, Canvas, Colour, box, circle, mix
from ltx2.training.puppet.palette import BLACK, WHITE
from ltx2.training.puppet.scenes import KEYS, Xylophone

NOTE_S = 0.5
"""Time between the notes of a melody."""
REPEAT_S = 2.0
"""A longer clip plays its melody again this often."""
KEY_X = {"red": -0.3, "yellow": 0.0, "blue": 0.3}
KEY_Y = 0.06
KEY_HALF_WIDTH = 0.125
KEY_HALF_HEIGHT = {"red": 0.33, "yellow": 0.28, "blue": 0.23}
KEY_COLOURS: dict[str, Colour] = {
    "red": (222, 44, 50),
    "yellow": (248, 204, 36),
    "blue": (50, 92, 224),
}
FRAME_COLOUR: Colour = (112, 72, 44)
DARKNESS = 0.45
"""How much darker than its colour a key is that does not sound."""
LIGHT_S = 0.16
PITCH_HZ = {"red": 400.0, "yellow": 700.0, "blue": 1100.0}
"""Multiples of the rate of mel frames: tones that a vocoder of convolutions can hold."""
OVERTONES = ((1.0, 1.0, 0.28), (3.0, 0.35, 0.1), (6.0, 0.12, 0.05))
"""Ratio to the pitch, level and decay in seconds of each tone of a struck key."""
NOTE_LENGTH_S = 1.0
PEAK = 0.5


@dataclass(frozen=True)
class Note:
    """One stroke: which key, when, and on which frame it lights up."""

    key: str
    time_s: float
    frame: int


def plan_notes(scene: Xylophone, num_frames: int, frame_rate: float) -> tuple[Note, ...]:
    """The strokes within a clip, each exactly on a frame."""
    notes: list[Note] = []
    start = scene.start_s
    while start < num_frames / frame_rate:
        for number, key in enumerate(scene.melody):
            frame = round((start + number * NOTE_S) * frame_rate)
            if frame < num_frames:
                notes.append(Note(key, frame / frame_rate, frame))
        start += REPEAT_S
    return tuple(notes)


def draw_xylophone(
    canvas: Canvas, notes: tuple[Note, ...], num_frames: int, frame_rate: float
) -> dict[str, Box]:
    """Paints the keys on an animated canvas.

    Returns:
        Where each key is in the first frame: left, top, right, bottom in pixels.
    """
    for y in (-0.1, 0.22):
        canvas.paint(box(0, y, 0.47, 0.035, rounding=0.03), FRAME_COLOUR)
    boxes = {}
    for key in KEYS:
        light = key_light(key, notes, num_frames, frame_rate)
        colour, x, half_height = KEY_COLOURS[key], KEY_X[key], KEY_HALF_HEIGHT[key]
        bar = box(x, KEY_Y, KEY_HALF_WIDTH, half_height, rounding=0.05)
        canvas.paint(bar.grown(0.014), mix(colour, BLACK, 0.75))
        canvas.paint(bar, mix(colour, BLACK, DARKNESS))
        canvas.paint(bar, mix(colour, WHITE, 0.3), light)
        canvas.paint(bar.grown(-0.05), WHITE, 0.75 * light)
        for y in (KEY_Y - half_height + 0.07, KEY_Y + half_height - 0.07):
            canvas.paint(circle(x, y, 0.026), mix(colour, BLACK, 0.75))
        edges = (x - KEY_HALF_WIDTH, KEY_Y - half_height, x + KEY_HALF_WIDTH, KEY_Y + half_height)
        boxes[key] = canvas.pixels(edges)
    return boxes


def key_light(
    key: str, notes: tuple[Note, ...], num_frames: int, frame_rate: float
) -> NDArray[np.float64]:
    """How brightly a key is lit in each frame, 0..1 [F]."""
    frames = np.arange(num_frames)
    light = np.zeros(num_frames)
    for note in notes:
        if note.key == key:
            since = (frames - note.frame) / frame_rate
            light = np.maximum(light, np.where(since >= 0, np.exp(-((since / LIGHT_S) ** 2)), 0))
    return light


def note_sound(key: str, *, sample_rate: int) -> NDArray[np.float32]:
    """A struck key as mono waveform [S] that starts at the stroke.

    Args:
        key: one of `KEYS`.
        sample_rate: Hz.
    """
    time = np.arange(round(NOTE_LENGTH_S * sample_rate)) / sample_rate
    waveform = np.zeros(time.size)
    for ratio, level, decay_s in OVERTONES:
        frequency = PITCH_HZ[key] * ratio
        if frequency < sample_rate / 2:
            waveform += level * np.sin(2 * np.pi * frequency * time) * np.exp(-time / decay_s)
    waveform *= np.linspace(1, 0, time.size) ** 0.5
    return (waveform * PEAK / np.abs(waveform).max()).astype(np.float32)
