import dataclasses
import shutil
from itertools import pairwise

import numpy as np
import pytest

from ltx2.training.puppet.ball import CONTACT_Y
from ltx2.training.puppet.face import MOUTH_COLOUR, TONGUE_COLOUR
from ltx2.training.puppet.scenes import MATERIALS, WORDS, BouncingBall, Scene, TalkingFace
from ltx2.training.puppet.world import RenderedClip, render

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"
)
FACE = TalkingFace("green", "crown", "grey", "centre", "seven", "en", "high", 0.4, 7)
BALL = BouncingBall("purple", "wood", "white", "centre", 0.45, 7)
BOTH = [pytest.param(FACE, id="face", marks=needs_espeak), pytest.param(BALL, id="ball")]


def envelope(clip: RenderedClip) -> np.ndarray:
    """Root mean square of the sound during each frame."""
    mono = clip.waveform.mean(axis=0)
    edges = np.round(np.arange(len(clip.frames) + 1) / clip.frame_rate * clip.sample_rate)
    pieces = np.split(mono, edges[1:-1].astype(int))
    return np.array([np.sqrt((piece**2).mean()) for piece in pieces])


def best_lag(moved: np.ndarray, reference: np.ndarray) -> int:
    """Frames by which `moved` must be put later to look most like the reference."""
    return max(range(-5, 6), key=lambda lag: np.corrcoef(np.roll(moved, lag), reference)[0, 1])


def near_colour(
    frames: np.ndarray, colour: tuple[float, float, float], tolerance: int = 40
) -> np.ndarray:
    """Which pixels look like a colour [F, H, W]."""
    return np.abs(frames.astype(int) - np.array(colour)).max(axis=-1) < tolerance


@pytest.mark.parametrize("scene", BOTH)
def test_the_same_scene_gives_the_same_clip_and_another_variation_another(scene: Scene) -> None:
    first, again = render(scene), render(scene)
    other = render(dataclasses.replace(scene, variation=scene.variation + 1))
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.waveform, again.waveform)
    assert not np.array_equal(first.frames, other.frames)
    assert not np.array_equal(first.waveform, other.waveform)


@pytest.mark.parametrize("scene", BOTH)
@pytest.mark.parametrize(
    ("num_frames", "height", "width", "frame_rate"),
    [(49, 96, 96, 24.0), (97, 64, 128, 24.0), (9, 128, 80, 25.0), (1, 32, 32, 24.0)],
)
def test_pictures_and_sound_have_the_length_and_size_asked_for(
    scene: Scene, num_frames: int, height: int, width: int, frame_rate: float
) -> None:
    clip = render(scene, num_frames=num_frames, height=height, width=width, frame_rate=frame_rate)
    assert clip.frames.shape == (num_frames, height, width, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.waveform.shape == (2, round(num_frames / frame_rate * 16000))
    assert clip.waveform.dtype == np.float32
    assert np.abs(clip.waveform).max() <= 1
    assert clip.truth.mouth_opening.shape == (num_frames,)
    assert clip.truth.subject_boxes.shape == (num_frames, 4)


@needs_espeak
@pytest.mark.parametrize("word", WORDS)
def test_the_mouth_follows_the_sound_without_delay(word: str) -> None:
    clip = render(dataclasses.replace(FACE, word=word))
    opening, loudness = clip.truth.mouth_opening, envelope(clip)
    assert best_lag(opening, loudness) == 0
    assert np.corrcoef(opening, loudness)[0, 1] > 0.9
    assert opening.max() == pytest.approx(1)
    inside = near_colour(clip.frames, MOUTH_COLOUR) | near_colour(clip.frames, TONGUE_COLOUR)
    seen = inside.sum(axis=(1, 2)).astype(float)
    assert best_lag(seen, loudness) == 0
    assert np.corrcoef(seen, loudness)[0, 1] > 0.85


@needs_espeak
def test_the_mouth_is_closed_and_the_sound_silent_outside_the_word() -> None:
    clip = render(FACE)
    start, end = clip.truth.word_start_s, clip.truth.word_end_s
    assert start == pytest.approx(FACE.start_s, abs=1e-3)
    assert start < end < 1.3
    sounding = np.flatnonzero(np.abs(clip.waveform).max(axis=0) > 1e-3) / clip.sample_rate
    assert sounding[0] == pytest.approx(start, abs=0.02)
    assert sounding[-1] == pytest.approx(end, abs=0.02)
    times = np.arange(49) / 24
    quiet = (times + 1 / 24 < start - 0.03) | (times > end + 0.03)
    assert clip.truth.mouth_opening[quiet].max() == 0


@needs_espeak
def test_a_long_clip_repeats_the_word() -> None:
    clip = render(FACE, num_frames=121)
    starts = [start for start, _ in clip.truth.word_times_s]
    assert np.diff(starts) == pytest.approx([2.0, 2.0][: len(starts) - 1])
    assert len(starts) >= 2
    assert clip.truth.mouth_opening[round((starts[1] + 0.1) * 24) :].max() > 0.5


@needs_espeak
def test_the_mouth_box_holds_the_mouth() -> None:
    clip = render(FACE)
    for frame, box in zip(clip.frames, clip.truth.mouth_boxes, strict=True):
        rows, columns = np.nonzero(near_colour(frame, MOUTH_COLOUR, tolerance=15))
        left, top, right, bottom = box
        assert left - 1.5 <= columns.min() <= columns.max() <= right + 1.5
        assert top - 1.5 <= rows.min() <= rows.max() <= bottom + 1.5


@pytest.mark.parametrize("material", MATERIALS)
def test_an_impact_is_heard_when_the_ball_touches_the_floor(material: str) -> None:
    clip = render(dataclasses.replace(BALL, material=material, variation=11))
    assert len(clip.truth.impact_times_s) >= 2
    first = clip.truth.impact_times_s[0]
    loud = np.flatnonzero(np.abs(clip.waveform[0]) > 0.05 * np.abs(clip.waveform).max())
    assert loud[0] / clip.sample_rate == pytest.approx(first, abs=0.015)
    for time in clip.truth.impact_times_s:
        frame = round(time * clip.frame_rate)
        assert frame / clip.frame_rate == pytest.approx(time)
        assert clip.truth.ball_height[frame] == 0
        assert clip.truth.ball_height[frame - 2] > 0


def test_every_wood_impact_has_its_own_onset() -> None:
    clip = render(BALL, num_frames=97)
    level = np.abs(clip.waveform[0])
    for time in clip.truth.impact_times_s:
        start = round(time * clip.sample_rate)
        before = level[start - 400 : start].max()
        after = level[start : start + round(0.015 * clip.sample_rate)].max()
        assert after > 3 * before


def test_the_picture_shows_the_contact_in_the_frame_of_the_impact() -> None:
    clip = render(dataclasses.replace(BALL, colour="green", material="metal"))
    ball = near_colour(clip.frames, (46, 176, 66))
    floor = 48 + CONTACT_Y * 96
    impact = round(clip.truth.impact_times_s[0] * 24)
    lowest = {frame: np.nonzero(ball[frame])[0].max() for frame in range(impact - 4, impact + 5)}
    assert max(lowest, key=lambda frame: lowest[frame]) == impact
    assert floor - 6 <= lowest[impact] <= floor
    assert lowest[impact - 4] < lowest[impact] - 8


def test_bounces_grow_lower_and_the_ball_comes_to_rest() -> None:
    heights = render(BALL, num_frames=121).truth.ball_height
    impacts = [round(t * 24) for t in render(BALL, num_frames=121).truth.impact_times_s]
    tops = [heights[a:b].max() for a, b in pairwise(impacts)]
    assert all(later < earlier for earlier, later in pairwise(tops))
    assert np.abs(heights[-12:]).max() == 0


@pytest.mark.parametrize("scene", BOTH)
def test_the_sound_comes_from_the_side_that_is_seen(scene: Scene) -> None:
    shares = {}
    for position in ("left", "centre", "right"):
        clip = render(dataclasses.replace(scene, position=position))
        power = (clip.waveform.astype(float) ** 2).sum(axis=1)
        shares[position] = power[1] / power.sum()
        left, _, right, _ = clip.truth.subject_boxes[0]
        assert np.sign((left + right) / 2 - 48) == np.sign(round(clip.truth.pan, 3))
    assert shares["left"] < 0.25
    assert shares["centre"] == pytest.approx(0.5)
    assert shares["right"] > 0.75


@needs_espeak
def test_every_skin_hat_and_background_looks_different() -> None:
    for name, values in {
        "skin": ("red", "green", "blue", "yellow", "purple", "orange"),
        "hat": ("none", "top hat", "party hat", "crown"),
        "background": ("white", "grey", "pink", "black", "cyan"),
    }.items():
        pictures = [
            render(dataclasses.replace(FACE, **{name: value}), num_frames=1).frames.astype(float)
            for value in values
        ]
        for index, picture in enumerate(pictures):
            for other in pictures[:index]:
                assert np.abs(picture - other).mean() > 2, (name, values[index])
