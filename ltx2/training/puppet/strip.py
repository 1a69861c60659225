"""Draws clips as one still picture: frames in a row, their sound beneath, the prompt above."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ltx2.errors import RequestError

CaptionedClip = tuple[str, NDArray[np.uint8], NDArray[np.float32]]
"""Caption, frames uint8 [F, H, W, 3], waveform [2, S] in -1..1."""

WIDTH = 1200
MARGIN, COLUMN_GAP, ROW_GAP = 24, 32, 26
MOST_IN_ONE_COLUMN = 4
FONT_SIZE, LINE_HEIGHT, TEXT_GAP = 14, 19, 5
FRAME_GAP = 2
WAVE_HEIGHT, WAVE_GAP = 42, 3
LEAST_PEAK = 0.05
"""Sound that is never louder than this is drawn small, not stretched."""

PAPER, INK, AXIS = "#fbfbfa", "#24292f", "#d5d8dc"
LEFT_COLOUR, RIGHT_COLOUR = "#3b6fd4", "#e07a3f"


def write_strip(clips: Sequence[CaptionedClip], path: Path, *, frames_per_clip: int = 6) -> Path:
    """The path of the PNG just written, 1200 pixels wide, in one column or two.

    Each clip is cut into equal stretches of time: the frame in the middle of a stretch stands
    right above the sound of that stretch. The left channel points up, the right one down.

    Args:
        clips: what to draw, at least one, each with at least one frame.
        path: of the PNG.
        frames_per_clip: how many frames of each clip are shown.

    Raises:
        RequestError: there is nothing to draw.
    """
    if not clips or frames_per_clip < 1 or any(len(frames) == 0 for _, frames, _ in clips):
        raise RequestError(
            "A strip needs a clip, and every clip a frame.", next_step="Pass at least one of each."
        )
    columns = 1 if len(clips) <= MOST_IN_ONE_COLUMN else 2
    cell_width = (WIDTH - 2 * MARGIN - (columns - 1) * COLUMN_GAP) // columns
    peak = max([LEAST_PEAK, *(float(np.abs(sound).max(initial=0)) for _, _, sound in clips)])
    cells = [
        _draw_clip(clip, cell_width, frames_per_clip=frames_per_clip, peak=peak) for clip in clips
    ]
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    height = 2 * MARGIN + sum(heights) + ROW_GAP * (len(rows) - 1)
    sheet = Image.new("RGB", (WIDTH, height), PAPER)
    top = MARGIN
    for row, row_height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            left = MARGIN + column * (cell_width + COLUMN_GAP)
            sheet.paste(cell, (left, top + row_height - cell.height))
        top += row_height + ROW_GAP
    # A palette: a quarter of the bytes, which lie in the repository.
    sheet.quantize(256, dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)
    return path


def _draw_clip(
    clip: CaptionedClip, width: int, *, frames_per_clip: int, peak: float
) -> Image.Image:
    caption, frames, waveform = clip
    font = ImageFont.load_default(FONT_SIZE)
    lines = _wrapped(caption, font, width)
    step = (width + FRAME_GAP) // frames_per_clip
    frame_width = step - FRAME_GAP
    frame_height = round(frame_width * frames.shape[1] / frames.shape[2])
    wave_top = len(lines) * LINE_HEIGHT + TEXT_GAP + frame_height + WAVE_GAP
    cell = Image.new("RGB", (width, wave_top + WAVE_HEIGHT), PAPER)
    draw = ImageDraw.Draw(cell)
    for number, line in enumerate(lines):
        draw.text((0, number * LINE_HEIGHT), line, fill=INK, font=font)
    middles = (np.arange(frames_per_clip) + 0.5) / frames_per_clip * len(frames)
    for place, index in enumerate(middles.astype(int)):
        picture = Image.fromarray(frames[index]).resize(
            (frame_width, frame_height), Image.Resampling.BICUBIC
        )
        cell.paste(picture, (place * step, len(lines) * LINE_HEIGHT + TEXT_GAP))
    _draw_waveform(draw, waveform / peak, wave_top, width=frames_per_clip * step - FRAME_GAP)
    return cell


def _draw_waveform(
    draw: ImageDraw.ImageDraw, waveform: NDArray[np.float32], top: int, *, width: int
) -> None:
    """The loudest sample under each column of pixels, left channel up, right channel down."""
    middle, reach = top + WAVE_HEIGHT // 2, WAVE_HEIGHT // 2 - 1
    draw.line((0, middle, width - 1, middle), fill=AXIS)
    if waveform.shape[-1] == 0:
        return
    starts = np.linspace(0, waveform.shape[-1], width, endpoint=False).astype(int)
    left, right = np.maximum.reduceat(np.abs(waveform), starts, axis=1) * reach
    for x in range(width):
        if left[x] >= 1:
            draw.line((x, middle - round(float(left[x])), x, middle - 1), fill=LEFT_COLOUR)
        if right[x] >= 1:
            draw.line((x, middle + 1, x, middle + round(float(right[x]))), fill=RIGHT_COLOUR)


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    """The text in lines that fit a width in pixels; a longer word stands alone."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
