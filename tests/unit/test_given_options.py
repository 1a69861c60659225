import numpy as np
import pytest
from PIL import Image

from ltx2.clip import Clip
from ltx2.errors import MediaError, RequestError
from ltx2.given_options import GivenOptions, parse_upscale
from ltx2.inputs import Inputs
from ltx2.media.decode import read_media


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    Image.new("RGB", (40, 30), "red").save(folder / "a:b@c.png")
    frames = np.zeros((25, 64, 96, 3), np.uint8)
    Clip(frames, np.zeros((2, 16_000), np.float32), 25.0, 16_000).save(folder / "clip.mp4")
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture
def inputs():
    return Inputs(read=read_media)


@pytest.mark.parametrize(
    ("ending", "at_s", "strength"),
    [("", 0.0, 1.0), ("@1.5", 1.5, 1.0), ("@1.5:0.4", 1.5, 0.4), (":0.4", 0.0, 0.4)],
)
def test_a_picture_has_a_moment_and_a_strength_whatever_its_name(
    folder, inputs, ending, at_s, strength
):
    values = GivenOptions(images=[f"{folder}/a:b@c.png{ending}"]).to_request(inputs)
    (keyframe,) = values["keyframes"]
    assert (keyframe.at_s, keyframe.strength) == (at_s, strength)


def test_a_clip_is_extended_on_both_sides(folder, inputs):
    options = GivenOptions(extend=folder / "clip.mp4", before=1.0, after=2.0)
    values = options.to_request(inputs)
    assert values["sources"][0].at_s == 1.0
    assert values["duration_s"] == pytest.approx(4.0, abs=0.05)


@pytest.mark.parametrize(
    ("only", "video", "audio"), [("both", 1, 1), ("picture", 1, 0), ("sound", 0, 1)]
)
def test_a_retake_remakes_what_was_said(folder, inputs, only, video, audio):
    options = GivenOptions(retake=folder / "clip.mp4", spans=["0.2-0.6"], only=only)
    (source,) = options.to_request(inputs)["sources"]
    assert (len(source.remake_video), len(source.remake_audio)) == (video, audio)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"before": 1.0}, "--extend belong together"),
        ({"spans": ["1-2"]}, "--retake belong together"),
        ({"retake": "clip.mp4", "spans": ["2-1"]}, "--span is '2-1'"),
        ({"mask": "a:b@c.png"}, "--inpaint belong together"),
        ({"images": ["x@y:z"]}, "cannot be opened"),
        ({"foley": "broken.mp4"}, "damaged"),
    ],
)
def test_what_cannot_be_understood_is_said(folder, inputs, options, message):
    paths = {
        name: folder / value
        for name, value in options.items()
        if name in ("retake", "mask", "foley")
    }
    with pytest.raises((RequestError, MediaError), match=message):
        GivenOptions(**{**options, **paths}).to_request(inputs)


def test_stages_are_a_list():
    assert parse_upscale("space, time") == ("space", "time")
    with pytest.raises(RequestError, match="--upscale"):
        parse_upscale("twice")
