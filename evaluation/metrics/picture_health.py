"""Faults of pictures that a program can see in a fraction of a second.

Everything is judged on small grey copies of the pictures, about 96 pixels wide, where noise and
compression are averaged away. Letters: F frames, H, W their size, h, w that of the copies.
"""

from itertools import pairwise

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from evaluation.metrics.finding import Finding

SMALL_WIDTH = 96
"""Width in pixels at which a whole clip costs a tenth of a second and a mouth is still seen."""
PAIR_S = 0.25
"""Time between two pictures whose difference counts as motion."""
MOVING_PERCENTILE = 99.0
"""A moving mouth covers about a hundredth of the picture."""
LEAST_MOTION = 9.0
"""Change, in levels of 255, of the moving hundredth beyond what the camera does. Real talking
faces change by 12 and more, puppets by 18 and more; a zoom by a fifth into one photograph by at
most 4, into a drawing of 96 pixels with hard edges by up to 8.6."""
LEAST_CHANGE = 2.0
"""Change, in levels, below which not even the camera moves."""
EDGE_BLUR = 1.0
CAMERA_STEPS = 3
"""Rounds of least squares; the brightness is a plane over less than a pixel only."""
LAST_FRAMES = 8
"""A video codec that folds eight frames into one spoils them together."""
LARGEST_JUMP_RATIO, LEAST_JUMP = 3.0, 6.0
"""Change between two of the last pictures, beside nearly the largest before and in levels, from
which on it is a jump. Clips without the fault have a ratio of at most 1.1."""
BLACK_MEAN, BLACK_BRIGHTEST = 10.0, 30.0
"""Mean and 99th percentile, in levels, below which a picture is black, not dark."""


def small_pictures(frames: np.ndarray) -> np.ndarray:
    """Grey copies about `SMALL_WIDTH` wide [F, h, w] float32, 0..255, of frames [F, H, W, 3]."""
    # Of very large pictures every second, third.. pixel is enough for a mean.
    step = max(1, min(frames.shape[1:3]) // 512)
    factor = max(1, round(frames.shape[2] / step / SMALL_WIDTH))
    pictures = (Image.fromarray(np.ascontiguousarray(frame[::step, ::step])) for frame in frames)
    return np.stack(
        [np.asarray(picture.convert("L").reduce(factor), np.float32) for picture in pictures]
    )


def stillness(small: np.ndarray, frame_rate: float) -> Finding:
    """Whether anything in the picture moves, apart from the camera.

    The camera's shift and zoom between two pictures are those that explain most of their
    difference (least squares on the brightness gradient: Lucas and Kanade, 1981).

    Args:
        small: grey pictures [F, h, w].
        frame_rate: pictures per second.
    """
    name, title = "stillness", "Motion"
    gap = max(1, round(PAIR_S * frame_rate))
    if len(small) <= gap or min(small.shape[1:]) < 8:
        return Finding(name, title, "not measured", "The clip is too short to see motion.")
    # Blurred, since a hard edge between two pixels cannot be moved by less than one.
    smooth = [gaussian_filter(picture, EDGE_BLUR) for picture in small[::gap]]
    pairs = list(pairwise(smooth))
    change = _moving(np.stack([second - first for first, second in pairs]))
    motion = _moving(np.stack([_without_camera(first, second) for first, second in pairs]))
    if motion >= LEAST_MOTION:
        sentence = f"Something moves: brightness changes by up to {motion:.0f} of 255 levels."
        return Finding(name, title, "fine", sentence, motion, "levels")
    advice = (
        "Say in the prompt what moves and how (verbs, not only a description), use another seed, "
        "or compress the first image more strongly."
    )
    if change < LEAST_CHANGE:
        sentence = "The picture stands still."
    elif change > 1.5 * motion:
        sentence = "Only the camera moves, as if it filmed a photograph."
    else:
        sentence = f"Almost nothing moves: brightness changes by {motion:.1f} of 255 levels."
    return Finding(name, title, "problem", sentence, motion, "levels", advice)


def _without_camera(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Difference [h, w] of two pictures, less what a shift and a zoom explain."""
    height, width = first.shape
    y = np.arange(height)[:, None] - (height - 1) / 2
    x = np.arange(width)[None] - (width - 1) / 2
    shift_x = shift_y = zoom = 0.0
    found = [second - first]
    warped = second
    for _ in range(CAMERA_STEPS):
        slope_y, slope_x = np.gradient((first + warped) / 2)
        columns = np.stack([slope_x, slope_y, slope_x * x + slope_y * y], axis=-1).reshape(-1, 3)
        # The normal equations, three by three; a picture without slopes has no solution but 0.
        step = np.linalg.pinv(columns.T @ columns) @ (columns.T @ (first - warped).ravel())
        shift_x, shift_y, zoom = shift_x + step[0], shift_y + step[1], zoom + step[2]
        places = np.broadcast_arrays(
            y * (1 + zoom) + shift_y + (height - 1) / 2, x * (1 + zoom) + shift_x + (width - 1) / 2
        )
        warped = map_coordinates(second, places, order=1, mode="nearest")
        found.append(warped - first)
    # Where the camera explains nothing the steps lead astray.
    return min(found, key=lambda left: float(np.square(left).mean()))


def _moving(differences: np.ndarray) -> float:
    """Largest change [pairs, h, w] of the hundredth of the picture that changes most."""
    # What a zoom brings in at the edges was not there to compare with.
    margin_y, margin_x = (size // 12 for size in differences.shape[1:])
    inner = differences[:, margin_y : -margin_y or None, margin_x : -margin_x or None]
    whole = inner[:, : inner.shape[1] // 2 * 2, : inner.shape[2] // 2 * 2]
    pairs, height, width = whole.shape
    blocks = whole.reshape(pairs, height // 2, 2, width // 2, 2).mean(axis=(2, 4))
    return float(np.percentile(np.abs(blocks).max(axis=0), MOVING_PERCENTILE))


def end_jump(small: np.ndarray) -> Finding:
    """Whether the last pictures differ from each other as no others do: a flash, a new scene.

    Args:
        small: grey pictures [F, h, w].
    """
    name, title = "end_jump", "End"
    if len(small) < 2 * LAST_FRAMES:
        return Finding(name, title, "not measured", "The clip is too short to compare its end.")
    changes = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2))
    brightness = np.abs(np.diff(small.mean(axis=(1, 2))))
    jumps = {}
    for kind, steps in (("changes", changes), ("brightness", brightness)):
        # A cut somewhere before is no measure for the end, so not the very largest.
        usual = float(np.percentile(steps[:-LAST_FRAMES], 98))
        jumps[kind] = float(steps[-LAST_FRAMES:].max()) / max(
            usual, LEAST_JUMP / LARGEST_JUMP_RATIO
        )
    ratio = max(jumps.values())
    if ratio < LARGEST_JUMP_RATIO:
        return Finding(name, title, "fine", "The end is as calm as the rest.", ratio)
    what = "flashes" if jumps["brightness"] >= LARGEST_JUMP_RATIO else "jumps"
    sentence = f"The picture {what} in its last {LAST_FRAMES} frames: {ratio:.0f} times the usual."
    return Finding(
        name, title, "problem", sentence, ratio, "", f"Cut off the last {LAST_FRAMES} frames."
    )


def black_frames(small: np.ndarray, frame_rate: float) -> Finding:
    """How long the picture is black, and where.

    Args:
        small: grey pictures [F, h, w].
        frame_rate: pictures per second.
    """
    brightest = np.percentile(small, 99, axis=(1, 2))
    black = (small.mean(axis=(1, 2)) < BLACK_MEAN) & (brightest < BLACK_BRIGHTEST)
    number = int(black.sum())
    name, title = "black_frames", "Black frames"
    if not number:
        return Finding(name, title, "fine", "No picture is black.", 0.0, "frames")
    if black.all():
        sentence, advice = "Every picture is black.", "Make the clip again with another seed."
        return Finding(name, title, "problem", sentence, float(number), "frames", advice)
    first = int(black.argmax()) / frame_rate
    sentence = f"{number} of {len(black)} pictures are black, the first at {first:.1f} s."
    advice = "Cut them off, or use another seed."
    return Finding(name, title, "notice", sentence, float(number), "frames", advice)
