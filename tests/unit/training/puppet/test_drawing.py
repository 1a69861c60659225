import numpy as np
import pytest

from ltx2.training.puppet import drawing
from ltx2.training.puppet.drawing import Canvas

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def area(shape: drawing.Shape, *, num_frames: int = 1) -> np.ndarray:
    """Covered share of a square picture whose side is 1, per frame."""
    canvas = Canvas(96, 96, BLACK)
    canvas.animate(num_frames)
    canvas.paint(shape, WHITE)
    return canvas.frames().mean(axis=(1, 2, 3)) / 255


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (drawing.circle(0.1, -0.1, 0.2), np.pi * 0.04),
        (drawing.ellipse(0, 0, 0.3, 0.12), np.pi * 0.036),
        (drawing.box(0, 0, 0.25, 0.1), 0.1),
        (drawing.stroke(-0.2, 0, 0.2, 0, 0.05), 0.04 + np.pi * 0.0025),
        (drawing.circle(0, 0, 0.2) & drawing.below(0), np.pi * 0.02),
        (drawing.circle(0, 0, 0.2) & drawing.above(0), np.pi * 0.02),
        (drawing.circle(0, 0, 0.2).grown(0.05), np.pi * 0.0625),
    ],
    ids=["circle", "ellipse", "box", "stroke", "lower half", "upper half", "grown"],
)
def test_a_shape_covers_its_area(shape: drawing.Shape, expected: float) -> None:
    assert area(shape)[0] == pytest.approx(expected, rel=0.03)


def test_a_shape_has_its_own_place_in_each_frame() -> None:
    canvas = Canvas(32, 64, BLACK)
    canvas.animate(3)
    canvas.paint(drawing.circle(np.array([-0.5, 0.0, 0.5]), 0, 0.2), WHITE)
    columns = np.arange(64) + 0.5
    weight = canvas.frames()[..., 0].sum(axis=1).astype(float)
    assert (weight * columns).sum(axis=1) / weight.sum(axis=1) == pytest.approx([16, 32, 48])


def test_edges_are_smooth() -> None:
    canvas = Canvas(96, 96, BLACK)
    canvas.paint(drawing.circle(0, 0, 0.3), WHITE)
    assert len(np.unique(canvas.frames())) > 10


def test_opacity_may_change_from_frame_to_frame() -> None:
    canvas = Canvas(16, 16, BLACK)
    canvas.animate(3)
    canvas.paint(drawing.below(-1), WHITE, np.array([0, 0.5, 1]))
    assert canvas.frames()[:, 8, 8, 0].tolist() == [0, 128, 255]


def test_what_lies_outside_the_picture_is_not_painted() -> None:
    assert area(drawing.circle(2, 2, 0.3))[0] == 0


def test_boxes_are_told_in_pixels_and_cut_to_the_picture() -> None:
    canvas = Canvas(50, 100, BLACK)
    assert canvas.pixels((-0.5, -9, 0.5, 0)) == pytest.approx((25, 0, 75, 25))
