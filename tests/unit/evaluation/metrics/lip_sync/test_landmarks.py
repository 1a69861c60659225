from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.expectation import Expectation
from evaluation.measurement import Measured, NotMeasurable
from evaluation.metrics.calibrate import with_sound_early
from evaluation.metrics.lip_sync import closure, syncnet
from evaluation.metrics.lip_sync.lag import read_lags, verdict
from evaluation.metrics.lip_sync.landmarks import METRIC
from evaluation.metrics.lip_sync.ridge import shipped_ridge
from ltx2 import Clip
from ltx2.training.puppet.scenes import Line, Puppet, Surroundings, Talk
from ltx2.training.puppet.world import render

PUPPETS = Expectation(is_cartoon=True)


@pytest.fixture(scope="module")
def puppet() -> Clip:
    speaker = Puppet("orange", "none", "none", "low", "centre")
    scene = Talk(
        surroundings=Surroundings("cyan"),
        variation=1,
        puppets=(speaker,),
        lines=(Line(0, "tomorrow"),),
        start_s=0.6,
    )
    made = render(scene, num_frames=49, height=96, width=96)
    return Clip(made.frames, made.waveform, made.frame_rate, made.sample_rate)


@pytest.mark.parametrize("planted", [-200, 0, 80])
def test_sound_planted_early_reads_positive_on_a_puppet(puppet: Clip, planted: int) -> None:
    outcome = METRIC.measure(with_sound_early(puppet, planted), PUPPETS)
    assert isinstance(outcome, Measured)
    assert outcome.value == pytest.approx(planted, abs=10)
    assert outcome.low is not None
    assert outcome.high is not None
    assert outcome.low <= outcome.value <= outcome.high


def test_a_real_clip_reads_what_is_planted_with_weights_that_never_saw_it(
    data_folder: Path,
) -> None:
    clip = Clip.load(data_folder / "grid" / "lbbc2a.mpg")
    ridge = shipped_ridge()
    assert not np.array_equal(ridge.weights_for(clip), ridge.weights)
    outcome = METRIC.measure(with_sound_early(clip, 200), Expectation())
    assert isinstance(outcome, Measured)
    assert outcome.value == pytest.approx(200, abs=30)
    assert outcome.details["verdict"] == "red"


def test_an_unknown_clip_gets_the_weights_of_all_training_clips(puppet: Clip) -> None:
    assert shipped_ridge().weights_for(puppet) is shipped_ridge().weights


def test_what_cannot_be_measured_says_why(puppet: Clip) -> None:
    silent = replace(puppet, waveform=np.zeros_like(puppet.waveform))
    frozen = replace(puppet, frames=np.repeat(puppet.frames[:1], len(puppet.frames), axis=0))
    empty = replace(puppet, frames=np.full_like(puppet.frames, 90))
    mute = replace(puppet, waveform=np.zeros((2, 0), np.float32))
    for clip, word in ((silent, "silent"), (frozen, "mouth"), (empty, "face"), (mute, "no sound")):
        outcome = METRIC.measure(clip, PUPPETS)
        assert isinstance(outcome, NotMeasurable)
        assert word in outcome.reason


def test_noise_that_is_no_speech_has_no_offset(data_folder: Path) -> None:
    clip = Clip.load(data_folder / "grid" / "lbbc2a.mpg")
    noise = np.random.default_rng(0).normal(0, 0.1, clip.waveform.shape).astype(np.float32)
    assert isinstance(METRIC.measure(replace(clip, waveform=noise), Expectation()), NotMeasurable)


def test_syncnet_without_weights_says_where_they_come_from(
    puppet: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(syncnet.WEIGHTS_VARIABLE, raising=False)
    outcome = syncnet.METRIC.measure(puppet, Expectation())
    assert isinstance(outcome, NotMeasurable)
    assert syncnet.WEIGHTS_VARIABLE in outcome.next_step


def test_the_lag_of_two_series_is_found_with_its_sign_and_interval() -> None:
    rng = np.random.default_rng(4)
    steps = np.arange(-40, 41)
    picture = rng.normal(size=(500, 1))
    sound = np.roll(picture, 7, axis=0) + rng.normal(0, 0.5, (500, 1))  # late by 7
    shifted = np.stack([np.roll(sound, -step, axis=0) for step in steps])
    reading = read_lags(picture, shifted, steps * 10.0, 100.0)
    assert reading is not None
    assert reading.offset_ms == pytest.approx(-70, abs=3)
    assert reading.low_ms <= -70 <= reading.high_ms + 3
    assert reading.margin > 0.5
    assert read_lags(picture * 0, shifted, steps * 10.0, 100.0) is None


def test_offsets_are_judged_by_the_windows_of_the_standard() -> None:
    read = {-200: "red", -150: "amber", -125: "green", 0: "green", 45: "green", 60: "amber"}
    assert {offset: verdict(offset) for offset in read} == read
    assert verdict(91) == "red"


def test_lips_that_close_at_every_p_give_the_lag_at_which_they_do() -> None:
    frame_rate, lag_s = 25.0, 0.2
    rng = np.random.default_rng(2)
    times = np.sort(rng.uniform(0.5, 9, 9))
    opening = np.ones(250)
    for time in times:  # the sound is late: lips close before it
        opening[round((time - lag_s) * frame_rate)] = 0
    lags_ms = np.arange(-400.0, 401, 20)
    curve = closure.closure_excess(opening, times, [(0.0, 10.0)], lags_ms, frame_rate)
    best = lags_ms[curve >= curve.max() - 1e-9].mean()
    assert best == pytest.approx(200, abs=40)
