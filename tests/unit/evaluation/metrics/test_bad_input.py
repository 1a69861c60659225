"""Whatever a clip lacks, every metric answers with a status; none raises."""

from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest

from evaluation.expectation import Expectation, ExpectedLine
from evaluation.measurement import Measured, NotMeasurable
from evaluation.metrics.lip_sync import landmarks
from evaluation.metrics.registry import all_metrics
from ltx2 import Clip
from ltx2.errors import MediaError
from ltx2.training.puppet.scenes import Line, Puppet, Surroundings, Talk
from ltx2.training.puppet.world import render

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


@pytest.mark.exhaustive
@pytest.mark.parametrize("size", [(24, 2160, 3840, 1), (1440, 64, 64, 60)], ids=["4K", "60 s"])
def test_large_and_long_clips_are_measured(size):
    clip = a_clip(*size)
    for metric in all_metrics():
        assert isinstance(metric.measure(clip, ASKED), Measured | NotMeasurable), metric.name


def write_irregular(path, clip):
    """A file of a clip that shows two of every three pictures of its second half."""
    count = len(clip.frames)
    kept = [n for n in range(count) if n < count // 2 or n % 3]
    with av.open(path, "w") as file:
        video = file.add_stream("libx264", rate=round(clip.frame_rate), options={"crf": "10"})
        video.height, video.width = clip.frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = Fraction(1, round(clip.frame_rate))
        audio = file.add_stream("aac", rate=clip.sample_rate, layout="stereo")
        for number in kept:
            picture = av.VideoFrame.from_ndarray(clip.frames[number], format="rgb24")
            picture.pts, picture.time_base = number, video.codec_context.time_base
            file.mux(video.encode(picture))
        file.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(clip.waveform, format="fltp", layout="stereo")
        sound.sample_rate, sound.pts = clip.sample_rate, 0
        file.mux(audio.encode(sound))
        file.mux(audio.encode(None))
    return len(kept)


def test_a_variable_frame_rate_does_not_move_lips_against_sound(tmp_path):
    scene = Talk(
        surroundings=Surroundings("grey"),
        variation=3,
        puppets=(Puppet("green", "none", "none", "high", "centre"),),
        lines=(Line(0, "hello"), Line(0, "tomorrow")),
        start_s=0.2,
    )
    made = render(scene, num_frames=49)
    clip = Clip(made.frames, made.waveform, made.frame_rate, made.sample_rate)
    assert write_irregular(tmp_path / "irregular.mp4", clip) < len(clip.frames) - 5
    read = Clip.load(tmp_path / "irregular.mp4")
    assert read.duration_s == pytest.approx(clip.duration_s, abs=0.1)
    outcome = landmarks.measure(read, Expectation(is_cartoon=True))
    assert isinstance(outcome, Measured)
    assert outcome.value == pytest.approx(0, abs=40)  # a picture that is missing is 40 ms late
