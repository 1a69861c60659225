from dataclasses import replace

import numpy as np
import pytest

from evaluation.expectation import Expectation, ExpectedLine
from evaluation.measurement import Measured, NotMeasurable
from evaluation.metrics import drift_people
from evaluation.metrics.faces import (
    Faces,
    FaceTrack,
    find_faces,
    part_of,
    remember_faces,
    share_faces,
)
from ltx2 import Clip
from ltx2.training.puppet.scenes import Line, Puppet, Surroundings, Talk
from ltx2.training.puppet.world import render

PUPPETS = Expectation(is_cartoon=True)
METRICS = {metric.name: metric for metric in drift_people.METRICS}
SECONDS = 12


@pytest.fixture(scope="module")
def steady() -> Clip:
    scene = Talk(
        surroundings=Surroundings("cyan"),
        variation=1,
        puppets=(Puppet("orange", "none", "none", "low", "centre"),),
        lines=(Line(0, "tomorrow"),),
        start_s=0.6,
    )
    made = render(scene, num_frames=SECONDS * 25 + 1, height=96, width=96)
    return Clip(made.frames, made.waveform, made.frame_rate, made.sample_rate)


def test_a_face_that_fades_is_found_and_a_steady_one_is_not_accused(steady: Clip) -> None:
    outcome = METRICS["drift.face"].measure(steady, PUPPETS)
    assert isinstance(outcome, Measured)
    assert abs(outcome.value) < 0.3
    dim = np.linspace(1, 0.6, len(steady.frames))[:, None, None, None]
    faded = replace(steady, frames=(steady.frames * dim).astype(np.uint8))
    share_faces(steady, faded)
    outcome = METRICS["drift.face"].measure(faded, PUPPETS)
    assert isinstance(outcome, Measured)
    assert outcome.low is not None
    assert outcome.low > 1


def test_who_a_puppet_is_is_not_asked(steady: Clip) -> None:
    outcome = METRICS["drift.identity"].measure(steady, PUPPETS)
    assert isinstance(outcome, NotMeasurable)
    assert "drawn" in outcome.reason


@pytest.mark.exhaustive
def test_sound_that_falls_behind_is_found_with_its_speed(steady: Clip) -> None:
    outcome = METRICS["drift.sync"].measure(steady, PUPPETS)
    assert isinstance(outcome, Measured)
    assert outcome.value == pytest.approx(0, abs=1)
    count = steady.waveform.shape[1]
    places = np.arange(count) * 0.98  # 20 ms later every second
    late = np.stack([np.interp(places, np.arange(count), side) for side in steady.waveform])
    lagging = replace(steady, waveform=late.astype(np.float32))
    share_faces(steady, lagging)
    outcome = METRICS["drift.sync"].measure(lagging, PUPPETS)
    assert isinstance(outcome, Measured)
    assert outcome.value == pytest.approx(-20, abs=4)


def test_a_short_clip_has_no_drift(steady: Clip) -> None:
    short = replace(steady, frames=steady.frames[:50], waveform=steady.waveform[:, :32_000])
    for metric in METRICS.values():
        assert isinstance(metric.measure(short, PUPPETS), NotMeasurable)


def test_faces_of_a_part_are_counted_from_its_beginning() -> None:
    frames = np.arange(10, 30)
    boxes = np.tile(np.array([0, 0, 9, 9], np.float32), (20, 1))
    face = FaceTrack(frames, boxes, np.ones(20, bool), None, np.arange(20, dtype=np.float32))
    part = part_of(Faces((face,), (25,), True, "test"), 20, 40)
    (seen,) = part.tracks
    assert seen.frames.tolist() == list(range(10))
    assert seen.opening.tolist() == list(range(10, 20))
    assert part.cuts == (5,)
    clip = Clip(np.zeros((20, 8, 8, 3), np.uint8), np.zeros((2, 0), np.float32), 25.0, 16_000)
    remember_faces(clip, part)
    assert find_faces(clip) is part


@pytest.mark.exhaustive
def test_words_that_turn_into_others_are_found(steady: Clip) -> None:
    asked = Expectation(lines=(ExpectedLine("tomorrow", "en"),), is_cartoon=True)
    outcome = METRICS["drift.words"].measure(steady, asked)
    assert isinstance(outcome, Measured)
    assert outcome.evidence[0].y.max() == 0
    lost = steady.waveform.copy()
    for second in (6, 8, 10):  # said backwards from there on
        part = slice(second * steady.sample_rate, (second + 2) * steady.sample_rate)
        lost[:, part] = lost[:, part][:, ::-1]
    outcome = METRICS["drift.words"].measure(replace(steady, waveform=lost), asked)
    assert isinstance(outcome, Measured)
    assert outcome.value > 0.05
    assert (outcome.evidence[0].y[0], outcome.evidence[0].y[-1]) == (0, 1)


def test_words_of_people_are_not_followed_over_time(steady: Clip) -> None:
    asked = Expectation(lines=(ExpectedLine("tomorrow", "en"),))
    nobody = replace(steady, frames=np.zeros_like(steady.frames))
    outcome = METRICS["drift.words"].measure(nobody, asked)
    assert isinstance(outcome, NotMeasurable)
    assert "once" in outcome.reason
    assert isinstance(METRICS["drift.words"].measure(steady, PUPPETS), NotMeasurable)
