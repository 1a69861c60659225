from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from evaluation.expectation import Expectation
from evaluation.measurement import Measured, NotMeasurable
from evaluation.metrics.calibrate import with_sound_early
from evaluation.metrics.impacts import METRIC
from ltx2 import Clip
from ltx2.training.puppet.scenes import BouncingBall, sample_scene
from ltx2.training.puppet.world import render


def _balls(count: int) -> list[Clip]:
    rng = np.random.default_rng(3)
    clips: list[Clip] = []
    while len(clips) < count:
        scene = sample_scene(rng)
        if isinstance(scene, BouncingBall):
            made = render(scene, num_frames=49, height=96, width=96)
            clips.append(Clip(made.frames, made.waveform, made.frame_rate, made.sample_rate))
    return clips


def test_bouncing_balls_read_the_offset_planted() -> None:
    errors = []
    for clip, planted in zip(_balls(4), (0, 100, -160, 60), strict=True):
        outcome = METRIC.measure(with_sound_early(clip, planted), Expectation())
        assert isinstance(outcome, Measured)
        errors.append(abs(outcome.value - planted))
    assert max(errors) <= 45
    assert np.mean(errors) <= 25


def test_noise_and_a_still_picture_have_no_offset() -> None:
    (ball,) = _balls(1)
    still = Clip(ball.frames[:1].repeat(49, axis=0), ball.waveform, 24.0, ball.sample_rate)
    silent = Clip(ball.frames, ball.waveform * 0, 24.0, ball.sample_rate)
    for clip in (still, silent):
        assert isinstance(METRIC.measure(clip, Expectation()), NotMeasurable)


@pytest.mark.parametrize("early_ms", [100, -100])
def test_sound_that_is_early_lies_before_its_old_place(early_ms: int) -> None:
    waveform = np.zeros((2, 48_000), np.float32)
    waveform[:, 24_000] = 1
    clip = Clip(np.zeros((24, 8, 8, 3), np.uint8), waveform, 24.0, 48_000)
    moved = with_sound_early(clip, early_ms).waveform
    assert moved.shape == waveform.shape
    assert moved[0].argmax() == 24_000 - early_ms * 48


def test_hits_that_blur_over_pictures_are_still_found() -> None:
    offsets = []
    for clip in _balls(4):
        soft = gaussian_filter1d(clip.frames.astype(np.float32), 1.0, axis=0)
        flicker = np.random.default_rng(0).normal(0, 6, (*soft.shape[:3], 1))
        blurred = np.clip(soft + flicker, 0, 255).astype(np.uint8)
        outcome = METRIC.measure(replace(clip, frames=blurred), Expectation())
        assert isinstance(outcome, Measured)
        offsets.append(outcome.value)
    assert np.abs(offsets).max() <= 40
