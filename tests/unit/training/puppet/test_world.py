"""Rendered clips: picture, sound and truth agree exactly."""

import dataclasses
import shutil
from itertools import pairwise

import numpy as np
import pytest

from ltx2.training.puppet.ball import CONTACT_Y
from ltx2.training.puppet.face import MOUTH_COLOUR, TONGUE_COLOUR
from ltx2.training.puppet.scenes import (
    MATERIALS,
    WORDS,
    BouncingBall,
    Line,
    Puppet,
    Surroundings,
    Talk,
    Xylophone,
)
from ltx2.training.puppet.surroundings import PAN_PER_S, ZOOM_PER_S, ZOOM_START
from ltx2.training.puppet.world import TURN_S, render
from ltx2.training.puppet.xylophone import KEY_COLOURS, NOTE_S, PITCH_HZ

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"
)
GREY = Surroundings("grey")
ALONE = Talk(
    (Puppet("green", "none", "crown", "high", "centre"),), (Line(0, "seven"),), GREY, 0.4, 7
)
PAIR = Talk(
    (
        Puppet("green", "none", "crown", "high", "left"),
        Puppet("blue", "pink", "none", "low", "right"),
    ),
    (Line(1, "danke", "de"), Line(0, "banana")),
    GREY,
    0.2,
    7,
)
BALL = BouncingBall("purple", "wood", "centre", Surroundings("white"), 0.45, 7)
KEYS = Xylophone(("blue", "red", "yellow"), Surroundings("black"), 0.25, 7)
EVERY = [
    pytest.param(ALONE, id="alone", marks=needs_espeak),
    pytest.param(PAIR, id="pair", marks=needs_espeak),
    pytest.param(BALL, id="ball"),
    pytest.param(KEYS, id="xylophone"),
]


def changed(scene, **around):
    surroundings = dataclasses.replace(scene.surroundings, **around)
    return dataclasses.replace(scene, surroundings=surroundings)


def envelope(clip):
    """Root mean square of the sound during each frame."""
    mono = clip.waveform.mean(axis=0)
    edges = np.round(np.arange(len(clip.frames) + 1) / clip.frame_rate * clip.sample_rate)
    pieces = np.split(mono, edges[1:-1].astype(int))
    return np.array([np.sqrt((piece**2).mean()) for piece in pieces])


def best_lag(moved, reference):
    """Frames by which `moved` must be put later to look most like the reference."""
    return max(range(-5, 6), key=lambda lag: np.corrcoef(np.roll(moved, lag), reference)[0, 1])


def near_colour(frames, colour, tolerance=40):
    """Which pixels look like a colour [F, H, W]."""
    return np.abs(frames.astype(int) - np.array(colour)).max(axis=-1) < tolerance


def inside_of_mouths(frames):
    """Pixels of open mouths in each frame [F]."""
    inside = near_colour(frames, MOUTH_COLOUR) | near_colour(frames, TONGUE_COLOUR)
    return inside.sum(axis=(1, 2)).astype(float)


@pytest.mark.parametrize("scene", EVERY)
def test_the_same_scene_gives_the_same_clip_and_another_variation_another(scene):
    first, again = render(scene), render(scene)
    other = render(dataclasses.replace(scene, variation=scene.variation + 1))
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.waveform, again.waveform)
    assert not np.array_equal(first.waveform, other.waveform)


@pytest.mark.parametrize("scene", EVERY)
@pytest.mark.parametrize(
    ("num_frames", "height", "width", "frame_rate"),
    [(49, 96, 96, 24.0), (97, 64, 128, 24.0), (9, 128, 80, 25.0), (1, 32, 32, 24.0)],
)
def test_pictures_and_sound_have_the_length_and_size_asked_for(
    scene, num_frames, height, width, frame_rate
):
    clip = render(scene, num_frames=num_frames, height=height, width=width, frame_rate=frame_rate)
    assert clip.frames.shape == (num_frames, height, width, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.waveform.shape == (2, round(num_frames / frame_rate * 16000))
    assert clip.waveform.dtype == np.float32
    assert np.abs(clip.waveform).max() <= 1
    for puppet in clip.truth.puppets:
        assert puppet.opening.shape == (num_frames,)
        assert puppet.head_boxes.shape == puppet.mouth_boxes.shape == (num_frames, 4)


@needs_espeak
@pytest.mark.parametrize(
    ("language", "word"), [(lang, word) for lang, words in WORDS.items() for word in words[:3]]
)
def test_the_mouth_follows_the_sound_without_delay(language, word):
    clip = render(dataclasses.replace(ALONE, lines=(Line(0, word, language),)))
    opening, loudness = clip.truth.puppets[0].opening, envelope(clip)
    assert best_lag(opening, loudness) == 0
    assert np.corrcoef(opening, loudness)[0, 1] > 0.9
    assert opening.max() == pytest.approx(1)
    seen = inside_of_mouths(clip.frames)
    assert best_lag(seen, loudness) == 0
    assert np.corrcoef(seen, loudness)[0, 1] > 0.8


@needs_espeak
def test_mouth_and_sound_rest_outside_the_word():
    clip = render(ALONE)
    (line,) = clip.truth.spoken
    assert line.start_s == pytest.approx(ALONE.start_s, abs=1e-3)
    sounding = np.flatnonzero(np.abs(clip.waveform).max(axis=0) > 1e-3) / clip.sample_rate
    assert sounding[0] == pytest.approx(line.start_s, abs=0.02)
    assert sounding[-1] == pytest.approx(line.end_s, abs=0.02)
    times = np.arange(49) / 24
    quiet = (times + 1 / 24 < line.start_s - 0.03) | (times > line.end_s + 0.03)
    assert clip.truth.puppets[0].opening[quiet].max() == 0


@needs_espeak
def test_two_puppets_speak_in_turn_each_from_its_side():
    clip = render(PAIR)
    said = [(line.speaker, line.word) for line in clip.truth.spoken]
    assert said == [(1, "danke"), (0, "banana")]
    first, second = clip.truth.spoken
    assert second.start_s - first.start_s == pytest.approx(TURN_S, abs=1e-3)
    assert first.end_s < second.start_s
    halves = [clip.frames[:, :, :48], clip.frames[:, :, 48:]]
    for line in clip.truth.spoken:
        frames = slice(round(line.start_s * 24) + 1, round(line.end_s * 24) - 1)
        openings = [puppet.opening[frames].max() for puppet in clip.truth.puppets]
        assert openings[line.speaker] > 0.8
        assert openings[1 - line.speaker] == 0
        seen = [np.ptp(inside_of_mouths(half)[frames]) for half in halves]
        assert seen[line.speaker] > 5 * max(1, seen[1 - line.speaker])
        samples = slice(round(line.start_s * 16000), round(line.end_s * 16000))
        power = (clip.waveform[:, samples].astype(float) ** 2).sum(axis=1)
        assert power[line.speaker] > 3 * power[1 - line.speaker]


@needs_espeak
def test_a_long_clip_repeats_what_is_said_whole():
    clip = render(PAIR, num_frames=97)
    said = [(line.speaker, line.word) for line in clip.truth.spoken]
    assert said == 2 * [(1, "danke"), (0, "banana")]
    starts = [line.start_s for line in clip.truth.spoken]
    assert starts[2] - starts[0] == pytest.approx(2.0)
    lengths = [line.end_s - line.start_s for line in clip.truth.spoken]
    assert lengths[2:] == pytest.approx(lengths[:2])


@needs_espeak
@pytest.mark.parametrize("scene", [ALONE, PAIR])
def test_the_mouth_boxes_hold_the_mouths(scene):
    clip = render(changed(scene, camera="zoom in"))
    for puppet in clip.truth.puppets:
        for frame in range(0, 49, 6):
            left, top, right, bottom = puppet.mouth_boxes[frame]
            head_left, _, head_right, _ = puppet.head_boxes[frame]
            inside = near_colour(clip.frames[frame], MOUTH_COLOUR, tolerance=15)
            rows, columns = np.nonzero(inside)
            own = (columns > head_left) & (columns < head_right)
            if own.any():
                assert left - 2 <= columns[own].min() <= columns[own].max() <= right + 2
                assert top - 2 <= rows[own].min() <= rows[own].max() <= bottom + 2


@pytest.mark.parametrize("material", MATERIALS)
def test_an_impact_is_heard_when_the_ball_touches_the_floor(material):
    clip = render(dataclasses.replace(BALL, material=material, variation=11))
    ball = clip.truth.ball
    assert len(ball.impact_times_s) >= 2
    loud = np.flatnonzero(np.abs(clip.waveform[0]) > 0.05 * np.abs(clip.waveform).max())
    assert loud[0] / clip.sample_rate == pytest.approx(ball.impact_times_s[0], abs=0.015)
    for time in ball.impact_times_s:
        frame = round(time * clip.frame_rate)
        assert frame / clip.frame_rate == pytest.approx(time)
        assert ball.height[frame] == 0
        assert ball.height[frame - 2] > 0


def test_every_wood_impact_has_its_own_onset():
    clip = render(BALL, num_frames=97)
    level = np.abs(clip.waveform[0])
    for time in clip.truth.ball.impact_times_s:
        start = round(time * clip.sample_rate)
        before = level[start - 400 : start].max()
        assert level[start : start + round(0.015 * clip.sample_rate)].max() > 3 * before


def test_the_picture_shows_the_contact_in_the_frame_of_the_impact():
    clip = render(dataclasses.replace(BALL, colour="green", material="metal"))
    ball = near_colour(clip.frames, (46, 176, 66))
    floor = 48 + CONTACT_Y * 96
    impact = round(clip.truth.ball.impact_times_s[0] * 24)
    lowest = {frame: np.nonzero(ball[frame])[0].max() for frame in range(impact - 4, impact + 5)}
    assert max(lowest, key=lambda frame: lowest[frame]) == impact
    assert floor - 7 <= lowest[impact] <= floor
    assert lowest[impact - 4] < lowest[impact] - 8


def test_bounces_grow_lower_and_the_ball_comes_to_rest():
    ball = render(BALL, num_frames=121).truth.ball
    impacts = [round(t * 24) for t in ball.impact_times_s]
    tops = [ball.height[a:b].max() for a, b in pairwise(impacts)]
    assert all(later < earlier for earlier, later in pairwise(tops))
    assert np.abs(ball.height[-12:]).max() == 0


def test_keys_light_up_and_sound_in_order_each_at_its_pitch_and_side():
    clip = render(KEYS)
    notes = clip.truth.xylophone.notes
    assert tuple(note.key for note in notes[:3]) == KEYS.melody
    assert np.diff([note.time_s for note in notes]) == pytest.approx(NOTE_S, abs=1 / 24)
    for note in notes[:3]:
        left, top, right, bottom = map(round, clip.truth.xylophone.key_boxes[note.key])
        light = clip.frames[:, top:bottom, left:right].mean(axis=(1, 2, 3))
        assert light[note.frame] - light[note.frame - 1] > 40
        start = round(note.time_s * 16000)
        piece = clip.waveform[:, start : start + 4000].astype(float)
        spectrum = np.abs(np.fft.rfft(piece.mean(axis=0) * np.hanning(4000)))
        peak_hz = spectrum.argmax() * 16000 / 4000
        assert peak_hz == pytest.approx(PITCH_HZ[note.key], rel=0.03)
        power = (piece**2).sum(axis=1)
        side = {"red": -1, "yellow": 0, "blue": 1}[note.key]
        assert np.sign(round(np.log2(power[1] / power[0]))) == side
    assert set(KEY_COLOURS) == set(clip.truth.xylophone.key_boxes)


@pytest.mark.parametrize("scene", EVERY)
@pytest.mark.parametrize("ambience", ["rain", "wind"])
def test_weather_is_seen_and_heard_and_changes_nothing_else(scene, ambience):
    calm, weather = render(scene), render(changed(scene, ambience=ambience))
    moved = np.abs(weather.frames.astype(int) - calm.frames).max(axis=-1) > 25
    assert 0.002 < moved.mean() < 0.2
    assert moved.any(axis=(1, 2)).all()
    added = (weather.waveform - calm.waveform).astype(float)
    assert 0.01 < np.sqrt((added**2).mean()) < 0.08
    spectrum = np.abs(np.fft.rfft(added[0])) ** 2
    centre_hz = (spectrum * np.fft.rfftfreq(added.shape[1], 1 / 16000)).sum() / spectrum.sum()
    assert (centre_hz > 1500) == (ambience == "rain")
    if calm.truth.puppets:
        assert np.array_equal(calm.truth.puppets[0].opening, weather.truth.puppets[0].opening)


@needs_espeak
def test_a_zoom_makes_the_head_grow_at_its_rate():
    boxes = render(changed(ALONE, camera="zoom in")).truth.puppets[0].head_boxes
    still = render(ALONE).truth.puppets[0].head_boxes
    widths = (boxes[:, 2] - boxes[:, 0]) / (still[:, 2] - still[:, 0])
    expected = ZOOM_START + ZOOM_PER_S * np.arange(49) / 24
    assert widths == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("camera", "sign"), [("pan left", 1), ("pan right", -1)])
def test_a_pan_moves_the_scene_the_other_way_and_is_centred_in_time(camera, sign):
    boxes = render(changed(BALL, camera=camera)).truth.ball.boxes
    middles = (boxes[:, 0] + boxes[:, 2]) / 2
    assert middles[24] == pytest.approx(48, abs=0.5)
    per_second = np.diff(middles).mean() * 24
    assert per_second == pytest.approx(sign * PAN_PER_S * 96, rel=0.02)
    seen = near_colour(render(changed(BALL, camera=camera)).frames, (150, 56, 196))
    columns = [np.nonzero(frame)[1].mean() for frame in seen]
    assert columns[-1] - columns[0] == pytest.approx(middles[-1] - middles[0], abs=1.5)


@pytest.mark.parametrize("position", ["left", "centre", "right"])
@pytest.mark.parametrize("scene", [pytest.param(ALONE, marks=needs_espeak), BALL])
def test_the_sound_comes_from_the_side_that_is_seen(scene, position):
    if isinstance(scene, Talk):
        puppet = dataclasses.replace(scene.puppets[0], position=position)
        clip = render(dataclasses.replace(scene, puppets=(puppet,)))
        box = clip.truth.puppets[0].head_boxes[0]
    else:
        clip = render(dataclasses.replace(scene, position=position))
        box = clip.truth.ball.boxes[0]
    power = (clip.waveform.astype(float) ** 2).sum(axis=1)
    share = power[1] / power.sum()
    low, high = {"left": (0, 0.25), "centre": (0.49, 0.51), "right": (0.75, 1)}[position]
    assert low <= share <= high
    assert (
        np.sign(round((box[0] + box[2]) / 2 - 48))
        == {"left": -1, "centre": 0, "right": 1}[position]
    )


@needs_espeak
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("skin", ("red", "green", "blue", "yellow", "purple", "orange")),
        ("hair", ("none", "brown", "white", "pink")),
        ("hat", ("none", "top hat", "party hat", "crown")),
    ],
)
def test_every_look_of_a_puppet_is_different(name, values):
    pictures = []
    for value in values:
        puppet = dataclasses.replace(ALONE.puppets[0], **{"hat": "none", name: value})
        scene = dataclasses.replace(ALONE, puppets=(puppet,))
        pictures.append(render(scene, num_frames=1).frames.astype(float))
    for index, picture in enumerate(pictures):
        for other in pictures[:index]:
            assert np.abs(picture - other).mean() > 2, (name, values[index])
