"""The colours of the puppet world."""

from __future__ import annotations

from ltx2.training.puppet.drawing import Canvas, Colour, below, mix

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (20, 18, 24)

SKIN_COLOURS: dict[str, Colour] = {
    "red": (222, 48, 48),
    "green": (62, 170, 62),
    "blue": (52, 96, 222),
    "yellow": (250, 208, 40),
    "purple": (142, 62, 190),
    "orange": (248, 134, 28),
}
HAIR_COLOURS: dict[str, Colour] = {
    "brown": (116, 66, 34),
    "white": (236, 236, 240),
    "pink": (255, 92, 168),
}
BACKGROUND_COLOURS: dict[str, Colour] = {
    "white": (244, 244, 244),
    "grey": (142, 142, 146),
    "pink": (255, 176, 208),
    "black": (30, 29, 34),
    "cyan": (136, 226, 232),
}


def backdrop(background: str, *, height: int, width: int, num_frames: int) -> Canvas:
    """An animated canvas with the background, a little darker toward the bottom."""
    colour = BACKGROUND_COLOURS[background]
    canvas = Canvas(height, width, colour)
    bands = 8
    for band in range(1, bands):
        level = (2 * band / bands - 1) * canvas.half_height
        canvas.paint(below(level), mix(colour, BLACK, 0.1), opacity=1 / bands)
    canvas.animate(num_frames)
    return canvas
