"""Faces of the puppet world, found by their big white eyes; other cartoons are not its aim.

On a puppet's saturated skin the darkest of the three colour channels is low everywhere but in
the whites of the eyes, so two light discs with dark pupils side by side give a puppet away
whatever its colour, hair and hat. Measures are shares of the picture's shorter side, times the
scale of a head. Letters: F frames, H height, W width; h and w belong to the shrunk picture.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.signal import fftconvolve

Array = NDArray[np.float32]

HEAD_HALF_WIDTH, HEAD_HALF_HEIGHT = 0.27, 0.29
EYE_X, EYE_Y, EYE_RADIUS = 0.1, -0.085, 0.088
PUPIL_X, PUPIL_Y, PUPIL_RADIUS = 0.012, 0.008, 0.046
TEMPLATE_HALF_WIDTH, TEMPLATE_HALF_HEIGHT = 0.2, 0.105
MOUTH_HALF_WIDTH, MOUTH_TOP, MOUTH_BOTTOM = 0.15, 0.035, 0.25
"""Where a mouth can be, from the head's centre."""
WIDEST_MOUTH = 0.135 * 0.165 * 4 / 3
"""Area of a wide open mouth, a segment of a parabola."""

SHRUNK_SIDE = 96
BLUR_PX = 0.7
SCALES = np.geomspace(0.55, 1.3, 12)
LEAST_MATCH = 0.72
"""Correlation with the drawing of two eyes from which they are believed."""
MOUTH_PIXELS = (48, 36)
FULL_DIFFERENCE = 70.0
"""Difference from the skin, 0..255, at which a pixel wholly belongs to the mouth."""


def find_cartoon_faces(picture: Image.Image) -> Array:
    """Boxes of heads without hair and hat, pixels, and how well their eyes match [N, 5]."""
    shrink = SHRUNK_SIDE / min(picture.size)
    size = (round(picture.width * shrink), round(picture.height * shrink))
    small = np.asarray(picture.resize(size, Image.Resampling.BOX), np.float32)
    darkest = gaussian_filter(small.min(axis=-1), BLUR_PX)
    best = np.full(darkest.shape, -1.0)
    scale_of = np.zeros(darkest.shape)
    for scale in SCALES:
        match = _correlation(darkest, _eyes(scale))
        scale_of = np.where(match > best, scale, scale_of)
        best = np.maximum(best, match)
    reach = round(2 * HEAD_HALF_WIDTH * SCALES[0] * SHRUNK_SIDE)
    peaks = np.argwhere((best == maximum_filter(best, reach)) & (best > LEAST_MATCH))
    faces = []
    for row, column in peaks:
        scale = scale_of[row, column] * min(picture.size)
        x = (column + 0.5 + _between(best[row], column)) / shrink
        y = (row + 0.5 + _between(best[:, column], row)) / shrink - EYE_Y * scale
        half_width, half_height = HEAD_HALF_WIDTH * scale, HEAD_HALF_HEIGHT * scale
        box = (x - half_width, y - half_height, x + half_width, y + half_height)
        faces.append((*box, best[row, column]))
    return np.array(sorted(faces, key=lambda face: -face[4]), np.float32).reshape(-1, 5)


def cartoon_openings(frames: NDArray[np.uint8], boxes: Array) -> Array:
    """How far the mouth of a head opens in each frame [F], about 0 closed .. 1 wide open.

    Args:
        frames: pictures [F, H, W, 3].
        boxes: of the head in each of them, pixels [F, 4].
    """
    windows = np.stack([_mouth(*pair) for pair in zip(frames, boxes, strict=True)])
    skin = np.median(windows.reshape(-1, 3), axis=0)
    difference = np.abs(windows - skin).max(axis=-1)  # [F, h, w]
    share = np.clip(difference / FULL_DIFFERENCE, 0, 1).mean(axis=(1, 2))
    window = 2 * MOUTH_HALF_WIDTH * (MOUTH_BOTTOM - MOUTH_TOP)
    opening = _by_own_pattern(windows, share * window / WIDEST_MOUTH)
    return (opening - np.quantile(opening, 0.05)).astype(np.float32)


def _by_own_pattern(windows: Array, opening: Array) -> Array:
    """A rough opening [F] read again by how this very mouth looks as it opens (matched filter).

    Generated mouths are soft and their surroundings flicker: the pixels of the windows
    [F, h, w, 3] count by how much they go with the rough opening, with their own colours.
    """
    pixels = windows.reshape(len(windows), -1)
    pixels = pixels - pixels.mean(axis=0)
    rough = opening - opening.mean()
    pattern = rough @ pixels
    found = pixels @ pattern
    # In the units of the rough opening, so that a mouth that keeps still does not seem to move.
    scale = (rough @ found) / max(float(found @ found), 1e-9)
    return found * scale


def _mouth(frame: NDArray[np.uint8], box: Array) -> Array:
    """Pixels of the window in which a mouth can be [h, w, 3]."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    scale = (box[2] - box[0]) / (2 * HEAD_HALF_WIDTH)
    height, width = frame.shape[:2]
    low = np.array([x - MOUTH_HALF_WIDTH * scale, y + MOUTH_TOP * scale])
    high = np.array([x + MOUTH_HALF_WIDTH * scale, y + MOUTH_BOTTOM * scale])
    edge = np.array([width, height])
    low, high = np.clip(low, 0, edge - 2), np.clip(high, 2, edge)
    left, top = np.floor(low).astype(int)
    right, bottom = np.ceil(high).astype(int)
    inside = (*(low - (left, top)), *(high - (left, top)))
    part = Image.fromarray(frame[top:bottom, left:right])
    window = part.resize(MOUTH_PIXELS, Image.Resampling.BILINEAR, box=inside)
    return np.asarray(window, np.float32)


def _eyes(scale: float) -> Array:
    """Drawing of two open eyes on dark skin, around the point between them; mean 0, norm 1."""
    unit = scale * SHRUNK_SIDE
    reach_x, reach_y = (round(s * unit) for s in (TEMPLATE_HALF_WIDTH, TEMPLATE_HALF_HEIGHT))
    y, x = np.mgrid[-reach_y : reach_y + 1, -reach_x : reach_x + 1] / unit
    drawing = np.zeros(x.shape)
    for side in (-1, 1):
        white = np.hypot(x - side * EYE_X, y) < EYE_RADIUS
        pupil = np.hypot(x - side * (EYE_X - PUPIL_X), y - PUPIL_Y) < PUPIL_RADIUS
        drawing += white & ~pupil
    soft = gaussian_filter(drawing, 1.0)
    soft -= soft.mean()
    return (soft / np.linalg.norm(soft)).astype(np.float32)


def _correlation(picture: Array, drawing: Array) -> NDArray[np.float64]:
    """Normalised correlation of the drawing with the picture around each pixel [h, w]."""
    ones = np.ones(drawing.shape, np.float32)
    product = fftconvolve(picture, drawing[::-1, ::-1], mode="same")
    total = fftconvolve(picture, ones, mode="same")
    squares = fftconvolve(picture**2, ones, mode="same")
    spread = np.sqrt(np.maximum(squares - total**2 / drawing.size, 0))
    # Flat parts correlate with anything: at least 12 grey levels of contrast are asked.
    return product / np.maximum(spread, 12.0 * drawing.size**0.5)


def _between(line: NDArray[np.float64], peak: int) -> float:
    """Distance of the vertex of a parabola through a peak and its neighbours, -0.5..0.5."""
    if not 0 < peak < len(line) - 1:
        return 0.0
    before, top, after = line[peak - 1 : peak + 2]
    bend = before - 2 * top + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
