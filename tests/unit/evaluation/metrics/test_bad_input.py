"""Whatever a clip lacks, every metric answers with a status; none raises."""

from functools import cache

import numpy as np
import pytest

from evaluation.expectation import Expectation, ExpectedLine
from evaluation.measurement import Measured, NotMeasurable
from evaluation.metrics.registry import all_metrics
from ltx2 import Clip
from ltx2.errors import MediaError

ASKED = Expectation(
    lines=(
        ExpectedLine("Good morning.", "en", "Ann", "left"),
        ExpectedLine("Hello there.", "en", "Bob", "right"),
    ),
    duration_s=2.0,
    frame_rate=24.0,
)


def a_clip(num_frames, height, width, seconds, level=0.1):
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (num_frames, height, width, 3), np.uint8)
    sound = rng.normal(0, 1, (2, round(16_000 * seconds))).astype(np.float32) * np.float32(level)
    return Clip(frames, sound, 24.0, 16_000)


@cache
def clips():
    not_numbers = a_clip(24, 64, 64, 1)
    not_numbers.waveform[:, 100:200] = np.nan
    return {
        "no sound": a_clip(24, 64, 64, 0),
        "no picture": a_clip(0, 64, 64, 1),
        "neither": a_clip(0, 64, 64, 0),
        "one frame": a_clip(1, 64, 64, 1 / 24),
        "one frame, long sound": a_clip(1, 64, 64, 3),
        "one sample": a_clip(24, 64, 64, 1 / 16_000),
        "silent": a_clip(24, 64, 64, 1, level=0),
        "tiny": a_clip(24, 8, 8, 1),
        "very wide": a_clip(3, 16, 1024, 0.1),
        "not numbers": not_numbers,
    }


@pytest.mark.parametrize("metric", all_metrics(), ids=lambda metric: metric.name)
def test_no_metric_fails_on_a_clip_that_lacks_something(metric):
    for name, clip in clips().items():
        outcome = metric.measure(clip, ASKED)
        assert isinstance(outcome, Measured | NotMeasurable), name
        if isinstance(outcome, NotMeasurable):
            assert outcome.reason.endswith("."), name
        else:
            assert np.isfinite(outcome.value), name


@pytest.mark.parametrize("name", ["cut.mp4", "text.mp4", "empty.mp4"])
def test_a_file_that_is_no_clip_is_refused_before_any_metric(tmp_path, name):
    content = {"cut.mp4": b"\0\0\0\x18ftypmp42", "text.mp4": b"not a clip", "empty.mp4": b""}
    (tmp_path / name).write_bytes(content[name])
    with pytest.raises(MediaError):
        Clip.load(tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(24, 2160, 3840, 1), (1440, 64, 64, 60)], ids=["4K", "60 s"])
def test_large_and_long_clips_are_measured(size):
    clip = a_clip(*size)
    for metric in all_metrics():
        assert isinstance(metric.measure(clip, ASKED), Measured | NotMeasurable), metric.name
