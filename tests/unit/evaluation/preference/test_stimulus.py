"""Nothing but the coded content tells two clips of a pair apart."""

import dataclasses
import math
from pathlib import Path

import av
import numpy as np
import pytest

from evaluation.loudness import loudness_lufs
from evaluation.preference.clips import Source, gather
from evaluation.preference.stimulus import (
    Frame,
    _decoded_sound,
    boxes,
    common_frame,
    make_pair,
    opaque_name,
    true_peak_dbtp,
)
from evaluation.preference.study import StimulusPlan, Study
from ltx2.errors import MediaError, RequestError
from ltx2.media.decode import read_clip
from ltx2.media.encode import write_clip
from tests.builders import a_clip, a_recipe, smooth_frames, tones

CONTENT_TABLES = ("stsz", "stco")
"""Sizes and places of the coded content: the only part of the index that may differ."""


def a_source(path, prompt="p", model="m", lufs=-20.0):
    clip = read_clip(path)
    height, width = clip.frames.shape[1:3]
    return Source(
        model=model,
        prompt=prompt,
        path=path,
        sha256="0",
        width=width,
        height=height,
        frame_rate=clip.frame_rate,
        duration_s=clip.duration_s,
        sample_rate=clip.sample_rate,
        lufs=lufs,
        leading_black_s=0.0,
    )


def header_bytes(content):
    """Everything that is not coded content, or its sizes and places; box headers included."""
    found = bytearray()

    def walk(start, end):
        for kind, inner, stop in boxes(content, start, end):
            found.extend(content[inner - 8 : inner])
            if kind in ("moov", "trak", "mdia", "minf", "stbl", "edts", "udta"):
                walk(inner, stop)
            elif kind != "mdat" and kind not in CONTENT_TABLES:
                found.extend(content[inner:stop])

    walk(0, len(content))
    return bytes(found)


def streams(path):
    """What a media inspector tells about a file."""
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        context = video.codec_context
        told = [container.format.name, dict(container.metadata), container.duration]
        told += [container.start_time, container.bit_rate, len(container.streams)]
        told += [context.name, context.profile, context.width, context.height, context.pix_fmt]
        told += [context.color_range, context.colorspace, context.color_primaries]
        told += [context.color_trc, video.sample_aspect_ratio, video.average_rate]
        told += [video.frames, video.duration, video.start_time, dict(video.metadata)]
        told += [context.extradata, video.time_base, context.has_b_frames]
        sound = audio.codec_context
        told += [sound.name, sound.profile, sound.sample_rate, sound.layout.name, audio.frames]
        told += [audio.duration, audio.start_time, dict(audio.metadata), sound.extradata]
        packets = [
            (packet.stream.type, packet.pts, packet.dts, packet.duration, packet.is_keyframe)
            for packet in container.demux()
        ]
        return [*told, packets]


def assert_alike(made, plan=None):
    plan = plan or StimulusPlan()
    first, second = (clip.path.read_bytes() for clip in made)
    assert len(first) == len(second)
    assert header_bytes(first) == header_bytes(second)
    assert streams(made[0].path) == streams(made[1].path)
    sounds = [_decoded_sound(content) for content in (first, second)]
    assert sounds[0].shape == sounds[1].shape
    levels = [loudness_lufs(sound, 48_000) for sound in sounds]
    assert levels[0] == pytest.approx(levels[1], abs=0.3)
    assert max(map(true_peak_dbtp, sounds)) <= plan.max_true_peak_dbtp
    return levels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def large(folder):
    """3:2, 24 pictures per second, 24 kHz, 1.75 s, loud, with a recipe in the file."""
    frames = smooth_frames(42, 128, 192)
    waveform = tones(42_000, 24_000)
    clip = a_clip(frames, sample_rate=24_000, waveform=waveform, recipe=a_recipe())
    return a_source(write_clip(clip, folder / "large.mp4"))


@pytest.fixture(scope="module")
def small(folder):
    """16:9, 30 pictures per second, 44.1 kHz, 1.5 s, soft noise."""
    noise = np.random.default_rng(0).normal(0, 0.01, (2, 66_150)).astype(np.float32)
    clip = a_clip(smooth_frames(45, 90, 160)[::-1], 30.0, 44_100, noise)
    return a_source(write_clip(clip, folder / "small.mp4"), model="n")


@pytest.fixture(scope="module")
def made(large, small, folder):
    paths = (folder / "a.mp4", folder / "b.mp4")
    return make_pair(large, small, paths, StimulusPlan())


def test_no_byte_outside_the_coded_content_tells_the_clips_apart(made):
    levels = assert_alike(made)
    assert levels == pytest.approx([-23.0, -23.0], abs=0.3)


def test_a_classifier_of_headers_sees_the_same_for_both_models(large, small, folder, made):
    paths = (folder / "c.mp4", folder / "d.mp4")
    swapped = make_pair(small, large, paths, StimulusPlan())
    seen = {header_bytes(clip.path.read_bytes()) for clip in (*made, *swapped)}
    assert len(seen) == 1


def test_the_picture_and_the_length_are_what_both_have(made):
    for clip in made:
        shown = read_clip(clip.path)
        # 128 x 192 in 160 x 90 is 135 x 90; even numbers.
        assert shown.frames.shape == (36, 90, 134, 3)
        assert shown.frame_rate == 24.0
        assert shown.sample_rate == 48_000
        assert shown.recipe is None


def test_the_same_pair_gives_the_same_bytes(large, small, folder, made):
    again = make_pair(large, small, (folder / "e.mp4", folder / "f.mp4"), StimulusPlan())
    for before, after in zip(made, again, strict=True):
        assert before.path.read_bytes() == after.path.read_bytes()


def test_content_is_the_clips_own(made, large):
    shown, given = read_clip(made[0].path).frames[10], read_clip(large.path).frames[10]
    # All of the wider clip is seen; it is the other that loses its sides.
    assert shown.mean(axis=(0, 1)) == pytest.approx(given.mean(axis=(0, 1)), abs=6)


def test_what_was_done_is_recorded(made, large):
    first, second = (clip.covariates for clip in made)
    assert set(first) == set(second)
    assert first["cut_s"] == pytest.approx(0.25)
    assert second["cut_s"] == 0.0
    assert first["log_pixels"] == pytest.approx(math.log(192 * 128))
    assert first["gain_db"] < 0 < second["gain_db"]
    assert first["log_resize"] == pytest.approx(math.log(90 / 128), abs=0.01)
    assert second["log_resize"] == 0.0
    assert first["log_duration"] == pytest.approx(math.log(1.75))


def test_padding_shows_whole_pictures_on_one_canvas(large, small, folder):
    plan = StimulusPlan(picture="pad")
    made = make_pair(large, small, (folder / "g.mp4", folder / "h.mp4"), plan)
    assert_alike(made)
    shown = read_clip(made[0].path).frames[5]
    assert shown.shape == (90, 160, 3)
    assert shown[:, :10].max() < 30 < shown[:, 40:120].max()


def test_masks_cover_the_same_place_on_both(large, small, folder):
    plan = StimulusPlan(masks=[{"left": 0.5, "top": 0.5, "right": 1, "bottom": 1}])
    for clip in make_pair(large, small, (folder / "i.mp4", folder / "j.mp4"), plan):
        corner = read_clip(clip.path).frames[5][50:, 72:]
        assert np.abs(corner.astype(int) - 118).max() < 16


def test_a_peaky_clip_makes_both_softer_by_as_much(folder, small):
    clicks = np.zeros((2, 72_000), np.float32)
    clicks[:, ::12_000] = 0.9
    clicks += 1e-4 * np.random.default_rng(1).normal(size=clicks.shape).astype(np.float32)
    clip = a_clip(smooth_frames(36, 90, 160), 24.0, 48_000, clicks)
    peaky = a_source(write_clip(clip, folder / "peaky.mp4"))
    made = make_pair(peaky, small, (folder / "k.mp4", folder / "l.mp4"), StimulusPlan())
    levels = assert_alike(made)
    assert levels[0] < -24


def test_an_attention_pair_is_one_clip_twice_with_one_sound_late(large, folder):
    paths = (folder / "m.mp4", folder / "n.mp4")
    same = make_pair(large, large, paths, StimulusPlan())
    assert same[0].path.read_bytes() == same[1].path.read_bytes()
    marked = np.zeros((2, 42_000), np.float32)
    marked[:, 12_000:13_200] = 0.2 * tones(1_200, 24_000)
    clip = a_clip(smooth_frames(42, 128, 192), 24.0, 24_000, marked)
    source = a_source(write_clip(clip, folder / "marked.mp4"))
    paths = (folder / "o.mp4", folder / "q.mp4")
    late = make_pair(source, source, paths, StimulusPlan(), late_s=(0.0, 1.0))
    assert_alike(late)
    onsets = [
        np.argmax(np.abs(_decoded_sound(clip.path.read_bytes())[0]) > 0.01) / 48_000
        for clip in late
    ]
    assert onsets[1] - onsets[0] == pytest.approx(1.0, abs=0.01)


def test_shapes_that_differ_too_much_are_refused(large):
    tall = dataclasses.replace(large, width=90, height=160)
    with pytest.raises(RequestError, match=r"192 x 128 and 90 x 160 differ so much"):
        common_frame(large, tall, StimulusPlan())
    assert common_frame(large, tall, StimulusPlan(picture="pad")).width == 90


def test_start_and_length_can_be_cut_from_both(large, small):
    plan = StimulusPlan(trim_start_s=0.25, max_duration_s=1.0)
    assert common_frame(large, small, plan) == Frame(134, 90, 24.0, 24)
    with pytest.raises(RequestError, match="nothing is left"):
        common_frame(large, small, StimulusPlan(trim_start_s=1.6))


def test_true_peaks_between_samples_are_seen():
    # A sine at a quarter of the rate, sampled 45 degrees off its peaks, peaks 3 dB higher.
    wave = np.sin(np.pi / 2 * np.arange(4_800) + np.pi / 4)
    peak = true_peak_dbtp(np.stack([wave, wave]))
    assert 20 * math.log10(np.abs(wave).max()) == pytest.approx(-3.01, abs=0.01)
    assert peak == pytest.approx(0.0, abs=0.3)
    assert true_peak_dbtp(np.zeros((2, 100))) == -math.inf


def test_names_repeat_only_with_the_secret():
    assert opaque_name(b"k", "a", "b") == opaque_name(b"k", "a", "b")
    assert opaque_name(b"k", "a", "b") != opaque_name(b"l", "a", "b")
    assert opaque_name(b"k", "a", "b") != opaque_name(b"k", "ab", "")


@pytest.mark.exhaustive
def test_ltx2_ovi_and_veo_cannot_be_told_apart(data_folder, tmp_path):
    clips = data_folder / "clips"
    models = ("ltx2", "ovi", "veo31fast")
    study = Study(
        name="s",
        models=[
            {"name": model, "clips": {"case1": clips / f"case1_{model}.mp4"}} for model in models
        ],
    )
    gathered = gather(study)
    gathered.require_complete()
    # As they come they differ in everything: size, sample rate, length.
    sources = [gathered.sources[model, "case1"] for model in models]
    raw = {(s.width, s.height, s.sample_rate, round(s.duration_s)) for s in sources}
    assert len(raw) == 3
    plan = StimulusPlan(max_duration_s=2.0)
    for index, left in enumerate(sources):
        right = sources[(index + 1) % 3]
        paths = (tmp_path / f"{index}a.mp4", tmp_path / f"{index}b.mp4")
        levels = assert_alike(make_pair(left, right, paths, plan), plan)
        assert levels == pytest.approx([-23.0, -23.0], abs=0.5)


def test_a_folder_that_cannot_be_written_is_said(large, small):
    paths = (Path("/proc/none/a.mp4"), Path("/proc/none/b.mp4"))
    with pytest.raises(MediaError, match="cannot be written"):
        make_pair(large, small, paths, StimulusPlan())
