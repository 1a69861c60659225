from fractions import Fraction

import av
import numpy as np
import pytest

from ltx2.clip import Clip
from ltx2.errors import MediaError
from ltx2.media.decode import read_clip
from ltx2.media.encode import AAC_SAMPLE_RATES, estimate_bytes, write_clip
from tests.builders import a_clip, a_recipe, noise_frames, smooth_frames, tones

AAC_FRAME = 1024


def decoded_sound(path):
    """Samples [2, S] as any FFmpeg program would play them, and the time of the first."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    return np.concatenate([frame.to_ndarray() for frame in frames], axis=1), frames[0].time


@pytest.mark.parametrize("sample_rate", [16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("frame_rate", [24.0, 23.976, 29.97, 7.3])
def test_sound_is_as_long_as_the_pictures_within_one_aac_frame(tmp_path, sample_rate, frame_rate):
    clip = a_clip(frame_rate=frame_rate, sample_rate=sample_rate)
    path = write_clip(clip, tmp_path / "clip.mp4")
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        picture_s = float(video.duration * video.time_base)
        sound_s = float(audio.duration * audio.time_base)
        assert audio.codec_context.sample_rate == sample_rate
        packets = list(container.demux(audio))
    assert picture_s == pytest.approx(clip.duration_s, rel=1e-3)
    assert abs(sound_s - picture_s) <= 1 / sample_rate + 1e-3  # what a player shows
    ends = [packet.pts + packet.duration for packet in packets if packet.pts is not None]
    assert abs(max(ends) / sample_rate - picture_s) <= AAC_FRAME / sample_rate
    sound, start_s = decoded_sound(path)
    assert start_s == 0.0
    assert abs(sound.shape[1] / sample_rate - picture_s) <= AAC_FRAME / sample_rate


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 20_000, 24_000, 44_100, 48_000, 96_000])
def test_a_click_is_heard_when_it_was_planted(tmp_path, sample_rate):
    clip = a_clip(sample_rate=sample_rate)
    waveform = np.zeros_like(clip.waveform)
    waveform[:, round(0.7 * sample_rate)] = 0.9
    path = write_clip(a_clip(sample_rate=sample_rate, waveform=waveform), tmp_path / "clip.mp4")
    sound, start_s = decoded_sound(path)
    with av.open(str(path)) as container:
        written_rate = container.streams.audio[0].codec_context.sample_rate
    heard_s = start_s + np.abs(sound[0]).argmax() / written_rate
    assert abs(heard_s - 0.7) < 0.002


def test_a_flash_is_seen_when_it_was_planted(tmp_path):
    frames = np.zeros((30, 64, 64, 3), np.uint8)
    frames[17] = 255
    path = write_clip(a_clip(frames), tmp_path / "clip.mp4")
    with av.open(str(path)) as container:
        brightness = {f.time: f.to_ndarray(format="gray").mean() for f in container.decode(video=0)}
    assert max(brightness, key=brightness.get) == pytest.approx(17 / 24, abs=1e-3)


def test_pictures_and_sound_stay_close_to_the_original(tmp_path):
    clip = a_clip(sample_rate=24_000)
    heard = read_clip(write_clip(clip, tmp_path / "clip.mp4"))
    mean_square = ((heard.frames.astype(float) - clip.frames) ** 2).mean()
    assert 10 * np.log10(255**2 / mean_square) > 35
    for channel in (0, 1):
        assert np.corrcoef(heard.waveform[channel], clip.waveform[channel])[0, 1] > 0.99


@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 40, 90)]
)
def test_colours_are_bt709_and_say_so(tmp_path, colour):
    frames = np.full((3, 64, 64, 3), colour, np.uint8)
    path = write_clip(a_clip(frames), tmp_path / "clip.mp4")
    red, green, blue = (value / 255 for value in colour)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # ITU-R BT.709, item 3.2
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        tags = (context.colorspace, context.color_primaries, context.color_trc)
        assert (*tags, context.color_range) == (1, 1, 1, 1)  # BT.709 three times, limited range
        assert context.pix_fmt == "yuv420p"
        picture = next(container.decode(video=0)).to_ndarray()  # [1.5 H, W]: Y, U, V
    y, u, v = picture[:64].mean(), picture[64:80].mean(), picture[80:].mean()
    assert y == pytest.approx(16 + 219 * luma, abs=1.5)
    assert u == pytest.approx(128 + 224 * (blue - luma) / 1.8556, abs=1.5)
    assert v == pytest.approx(128 + 224 * (red - luma) / 1.5748, abs=1.5)


def test_browsers_can_start_before_the_file_is_complete(tmp_path):
    content = write_clip(a_clip(), tmp_path / "clip.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")
    assert b"avc1" in content
    assert b"mp4a" in content


@pytest.mark.parametrize(
    ("frame_rate", "exact"),
    [
        (24.0, Fraction(24)),
        (23.976, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (12.5, Fraction(25, 2)),
    ],
)
def test_the_file_has_the_exact_frame_rate(tmp_path, frame_rate, exact):
    path = write_clip(a_clip(frame_rate=frame_rate), tmp_path / "clip.mp4")
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == exact
        assert container.streams.video[0].frames == 25


def test_a_rate_that_aac_lacks_becomes_48_khz(tmp_path):
    waveform = tones(round(25 / 24 * 20_000), 20_000)
    clip = a_clip(sample_rate=20_000, waveform=waveform)
    heard = read_clip(write_clip(clip, tmp_path / "clip.mp4"))
    assert 20_000 not in AAC_SAMPLE_RATES
    assert heard.sample_rate == 48_000
    expected = tones(heard.waveform.shape[1], 48_000)
    assert heard.waveform.shape[1] == 50_000
    assert np.corrcoef(heard.waveform[0], expected[0])[0, 1] > 0.99


@pytest.mark.parametrize("sample_rate", [16_000, 24_000, 48_000])
def test_impacts_are_not_spoilt_by_the_encoder(tmp_path, sample_rate):
    time = np.arange(sample_rate // 8) / sample_rate
    impact = 0.8 * np.exp(-time / 0.02) * np.sin(2 * np.pi * 180 * time)
    waveform = np.tile(np.append(impact, 0 * impact), (2, 4)).astype(np.float32)
    clip = a_clip(smooth_frames(24), sample_rate=sample_rate, waveform=waveform)
    heard = read_clip(write_clip(clip, tmp_path / "clip.mp4"))
    assert np.abs(heard.waveform - clip.waveform).max() < 0.03


def test_sound_in_48_khz_has_at_least_128_kbit_per_second(tmp_path):
    waveform = np.random.default_rng(0).normal(0, 0.2, (2, 100_000)).astype(np.float32)
    clip = a_clip(smooth_frames(50), sample_rate=48_000, waveform=waveform)
    with av.open(str(write_clip(clip, tmp_path / "clip.mp4"))) as container:
        assert container.streams.audio[0].bit_rate >= 128_000


@pytest.mark.parametrize("samples", [1, 5_000, 30_000])
def test_sound_of_another_length_is_cut_or_filled_to_the_pictures(tmp_path, samples):
    clip = a_clip(waveform=tones(samples, 16_000))
    sound, _ = decoded_sound(write_clip(clip, tmp_path / "clip.mp4"))
    assert abs(sound.shape[1] - 16_667) < AAC_FRAME
    assert np.abs(sound[:, samples + AAC_FRAME :]).max(initial=0.0) < 1e-3


def test_a_clip_without_samples_gets_no_sound_track(tmp_path):
    clip = a_clip(waveform=np.zeros((2, 0), np.float32))
    with av.open(str(write_clip(clip, tmp_path / "clip.mp4"))) as container:
        assert not container.streams.audio
        assert container.streams.video[0].frames == 25


def test_one_picture_is_a_clip_too(tmp_path):
    clip = a_clip(smooth_frames(num_frames=1))
    heard = read_clip(write_clip(clip, tmp_path / "clip.mp4"))
    assert heard.frames.shape == clip.frames.shape
    assert heard.waveform.shape == (2, round(16_000 / 24))


def test_anyone_can_see_that_the_file_is_generated(tmp_path):
    path = write_clip(a_clip(recipe=a_recipe()), tmp_path / "clip.mp4")
    with av.open(str(path)) as container:
        assert '"ai_generated": true' in container.metadata["comment"]
        assert "AI-generated" in container.metadata["description"]
    path = write_clip(a_clip(), tmp_path / "foreign.mp4")
    with av.open(str(path)) as container:
        assert not {"comment", "description"} & container.metadata.keys()


def test_the_same_clip_gives_the_same_file(tmp_path):
    clip = a_clip(smooth_frames(height=128, width=192), recipe=a_recipe())
    files = {write_clip(clip, tmp_path / "clip.mp4").read_bytes() for _ in range(8)}
    assert len(files) == 1


def test_loud_sound_is_limited_instead_of_wrapped(tmp_path):
    clip = a_clip(waveform=4.0 * tones(16_667, 16_000))
    sound, _ = decoded_sound(write_clip(clip, tmp_path / "clip.mp4"))
    assert 0.9 < np.abs(sound).max() < 1.1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frames": np.zeros((0, 64, 64, 3), np.uint8)}, "uint8 [0, 64, 64, 3]"),
        ({"frames": np.zeros((2, 64, 64), np.uint8)}, "uint8 [2, 64, 64]"),
        ({"frames": np.zeros((2, 64, 64, 3), np.float32)}, "float32"),
        ({"frames": np.zeros((2, 63, 64, 3), np.uint8)}, "64 x 63"),
        ({"waveform": np.zeros((1, 16_000), np.float32)}, "[1, 16000]"),
        ({"waveform": np.full((2, 16_000), np.nan, np.float32)}, "not numbers"),
        ({"frame_rate": 0.0}, "0.0 pictures/s"),
        ({"frame_rate": float("nan")}, "nan pictures/s"),
        ({"sample_rate": 0}, "0 samples/s"),
    ],
)
def test_arrays_that_are_no_clip_are_refused(tmp_path, changes, said):
    good = a_clip()
    fields = ("frames", "waveform", "frame_rate", "sample_rate")
    clip = Clip(*(changes.get(name, getattr(good, name)) for name in fields))
    with pytest.raises(MediaError) as caught:
        write_clip(clip, tmp_path / "clip.mp4")
    assert said in caught.value.message
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(MediaError, match="nowhere") as caught:
        write_clip(a_clip(), tmp_path / "nowhere" / "clip.mp4")
    assert "folder" in caught.value.next_step


def test_a_folder_in_the_files_place_is_left_alone(tmp_path):
    target = tmp_path / "clip.mp4"
    target.mkdir()
    with pytest.raises(MediaError):
        write_clip(a_clip(), target)
    assert list(tmp_path.iterdir()) == [target]


def test_an_interrupted_writer_leaves_the_older_file_alone(tmp_path):
    class Interrupting(np.ndarray):
        """Pictures that press Ctrl-C when the twentieth is read."""

        def __iter__(self):
            for index in range(len(self)):
                if index == 20:
                    raise KeyboardInterrupt
                yield np.asarray(self[index])

    target = tmp_path / "clip.mp4"
    target.write_bytes(b"older")
    with pytest.raises(KeyboardInterrupt):
        write_clip(a_clip(smooth_frames().view(Interrupting)), target)
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]


def test_an_older_file_is_replaced(tmp_path):
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"older")
    assert write_clip(a_clip(), target) == target
    assert len(read_clip(target).frames) == 25


@pytest.mark.parametrize("name", ["a b.mp4", "é 日本 🎈.mp4", "http:x.mp4", "%d.mp4", "-y.mp4"])
def test_any_file_name_works(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_clip(a_clip(), name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(read_clip(name).frames) == 25


def test_the_estimated_size_is_enough_for_ordinary_pictures(tmp_path):
    clip = a_clip(smooth_frames(num_frames=49, height=256, width=256), sample_rate=48_000)
    size = write_clip(clip, tmp_path / "clip.mp4").stat().st_size
    assert size < estimate_bytes(clip) < 100 * size
    assert estimate_bytes(a_clip(noise_frames(50))) > estimate_bytes(a_clip(noise_frames(25)))
