"""Who a face is, as a vector: dlib's residual network for faces, run by its wheel `dlib-bin`.

King, "High Quality Face Recognition with Deep Metric Learning", 2017 (blog.dlib.net). The weights
(CC0) come with the package `face_recognition_models`, whose own code needs pkg_resources and is not
imported. Its file of 68 landmarks, which must not be used commercially, is not touched either: the
face mesh gives the five points by which a face is turned upright. Letters: P points.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltx2.errors import ResourceError

MEASURED_BY = "face network of dlib (128-d), five points of the face mesh"
ANOTHER_PERSON = 0.6
"""Distance of two vectors from which dlib's author calls them two people."""
SIDE, PADDING = 150, 0.25
"""Of the upright picture that the network was trained on: pixels, and room around the face."""
FIVE_POINTS = (263, 362, 33, 133, 2)
"""Of the face mesh, in dlib's order: outer and inner corner of the eye on the picture's right, the
same of the one on its left, base of the nose."""


@cache
def _network() -> tuple[Any, Any]:
    """The module of dlib and its network, loaded at the first call.

    Raises:
        ResourceError: a package is missing.
    """
    package = find_spec("face_recognition_models")
    if package is None or package.origin is None or find_spec("dlib") is None:
        name = "dlib-bin" if find_spec("dlib") is None else "face_recognition_models"
        raise ResourceError(
            f"Faces cannot be told apart: the package {name} is missing.",
            next_step="Install both: pip install --no-deps dlib-bin face_recognition_models",
        )
    import dlib

    path = Path(package.origin).parent / "models" / "dlib_face_recognition_resnet_model_v1.dat"
    return dlib, dlib.face_recognition_model_v1(str(path))


def face_vector(frame: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """Vector [128] of a face; those of one person are nearer than `ANOTHER_PERSON`.

    Args:
        frame: RGB [H, W, 3].
        landmarks: of the face mesh, in pixels [P, 2].

    Raises:
        ResourceError: a package is missing.
    """
    dlib, network = _network()
    points = [dlib.point(round(float(x)), round(float(y))) for x, y in landmarks[list(FIVE_POINTS)]]
    edges = (*landmarks.min(axis=0), *landmarks.max(axis=0))
    box = dlib.rectangle(*(round(float(edge)) for edge in edges))
    upright = dlib.get_face_chip(
        np.ascontiguousarray(frame), dlib.full_object_detection(box, points), SIDE, PADDING
    )
    return np.array(network.compute_face_descriptor(upright))
