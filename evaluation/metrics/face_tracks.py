"""Shots, and boxes joined over time; nothing here looks for faces.

Letters: F frames, H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.metrics.face_models import overlaps

Array = NDArray[np.float32]

CUT_DIFFERENCE = 30.0
"""Mean change of hue, saturation and value, 0..255, at a cut (PySceneDetect's threshold)."""
SHORTEST_SHOT = 15
"""Frames from one cut to the next."""
CUT_SIDE = 96
LEAST_OVERLAP = 0.5
LARGEST_GAP = 10
"""Frames over which a face may be lost, and how many detections a track has more than."""


@dataclass(frozen=True)
class BoxTrack:
    """One face through one shot.

    Attributes:
        frames: consecutive numbers of frames [N].
        boxes: left, top, right, bottom in pixels [N, 4]; interpolated where it was not found.
        found: whether a detection stands behind the box [N].
    """

    frames: NDArray[np.int64]
    boxes: Array
    found: NDArray[np.bool_]


def find_cuts(frames: NDArray[np.uint8]) -> tuple[int, ...]:
    """First frame of every shot but the first, for pictures [F, H, W, 3]."""
    step = max(1, min(frames.shape[1:3]) // CUT_SIDE)
    cuts: list[int] = []
    before = _hsv(frames[0, ::step, ::step])
    for number in range(1, len(frames)):
        now = _hsv(frames[number, ::step, ::step])
        change = float(np.abs(now - before).mean())
        if change >= CUT_DIFFERENCE and number - (cuts[-1] if cuts else 0) >= SHORTEST_SHOT:
            cuts.append(number)
        before = now
    return tuple(cuts)


def _hsv(picture: NDArray[np.uint8]) -> NDArray[np.int16]:
    # OpenCV, to whose scale the threshold belongs, counts hue in 180 steps.
    hsv = np.asarray(Image.fromarray(picture).convert("HSV"), np.int16).copy()
    hsv[..., 0] = hsv[..., 0] * 180 // 256
    return hsv


def track(
    detections: Sequence[Array | None], cuts: Sequence[int], *, min_found: int
) -> list[BoxTrack]:
    """Detections of frames [N, 4 or more] joined greedily; None where nobody looked.

    A detection joins a track if it comes at most `LARGEST_GAP` frames after the track's last one
    and overlaps it by more than `LEAST_OVERLAP`. Tracks do not cross cuts.
    """
    tracks = []
    edges = [0, *cuts, len(detections)]
    for first, last in pairwise(edges):
        unused = {
            n: list(np.asarray(found)[:, :4])
            for n, found in enumerate(detections[first:last], first)
            if found is not None and len(found)
        }
        while unused:
            joined = _join(unused)
            if len(joined) >= min_found:
                tracks.append(_filled(joined))
    return tracks


def _join(unused: dict[int, list[Array]]) -> dict[int, Array]:
    """The track that begins with the first unused detection; its detections are taken out."""
    joined: dict[int, Array] = {}
    for number in sorted(unused):
        if joined:
            last = max(joined)
            if number - last > LARGEST_GAP:
                break
            overlap = overlaps(joined[last], np.array(unused[number]))
            best = int(overlap.argmax())
            if overlap[best] <= LEAST_OVERLAP:
                continue
        else:
            best = 0
        joined[number] = unused[number].pop(best)
        if not unused[number]:
            del unused[number]
    return joined


def _filled(joined: dict[int, Array]) -> BoxTrack:
    known = np.array(sorted(joined))
    boxes = np.array([joined[n] for n in known])
    frames = np.arange(known[0], known[-1] + 1)
    filled = np.stack([np.interp(frames, known, boxes[:, side]) for side in range(4)], axis=1)
    return BoxTrack(frames, filled.astype(np.float32), np.isin(frames, known))
