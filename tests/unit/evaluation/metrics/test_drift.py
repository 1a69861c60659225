import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from evaluation.expectation import Expectation
from evaluation.measurement import Measured, NotMeasurable
from evaluation.metrics.drift import METRICS, Series, bend, bends_most_at, windows
from ltx2 import Clip

RATE, SAMPLE_RATE = 8.0, 8_000
BY_NAME = {metric.name: metric for metric in METRICS}


def a_long_clip(seconds=16, blur=0.0, grey=0.0, fade_db=0.0):
    """Coloured waves with moving dots; defects grow from 0 to the given size at the end."""
    rng = np.random.default_rng(0)
    number = round(seconds * RATE)
    picture = rng.integers(0, 256, (48, 64, 3)).astype(float)
    picture[..., 2] /= 4
    frames = []
    for n, share in enumerate(np.linspace(0, 1, number)):
        frame = np.roll(picture, n, axis=1)
        frame = gaussian_filter(frame, (blur * share, blur * share, 0))
        mean = frame.mean(axis=-1, keepdims=True)
        frames.append(frame + grey * share * (mean - frame))
    samples = round(seconds * SAMPLE_RATE)
    gain = 10 ** (np.linspace(0, -fade_db, samples) / 20)
    sound = 0.2 * rng.normal(size=(2, samples)) * gain
    return Clip(np.array(frames).astype(np.uint8), sound.astype(np.float32), RATE, SAMPLE_RATE)


def measured(name, clip):
    outcome = BY_NAME[name].measure(clip, Expectation())
    assert isinstance(outcome, Measured)
    return outcome


@pytest.mark.parametrize("name", BY_NAME)
def test_a_steady_clip_does_not_drift(name):
    outcome = measured(name, a_long_clip())
    assert outcome.low <= 1e-3
    assert outcome.high >= -1e-3
    assert abs(outcome.value) < 0.05


def test_growing_blur_is_a_loss_of_sharpness():
    outcome = measured("drift.sharpness", a_long_clip(blur=1.0))
    assert outcome.high < 0
    assert outcome.details["start_end_contrast"] > 5


def test_fading_colour_is_found():
    assert measured("drift.colour", a_long_clip(grey=0.6)).high < 0


def test_fading_sound_is_found_with_its_slope():
    outcome = measured("drift.loudness", a_long_clip(fade_db=16.0))
    assert outcome.value == pytest.approx(-1.0, abs=0.05)
    assert outcome.unit == "dBFS/s"


def test_a_stopping_picture_loses_motion():
    clip = a_long_clip()
    clip.frames[80:] = clip.frames[80]
    assert measured("drift.motion", clip).value < -0.5


def test_windows_overlap_by_half_and_hold_their_own_sound():
    cut = windows(a_long_clip(8))
    assert [time for time, _ in cut] == [2.0, 4.0, 6.0]
    assert all(len(part.frames) == 32 for _, part in cut)
    assert all(part.waveform.shape[1] == 32_000 for _, part in cut)


@pytest.mark.parametrize("seconds", [0.125, 4, 8])
def test_short_clips_say_what_would_do(seconds):
    for metric in METRICS:
        outcome = metric.measure(a_long_clip(seconds), Expectation())
        assert isinstance(outcome, NotMeasurable)
        assert "10 s" in outcome.next_step


def test_a_clip_without_sound_has_no_loudness_to_drift():
    clip = a_long_clip()
    mute = Clip(clip.frames, np.zeros((2, 0), np.float32), RATE, SAMPLE_RATE)
    assert isinstance(BY_NAME["drift.loudness"].measure(mute, Expectation()), NotMeasurable)
    assert isinstance(BY_NAME["drift.motion"].measure(mute, Expectation()), Measured)


def bent_line(bend_by, seconds=40.0):
    times = np.arange(2.0, seconds - 1, 2.0)
    return Series(times, 7 + 0.1 * times + bend_by * np.maximum(times - 20, 0))


def test_the_bend_at_20_s_is_the_change_of_the_slope_there():
    assert bend(bent_line(-0.5)) == pytest.approx(-0.5)
    assert bend(bent_line(0.0)) == pytest.approx(0.0, abs=1e-9)


def test_where_clips_bend_most_is_found():
    rng = np.random.default_rng(0)
    clips = [bent_line(0.5) for _ in range(4)]
    for data in clips:
        data.values[:] += rng.normal(0, 0.3, data.values.size)
    assert bends_most_at(clips) == pytest.approx(20.0, abs=2.0)
    early = [Series(c.times_s, np.minimum(c.times_s, 8.0)) for c in clips]
    assert bends_most_at(early) == 8.0
    assert bend(early[0]) < 0  # a bend at 8 s is one at 20 s too
    assert bends_most_at([Series(np.array([2.0, 4.0]), np.zeros(2))]) is None


def test_windows_without_a_value_do_not_bend():
    line = bent_line(0.3)
    line.values[[0, 5, 14]] = np.nan
    assert bend(line) == pytest.approx(0.3)


def test_clips_that_end_before_the_break_cannot_show_it():
    assert bend(bent_line(0.3, seconds=20.0)) is None
