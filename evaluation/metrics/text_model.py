"""Letters in a picture, found and read by the small networks of PP-OCRv4 (Apache-2.0).

Their files come with the package `rapidocr-onnxruntime`, whose own code needs OpenCV and is not
imported. Finding: Liao et al., "Real-time Scene Text Detection with Differentiable Binarization",
AAAI 2020; reading: Graves et al., "Connectionist Temporal Classification", ICML 2006.
Letters: H height, W width, T steps of the reader, C characters.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation, find_objects, label

from ltx2.errors import ResourceError

LONGEST_SIDE = 640
"""Pixels of the picture that is searched: letters of a fortieth of its width are still found."""
STRIDE = 32
LEAST_PROBABILITY, LEAST_MEAN_PROBABILITY = 0.3, 0.6
"""Of a pixel to lie in a line of text, and of a line on average."""
GROWTH = 0.8
"""Of its height by which a line found is widened to all sides: the network marks its core."""
SMALLEST_CORE_PX = 3
READ_HEIGHT, LEAST_READ_WIDTH, LARGEST_READ_WIDTH = 48, 96, 960


@dataclass(frozen=True)
class TextLine:
    """One line of text in a picture.

    Attributes:
        box: left, top, right, bottom in pixels.
        text: as read.
        confidence: mean probability of its characters, 0..1.
    """

    box: tuple[int, int, int, int]
    text: str
    confidence: float


class TextModels:
    """Both networks, loaded once per process and run by one thread.

    Raises:
        ResourceError: a package is missing.
    """

    def __init__(self) -> None:
        package = find_spec("rapidocr_onnxruntime")
        if package is None or package.origin is None:
            raise ResourceError(
                "Text in pictures cannot be found: the package rapidocr-onnxruntime is missing.",
                next_step="Install it: pip install --no-deps rapidocr-onnxruntime",
            )
        folder = Path(package.origin).parent / "models"
        self._finder = _session(folder / "ch_PP-OCRv4_det_infer.onnx")
        self._reader = _session(folder / "ch_PP-OCRv4_rec_infer.onnx")
        # The blank comes first and the space last; neither is in the file.
        listed = self._reader.get_modelmeta().custom_metadata_map["character"]
        self._characters = ["", *listed.splitlines(), " "]

    def lines(self, picture: Image.Image) -> tuple[TextLine, ...]:
        """Lines of text in an RGB picture, the largest first."""
        boxes = sorted(self._boxes(picture), key=lambda b: -(b[2] - b[0]) * (b[3] - b[1]))
        return tuple(TextLine(box, *self._read(picture.crop(box))) for box in boxes)

    def _boxes(self, picture: Image.Image) -> list[tuple[int, int, int, int]]:
        scale = min(1.0, LONGEST_SIDE / max(picture.size))
        size = [max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in picture.size]
        small = picture.resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=2.0)
        likely = _run(self._finder, _normalised(small))[0, 0]  # [H, W]
        numbered, _ = label(binary_dilation(likely > LEAST_PROBABILITY, np.ones((2, 2))))
        boxes = []
        for number, (rows, columns) in enumerate(find_objects(numbered), 1):
            height, width = rows.stop - rows.start, columns.stop - columns.start
            inside = numbered[rows, columns] == number
            if min(height, width) < SMALLEST_CORE_PX:
                continue
            if likely[rows, columns][inside].mean() < LEAST_MEAN_PROBABILITY:
                continue
            grow = GROWTH * min(height, width)
            edges = (
                (columns.start - grow) * picture.width / size[0],
                (rows.start - grow) * picture.height / size[1],
                (columns.stop + grow) * picture.width / size[0],
                (rows.stop + grow) * picture.height / size[1],
            )
            left, top, right, bottom = (round(edge) for edge in edges)
            boxes.append(
                (max(0, left), max(0, top), min(picture.width, right), min(picture.height, bottom))
            )
        return boxes

    def _read(self, line: Image.Image) -> tuple[str, float]:
        """Text of a picture of one line, and its confidence."""
        width = round(line.width * READ_HEIGHT / line.height)
        width = min(max(width, LEAST_READ_WIDTH), LARGEST_READ_WIDTH)
        small = line.resize((width, READ_HEIGHT), Image.Resampling.BILINEAR)
        steps = _run(self._reader, _normalised(small))[0]  # [T, C]
        best = steps.argmax(axis=1)
        found = [
            (character, max(steps[t, character] for t in times))
            for character, times in (
                (int(character), [t for t, _ in group])
                for character, group in groupby(enumerate(best), key=lambda pair: pair[1])
            )
            if character
        ]
        if not found:
            return "", 0.0
        text = "".join(self._characters[character] for character, _ in found)
        return text.strip(), float(np.mean([probability for _, probability in found]))


@cache
def text_models() -> TextModels:
    """The networks, loaded at the first call.

    Raises:
        ResourceError: a package is missing.
    """
    return TextModels()


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ResourceError(
            "Text in pictures cannot be found: the package onnxruntime is missing.",
            next_step="Install it: pip install onnxruntime",
        ) from error
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _run(session: Any, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    return found


def _normalised(picture: Image.Image) -> NDArray[np.float32]:
    """Pixels [1, 3, H, W] in the order blue, green, red, -1..1."""
    pixels = np.asarray(picture.convert("RGB"), np.float32)[..., ::-1] / 127.5 - 1
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
