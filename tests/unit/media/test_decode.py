from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from ltx2.errors import MediaError
from ltx2.media import decode
from ltx2.media.decode import read_clip, read_first_picture, read_media, read_recipe
from ltx2.media.encode import write_clip
from tests.builders import a_clip, a_recipe, noise_frames, smooth_frames, tones


def write_foreign(path, frames, *, sound=None, video_pts=None, sound_start=0, time_base=None):
    """A video as other programs write them; `sound` is (samples [C, S], rate, codec)."""
    time_base = time_base or Fraction(1, 1000)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = time_base
        if sound is not None:
            samples, rate, codec = sound
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
            audio = container.add_stream(codec, rate=rate, layout=layout)
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index * 40 if video_pts is None else video_pts[index]
            frame.time_base = time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, sound_start
            frame.time_base = Fraction(1, rate)
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


@pytest.fixture(scope="module")
def our_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    return write_clip(a_clip(noise_frames(24), recipe=a_recipe()), path)


@pytest.mark.parametrize("frame_rate", [1.0, 7.3, 12.5, 23.976, 24.0, 29.97, 60.0])
def test_a_clip_comes_back_with_every_picture_at_its_rate(tmp_path, frame_rate):
    clip = a_clip(frame_rate=frame_rate)
    read = read_clip(write_clip(clip, tmp_path / "clip.mp4"))
    assert read.frames.shape == clip.frames.shape
    assert read.frames.dtype == np.uint8
    assert read.frame_rate == pytest.approx(frame_rate, rel=2e-6)
    assert read.waveform.dtype == np.float32
    assert abs(read.waveform.shape[1] - clip.waveform.shape[1]) <= 1
    for picture, original in zip(read.frames, clip.frames, strict=True):
        assert np.abs(picture.astype(int) - original).mean() < 3


@pytest.mark.parametrize(
    "prompt",
    [
        'She says: "Hello, {world}" & \\leaves\\',
        "line one\nline two\ttabbed\r\nend",
        "Ein Gesicht sagt „Grüße“, 日本語, العربية, 🎈👩‍🚀",
        "\0 zero byte",
        "😀" * 8_000,
    ],
)
def test_the_recipe_comes_back_whatever_the_prompt_holds(tmp_path, prompt):
    recipe = a_recipe(prompt, negative_prompt=prompt, seed=2**63 - 1, frame_rate=23.976)
    path = write_clip(a_clip(smooth_frames(2), recipe=recipe), tmp_path / "clip.mp4")
    assert read_recipe(path) == recipe
    assert read_clip(path).recipe == recipe


def test_a_file_without_recipe_has_none(tmp_path):
    path = write_clip(a_clip(), tmp_path / "clip.mp4")
    assert read_recipe(path) is None
    assert read_clip(path).recipe is None


def test_a_recipe_of_the_future_does_not_hide_the_clip(tmp_path):
    future = a_recipe().model_copy(update={"schema_version": 99})
    path = write_clip(a_clip(recipe=future), tmp_path / "clip.mp4")
    assert read_clip(path).recipe is None
    with pytest.raises(MediaError, match="this version cannot read"):
        read_recipe(path)


def test_a_video_without_sound_has_no_samples(tmp_path):
    read = read_clip(write_foreign(tmp_path / "x.mp4", smooth_frames()))
    assert read.waveform.shape == (2, 0)
    assert read.frame_rate == 25.0
    assert len(read.frames) == 25


def test_mono_is_copied_to_both_channels_at_its_level(tmp_path):
    mono = tones(22_050, 22_050)[:1]
    read = read_clip(
        write_foreign(tmp_path / "x.mkv", smooth_frames(), sound=(mono, 22_050, "aac"))
    )
    assert read.sample_rate == 22_050
    assert read.waveform.shape == (2, 22_050)
    assert np.array_equal(read.waveform[0], read.waveform[1])
    assert np.abs(read.waveform).max() == pytest.approx(0.5, abs=0.1)


def test_surround_is_mixed_down_to_stereo(tmp_path):
    surround = np.repeat(tones(48_000, 48_000)[:1], 6, axis=0)
    read = read_clip(
        write_foreign(tmp_path / "x.mkv", smooth_frames(), sound=(surround, 48_000, "flac"))
    )
    assert read.waveform.shape == (2, 48_000)
    assert np.corrcoef(read.waveform[0], surround[0])[0, 1] > 0.9


@pytest.mark.parametrize("start_s", [0.2, 0.0])
def test_sound_that_begins_later_than_the_pictures_stays_later(tmp_path, start_s):
    click = np.zeros((2, 24_000), np.float32)
    click[:, 8_000] = 0.9  # half a second into the sound
    path = write_foreign(
        tmp_path / "x.mkv",
        smooth_frames(),
        sound=(click, 16_000, "flac"),
        sound_start=round(start_s * 16_000),
    )
    read = read_clip(path)
    assert read.waveform.shape == (2, 16_000)
    assert abs(np.abs(read.waveform[0]).argmax() / 16_000 - (start_s + 0.5)) < 0.002


def test_pictures_that_begin_later_than_the_sound_take_the_sound_of_their_time(tmp_path):
    click = np.zeros((2, 24_000), np.float32)
    click[:, 16_000] = 0.9  # at one second
    path = write_foreign(
        tmp_path / "x.mkv",
        smooth_frames(),
        sound=(click, 16_000, "flac"),
        video_pts=[200 + 40 * index for index in range(25)],
    )
    read = read_clip(path)
    assert abs(np.abs(read.waveform[0]).argmax() / 16_000 - 0.8) < 0.002


def test_pictures_of_variable_rate_are_shown_when_they_belong(tmp_path):
    frames = np.zeros((20, 64, 64, 3), np.uint8)
    frames[10:] = 200
    # Twenty pictures in a second: ten in the first 0.8 s, ten in the last 0.2 s.
    pts = [80 * index for index in range(10)] + [800 + 20 * index for index in range(10)]
    read = read_clip(write_foreign(tmp_path / "x.mkv", frames, video_pts=pts))
    bright = read.frames.mean(axis=(1, 2, 3)) > 100
    assert bright.argmax() / read.frame_rate == pytest.approx(0.8, abs=1 / read.frame_rate)
    assert read.duration_s == pytest.approx(1.0, abs=2 / read.frame_rate)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"\0" * 5_000,
        b"not a video\n" * 1_000,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile clip.mp4\n",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        np.random.default_rng(0).bytes(20_000),
    ],
)
@pytest.mark.parametrize("reader", [read_clip, read_recipe])
def test_what_is_no_video_is_refused(tmp_path, content, reader):
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError) as caught:
        reader(path)
    assert caught.value.next_step


@pytest.mark.parametrize("reader", [read_clip, read_recipe])
def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path, reader):
    for path in (tmp_path / "nothing.mp4", tmp_path):
        with pytest.raises(MediaError):
            reader(path)
    with pytest.raises(MediaError, match=r"nothing\.mp4"):
        reader(tmp_path / "nothing.mp4")


@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.9, 0.99, -1])
def test_a_file_that_was_cut_short_is_refused(tmp_path, our_file, kept):
    content = our_file.read_bytes()
    length = kept if kept < 0 else int(kept * len(content))
    path = tmp_path / "x.mp4"
    path.write_bytes(content[:length])
    with pytest.raises(MediaError):
        read_clip(path)


def test_a_file_that_ends_between_two_packets_is_refused(tmp_path, our_file):
    content = our_file.read_bytes()
    with av.open(str(our_file)) as container:
        places = sorted(packet.pos for packet in container.demux() if packet.pos)
    path = tmp_path / "x.mp4"
    for place in places[5:-10:5]:
        path.write_bytes(content[:place])
        with pytest.raises(MediaError, match="cut short"):
            read_clip(path)


def test_a_file_that_ends_inside_one_of_its_last_packets_is_refused(tmp_path):
    path = write_clip(a_clip(smooth_frames(48)), tmp_path / "clip.mp4")
    content = path.read_bytes()
    with av.open(str(path)) as container:
        ends = sorted(packet.pos + packet.size for packet in container.demux() if packet.pos)
    for end in ends[-8:]:
        path.write_bytes(content[: end - 1])
        with pytest.raises(MediaError):
            read_clip(path)


@pytest.mark.parametrize("start", [0.02, 0.3, 0.6])
@pytest.mark.parametrize("share", [0.01, 0.3])
def test_a_file_with_a_hole_in_it_is_refused(tmp_path, our_file, start, share):
    content = bytearray(our_file.read_bytes())
    first, length = int(start * len(content)), int(share * len(content))
    content[first : first + length] = b"\xff" * length
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError):
        read_clip(path)


def test_random_damage_gives_a_clip_or_a_media_error_and_nothing_else(tmp_path, our_file):
    content = our_file.read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "x.mp4"
    outcomes = {"clip": 0, "refused": 0}
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, min(len(content), 4_000), 8):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            outcomes["clip"] += read_clip(path).frames.ndim == 4
        except MediaError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 0
    assert sum(outcomes.values()) == 60


def test_a_sound_file_is_no_clip(tmp_path):
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w") as container:
        audio = container.add_stream("aac", rate=16_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(tones(16_000, 16_000), format="fltp", layout="stereo")
        frame.sample_rate = 16_000
        container.mux([*audio.encode(frame), *audio.encode(None)])
    with pytest.raises(MediaError, match="no picture"):
        read_clip(path)


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [
        ("MAX_DURATION_S", 0.5, "lasts 1 s or more"),
        ("MAX_FRAME_PIXELS", 64 * 95, "96 x 64 pixels"),
        ("MAX_DECODED_BYTES", 64 * 96 * 3 * 23, "GiB of memory"),
        ("MAX_STREAMS", 1, "2 tracks"),
        ("MAX_FRAME_RATE", 23.0, "how many pictures"),
    ],
)
def test_what_is_too_large_is_refused_with_its_limit(our_file, monkeypatch, limit, value, said):
    monkeypatch.setattr(decode, limit, value)
    with pytest.raises(MediaError, match=said):
        read_clip(our_file)


def test_the_limits_let_the_longest_ordinary_clip_in():
    minute_bytes = 60 * 24 * 1216 * 704 * 3
    assert minute_bytes <= decode.MAX_DECODED_BYTES
    assert decode.MAX_DURATION_S >= 60


def as_png(folder):
    path = folder / "picture.png"
    Image.fromarray(smooth_frames(1)[0]).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.png", lambda png: png[: len(png) // 2]),
        ("headless.png", lambda png: png[:8] + b"\0" * 40),
        ("text.jpg", lambda png: b"<html>not found</html>"),
        ("0123456789abcdef", lambda png: png[:8] + b"nonsense"),
        ("start.webp", lambda png: b"RIFF\0\0\0\0WEBPxxxx"),
    ],
)
def test_a_broken_picture_is_told_to_be_one(tmp_path, name, content):
    broken = tmp_path / name
    broken.write_bytes(content(as_png(tmp_path).read_bytes()))
    with pytest.raises(MediaError, match="The picture is damaged"):
        read_media(broken)


def test_a_picture_of_another_kind_is_told_to_be_converted(tmp_path):
    path = tmp_path / "photo.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 40)
    with pytest.raises(MediaError, match=r"kind HEIC are not read\. Save it as PNG"):
        read_media(path)


def test_a_broken_video_is_no_picture_whatever_it_is_called(tmp_path, our_file):
    video = tmp_path / "clip.png"
    video.write_bytes(our_file.read_bytes())
    assert read_media(video)[0] == "video"
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match="damaged or not a video"):
        read_media(tmp_path / "broken.mp4")


def test_a_picture_that_is_called_a_video_is_told_to_be_one(tmp_path):
    path = tmp_path / "picture.mp4"
    Image.new("RGB", (32, 32), "red").save(path, format="PNG")
    for read in (read_clip, read_first_picture):
        with pytest.raises(MediaError, match="is a picture, not a video"):
            read(path)
