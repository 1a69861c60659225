from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltx2.errors import RequestError
from ltx2.training.puppet.strip import WIDTH, CaptionedClip, write_strip

RED, BLUE = (255, 0, 0), (0, 0, 255)


def a_clip(
    colours: list[tuple[int, int, int]], *, size: tuple[int, int] = (96, 96)
) -> CaptionedClip:
    """One plain frame per colour, silent first, then loud on the left."""
    frames = np.empty((len(colours), *size, 3), np.uint8)
    frames[:] = np.array(colours, np.uint8)[:, None, None]
    waveform = np.zeros((2, 1000), np.float32)
    waveform[0, 500:] = 0.5
    return "A caption of a few words.", frames, waveform


def written(clips: list[CaptionedClip], path: Path, *, frames_per_clip: int = 6) -> np.ndarray:
    with Image.open(write_strip(clips, path, frames_per_clip=frames_per_clip)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def share_of(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((np.abs(picture - colour).max(axis=-1) < 8).mean())


def test_frames_stand_in_order_of_time_and_twice_as_large(tmp_path: Path) -> None:
    picture = written([a_clip([RED, BLUE])], tmp_path / "strip.png", frames_per_clip=6)
    assert picture.shape[1] == WIDTH
    assert share_of(picture[:, : WIDTH // 2 - 2], BLUE) == 0
    assert share_of(picture[:, WIDTH // 2 + 2 :], RED) == 0
    red_pixels = share_of(picture, RED) * picture.shape[0] * WIDTH
    assert red_pixels == pytest.approx(3 * 192 * 192, rel=0.05)


def test_many_clips_stand_in_two_columns_on_a_light_ground(tmp_path: Path) -> None:
    picture = written([a_clip([RED]), *[a_clip([BLUE])] * 5], tmp_path / "strip.png")
    assert picture[0, 0].min() > 240
    assert share_of(picture[: len(picture) // 3, : WIDTH // 2], RED) > 0.3
    assert share_of(picture[:, WIDTH // 2 :], RED) == 0


def test_the_sound_is_drawn_beneath_its_frames_with_the_left_channel_up(tmp_path: Path) -> None:
    picture = written([a_clip([RED])], tmp_path / "strip.png")
    last_red = np.flatnonzero((np.abs(picture - RED).max(axis=-1) < 8).any(axis=1))[-1]
    wave = picture[last_red + 1 : -24]
    drawn = (wave[..., 2] - wave[..., 0]) > 60  # the left channel's blue
    assert not drawn[:, : WIDTH // 2 - 10].any()
    rows = np.flatnonzero(drawn[:, WIDTH // 2 + 10 : -30].all(axis=1))
    assert len(rows) > len(wave) // 3
    assert rows.max() <= len(wave) // 2 + 2


def test_a_long_caption_goes_on_in_a_second_line_and_is_never_cut(tmp_path: Path) -> None:
    _, frames, waveform = a_clip([RED])
    short = written([("Word.", frames, waveform)], tmp_path / "a.png")
    long = written([("word " * 60, frames, waveform)], tmp_path / "b.png")
    assert len(long) > len(short)
    assert (long[:, -20:] > 240).all()


def test_a_wide_clip_without_sound_can_be_drawn(tmp_path: Path) -> None:
    caption, frames, _ = a_clip([RED], size=(48, 96))
    picture = written([(caption, frames, np.zeros((2, 0), np.float32))], tmp_path / "strip.png")
    assert share_of(picture, RED) * picture.size / 3 == pytest.approx(6 * 96 * 192, rel=0.05)


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    caption, frames, waveform = a_clip([RED])
    for clips in ([], [(caption, frames[:0], waveform)]):
        with pytest.raises(RequestError):
            write_strip(clips, tmp_path / "strip.png")
