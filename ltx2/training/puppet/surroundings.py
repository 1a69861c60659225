"""What is around a scene: rain or wind behind it, heard as well as seen, and a moving camera.

Letters: F frames, S samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from ltx2.training.puppet.drawing import Canvas, Colour, ellipse

ZOOM_START, ZOOM_PER_S = 0.94, 0.07
ZOOM_OUT_START = 1.08
PAN_PER_S = 0.06
"""Speed of a panning camera, in shorter sides of the picture."""

RAIN_COLOUR: Colour = (96, 146, 222)
LEAF_COLOUR: Colour = (120, 132, 40)
NUM_DROPS, NUM_LEAVES = 9, 5
FALL_PER_S = 1.1
AROUND = 1.3
"""Way of a drop or a leaf before it comes again, in shorter sides."""
RAIN_BAND_HZ, RAIN_RMS = (1800.0, 6500.0), 0.02
WIND_BAND_HZ, WIND_RMS = (180.0, 700.0), 0.05
GUST_S = 1.3


def moved(canvas: Canvas, camera: str, num_frames: int, frame_rate: float) -> Canvas:
    """The canvas as a camera sees it that stands still, zooms or pans at a constant speed.

    The middle of a pan is the middle of the clip. A pan to the left moves the scene to the right.
    """
    time = np.arange(num_frames) / frame_rate
    match camera:
        case "zoom in":
            return canvas.placed(0.0, 0.0, ZOOM_START + ZOOM_PER_S * time)
        case "zoom out":
            return canvas.placed(0.0, 0.0, ZOOM_OUT_START - ZOOM_PER_S * time)
        case "pan left" | "pan right":
            shift = PAN_PER_S * (time - time[-1] / 2)
            return canvas.placed(shift if camera == "pan left" else -shift, 0.0, 1.0)
    return canvas


def paint_ambience(canvas: Canvas, ambience: str, gusts: NDArray[np.float64], seed: int) -> None:
    """Drops that fall or leaves that fly, all over an animated canvas.

    Args:
        canvas: animated.
        ambience: one of `AMBIENCES`.
        gusts: way of the air or of the drops so far, in shorter sides [F].
        seed: of where things are.
    """
    if ambience == "none":
        return
    rng = np.random.default_rng([seed, 4])
    number = NUM_DROPS if ambience == "rain" else NUM_LEAVES
    # Spread evenly, then shaken, so that no part of the picture stays empty.
    across = (np.arange(number) + rng.uniform(0.2, 0.8, number)) / number - 0.5
    phases = rng.permutation(number) / number * AROUND
    for place, phase in zip(across, phases, strict=True):
        along = (phase + gusts) % AROUND - AROUND / 2
        if ambience == "rain":
            x = 2 * place * canvas.half_width
            canvas.paint(ellipse(x, along, 0.014, 0.06), RAIN_COLOUR, 0.8)
        else:
            flutter = place * 0.9 + 0.04 * np.sin(9 * gusts + 7 * phase)
            canvas.paint(ellipse(along, flutter, 0.045, 0.024), LEAF_COLOUR)


def travel(ambience: str, seconds: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """How far drops or leaves have come at some times, in shorter sides."""
    if ambience == "rain":
        return FALL_PER_S * seconds
    # The integral of the gusts' strength, so that leaves fly fast where the wind is loud.
    phase = _gust_phase(seed)
    turn = 2 * np.pi / GUST_S
    return 0.55 * seconds - 0.35 * (np.cos(turn * seconds + phase) - np.cos(phase)) / turn


def ambient_sound(ambience: str, num_samples: int, sample_rate: int, seed: int) -> np.ndarray:
    """Rain or wind as mono waveform [S] float32; silence for "none"."""
    if ambience == "none":
        return np.zeros(num_samples, np.float32)
    noise = np.random.default_rng([seed, 5]).standard_normal(num_samples)
    band, rms = (RAIN_BAND_HZ, RAIN_RMS) if ambience == "rain" else (WIND_BAND_HZ, WIND_RMS)
    sound = sosfilt(butter(2, band, "bandpass", fs=sample_rate, output="sos"), noise)
    if ambience == "wind":
        seconds = np.arange(num_samples) / sample_rate
        sound *= 0.55 + 0.35 * np.sin(2 * np.pi / GUST_S * seconds + _gust_phase(seed))
    return (sound * rms / np.sqrt(np.mean(sound**2))).astype(np.float32)


def _gust_phase(seed: int) -> float:
    return float(np.random.default_rng([seed, 6]).uniform(0, 2 * np.pi))
