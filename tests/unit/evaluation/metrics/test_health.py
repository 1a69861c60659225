import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from evaluation.expectation import Expectation
from evaluation.measurement import Measured, NotMeasurable
from evaluation.metrics.health import HealthCard, health, health_card
from ltx2 import Clip

RATE, SAMPLE_RATE = 24.0, 16_000
WHATEVER = Expectation()


def a_scene(num_frames=73):
    """A disc that moves over a textured wall [F, 64, 96, 3]."""
    y, x = np.mgrid[0:64, 0:96]
    wall = 120 + 60 * np.sin(x / 7.0) * np.cos(y / 5.0)
    frames = np.repeat(wall[None], num_frames, axis=0)
    for number, frame in enumerate(frames):
        frame[(x - 20 - 0.7 * number) ** 2 + (y - 30) ** 2 < 90] = 240
    return np.repeat(frames[..., None], 3, axis=3).astype(np.uint8)


def a_sound(num_frames=73):
    time = np.arange(round(num_frames / RATE * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(0).normal(0, 0.01, time.size)
    tone = 0.2 * np.sin(2 * np.pi * 300 * time) * (1 + np.sin(2 * np.pi * 3 * time)) / 2
    return np.stack([tone + noise] * 2).astype(np.float32)


def a_clip(frames=None, waveform=None):
    frames = a_scene() if frames is None else frames
    waveform = a_sound(len(frames)) if waveform is None else waveform
    return Clip(frames, waveform, RATE, SAMPLE_RATE)


def verdicts(clip, expectation=WHATEVER):
    return {f.name: f.verdict for f in health_card(clip, expectation).findings}


def complaints(clip, expectation=WHATEVER):
    return {f.name for f in health_card(clip, expectation).complaints}


def zoomed(picture, num_frames, amount=0.1):
    image = Image.fromarray(picture)
    width, height = image.size
    frames = []
    for number in range(num_frames):
        scale = 1 + amount * number / num_frames
        shift_x, shift_y = width / 2 * (1 - 1 / scale), height / 2 * (1 - 1 / scale)
        matrix = (1 / scale, 0, shift_x, 0, 1 / scale, shift_y)
        turned = image.transform(
            (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
        )
        frames.append(np.asarray(turned))
    return np.stack(frames)


def test_a_sound_clip_has_no_complaints():
    card = health_card(a_clip(), Expectation(duration_s=3.0, frame_rate=24.0))
    assert card.complaints == ()
    assert card.verdict == "fine"


def test_a_still_picture_is_a_problem():
    frames = np.repeat(a_scene(1), 73, axis=0)
    assert verdicts(a_clip(frames))["stillness"] == "problem"


def test_a_still_picture_with_noise_is_a_problem():
    noise = np.random.default_rng(0).normal(0, 2, (73, 64, 96, 1))
    frames = np.clip(a_scene(1) + noise, 0, 255).astype(np.uint8)
    assert verdicts(a_clip(frames))["stillness"] == "problem"


@pytest.mark.parametrize("amount", [0.05, 0.1, 0.2])
def test_a_slow_zoom_into_a_photograph_is_a_problem(amount):
    card = health_card(a_clip(zoomed(a_scene(1)[0], 73, amount)), WHATEVER)
    (found,) = [f for f in card.findings if f.name == "stillness"]
    assert found.verdict == "problem"
    assert found.value < 9


def test_a_mouth_that_moves_in_a_still_picture_is_motion():
    frames = np.repeat(a_scene(1), 73, axis=0)
    for number in range(0, 73, 7):
        frames[number : number + 3, 40:48, 40:56] = 20
    assert verdicts(a_clip(frames))["stillness"] == "fine"


def test_a_flash_in_the_last_frames_is_a_problem():
    frames = a_scene()
    frames[-3:] = 255 - (255 - frames[-3:]) // 3
    assert verdicts(a_clip(frames))["end_jump"] == "problem"


def test_another_picture_at_the_end_is_a_problem():
    frames = a_scene()
    frames[-4:] = frames[-4:, ::-1, ::-1]
    assert verdicts(a_clip(frames))["end_jump"] == "problem"


def test_a_cut_in_the_middle_is_no_jump_at_the_end():
    frames = a_scene()
    frames[30:] = frames[30:, ::-1, ::-1]
    assert "end_jump" not in complaints(a_clip(frames))


def test_black_pictures_are_counted_where_they_are():
    frames = a_scene()
    frames[:5] = 3
    (found,) = [
        f for f in health_card(a_clip(frames), WHATEVER).findings if f.name == "black_frames"
    ]
    assert (found.verdict, found.value) == ("notice", 5.0)
    assert verdicts(a_clip(np.zeros_like(frames)))["black_frames"] == "problem"


def test_a_dark_scene_with_a_light_is_not_black():
    frames = np.zeros((73, 64, 96, 3), np.uint8)
    frames[:, 10:20, 10:20] = 200
    assert verdicts(a_clip(frames))["black_frames"] == "fine"


def test_silence_and_no_sound_are_told_apart():
    assert verdicts(a_clip(waveform=np.zeros((2, 48_000), np.float32)))["silence"] == "problem"
    assert verdicts(a_clip(waveform=np.zeros((2, 0), np.float32)))["silence"] == "notice"


def test_samples_that_are_no_numbers_are_a_problem():
    waveform = a_sound()
    waveform[0, 100] = np.nan
    assert verdicts(a_clip(waveform=waveform))["silence"] == "problem"


def test_clipped_sound_is_a_problem():
    assert verdicts(a_clip(waveform=np.clip(8 * a_sound(), -1, 1)))["clipping"] == "problem"


def test_loudness_is_that_of_the_standard():
    """A sine of 997 Hz at 0 dBFS in one channel has -3.01 LKFS (ITU-R BS.1770-4, annex 1)."""
    time = np.arange(96_000) / 48_000
    waveform = np.stack([np.sin(2 * np.pi * 997 * time), np.zeros_like(time)]).astype(np.float32)
    clip = Clip(a_scene(49), waveform, RATE, 48_000)
    (found,) = [f for f in health_card(clip, WHATEVER).findings if f.name == "loudness"]
    assert found.value == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize("gain", [0.02, 4.0])
def test_far_too_quiet_and_far_too_loud_are_noticed(gain):
    waveform = gain * a_sound()
    assert verdicts(a_clip(waveform=waveform.astype(np.float32)))["loudness"] == "notice"


def test_sound_that_ends_early_is_noticed():
    waveform = a_sound()
    waveform[:, -SAMPLE_RATE:] = 0
    (found,) = [
        f
        for f in health_card(a_clip(waveform=waveform), WHATEVER).findings
        if f.name == "sound_length"
    ]
    assert found.verdict == "notice"
    assert found.value == pytest.approx(-1.0, abs=0.05)


def test_drawn_sound_with_silences_of_its_own_may_end_in_one():
    waveform = a_sound()
    waveform[:, 10_000:14_000] = 0
    waveform[:, -SAMPLE_RATE:] = 0
    assert "sound_length" not in complaints(a_clip(waveform=waveform))


def test_length_and_rate_are_compared_with_what_was_asked():
    clip = a_clip()
    assert complaints(clip, Expectation(duration_s=3.0, frame_rate=23.976)) == set()
    assert complaints(clip, Expectation(duration_s=5.0, frame_rate=25.0)) == {
        "duration",
        "frame_rate",
    }


@pytest.mark.parametrize("num_frames", [1, 2, 9])
def test_a_clip_of_a_few_frames_gets_a_card(num_frames):
    card = health_card(a_clip(a_scene(num_frames)), WHATEVER)
    assert "not measured" in {finding.verdict for finding in card.findings}
    assert card.verdict == "fine"


def test_a_picture_of_a_few_pixels_gets_a_card():
    card = health_card(a_clip(a_scene()[:, :2, :3]), WHATEVER)
    assert {f.name: f.verdict for f in card.findings}["stillness"] == "not measured"


def test_the_card_needs_no_torch():
    code = "import sys, evaluation.ui.health; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_picture_and_sound_there_is_nothing_to_measure():
    clip = a_clip(np.zeros((0, 64, 96, 3), np.uint8), np.zeros((2, 0), np.float32))
    assert isinstance(health(clip, WHATEVER), NotMeasurable)
    assert health_card(clip, WHATEVER).verdict == "problem"


def test_the_card_is_plain_json_and_the_metric_carries_it():
    outcome = health(a_clip(np.repeat(a_scene(1), 73, axis=0)), WHATEVER)
    assert isinstance(outcome, Measured)
    assert outcome.value == 1
    assert json.loads(json.dumps(outcome.details))["verdict"] == "problem"


def test_the_worst_comes_first():
    frames = a_scene()
    frames[:2] = 0
    clip = dataclasses.replace(a_clip(frames), waveform=np.zeros_like(a_sound()))
    card = health_card(clip, WHATEVER)
    assert [f.verdict for f in card.complaints] == ["problem", "notice"]
    assert isinstance(card, HealthCard)


def test_puppet_clips_raise_no_false_alarm():
    scenes = pytest.importorskip("ltx2.training.puppet.scenes")
    world = pytest.importorskip("ltx2.training.puppet.world")
    rng = np.random.default_rng(7)
    for _ in range(5):
        made = world.render(scenes.sample_scene(rng), num_frames=49)
        clip = Clip(made.frames, made.waveform, made.frame_rate, made.sample_rate)
        assert complaints(clip) == set(), made.caption


@pytest.mark.exhaustive
@pytest.mark.parametrize("folder", ["clips", "grid"])
def test_real_clips_raise_no_false_alarm(data_folder, folder):
    for path in sorted((data_folder / folder).iterdir()):
        assert complaints(Clip.load(path)) == set(), path.name
