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


@pytest.mark.parametrize("side", [48, 96, 192])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_edges_are_as_wide_in_pixels_whatever_the_size_and_the_scale(
    side: int, scale: float
) -> None:
    canvas = Canvas(side, side, BLACK)
    canvas.placed(0, 0, scale).paint(drawing.above(0.013), WHITE)
    profile = canvas.frames()[0, :, 0, 0] / 255
    steepest = np.abs(np.diff(profile)).max()
    assert steepest == pytest.approx(1 / drawing.EDGE_PX, abs=0.01)
    grey = (profile > 0.01) & (profile < 0.99)
    assert abs(grey.sum() - drawing.EDGE_PX) < 1
    assert profile.sum() == pytest.approx(side * (0.5 + 0.013 * scale), abs=0.1)


def test_a_canvas_placed_twice_composes() -> None:
    moves, scales = np.array([-0.1, 0.2]), np.array([1.0, 0.8])
    pictures, boxes = [], []
    for place in (
        lambda canvas: canvas.placed(0.1, -0.2, 0.5).placed(moves, 0.3, scales),
        lambda canvas: canvas.placed(0.1 + 0.5 * moves, -0.2 + 0.5 * 0.3, 0.5 * scales),
    ):
        canvas = Canvas(48, 64, BLACK)
        canvas.animate(2)
        placed = place(canvas)
        placed.paint(drawing.ellipse(0.1, -0.05, 0.2, 0.3), WHITE)
        pictures.append(canvas.frames().astype(int))
        boxes.append([placed.pixels((-0.1, -0.35, 0.3, 0.25), frame) for frame in range(2)])
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
    assert np.array(boxes[0]) == pytest.approx(np.array(boxes[1]), abs=1e-3)


def test_what_is_painted_on_a_placed_canvas_lies_where_its_boxes_say() -> None:
    canvas = Canvas(96, 120, BLACK)
    canvas.animate(3)
    placed = canvas.placed([-0.2, 0.0, 0.3], 0.1, [1.0, 0.5, 0.75])
    placed.paint(drawing.box(0.0, -0.1, 0.25, 0.15), WHITE)
    for frame, picture in enumerate(canvas.frames()[..., 0] > 127):
        left, top, right, bottom = placed.pixels((-0.25, -0.25, 0.25, 0.05), frame)
        rows, columns = np.nonzero(picture)
        assert (columns.min(), columns.max() + 1) == pytest.approx((left, right), abs=0.51)
        assert (rows.min(), rows.max() + 1) == pytest.approx((top, bottom), abs=0.51)


def test_later_shapes_cover_earlier_ones() -> None:
    canvas = Canvas(32, 32, BLACK)
    canvas.paint(drawing.circle(0, 0, 0.4), WHITE)
    canvas.paint(drawing.circle(0, 0, 0.2), (255, 0, 0))
    assert canvas.frames()[0, 16, 16].tolist() == [255, 0, 0]
    assert canvas.frames()[0, 16, 26].tolist() == [255, 255, 255]


def test_a_ring_is_the_outline_of_an_ellipse() -> None:
    outer, inner = drawing.ellipse(0, 0, 0.32, 0.22), drawing.ellipse(0, 0, 0.28, 0.18)
    assert area(drawing.ring(0, 0, 0.3, 2 / 3, 0.02))[0] == pytest.approx(
        area(outer)[0] - area(inner)[0], rel=0.05
    )


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
