import numpy as np
import pytest
from PIL import Image

from ltx2.clip import Clip
from ltx2.conditions import InputFile, Source
from ltx2.errors import RequestError
from ltx2.inputs import Inputs
from ltx2.media.decode import read_media
from ltx2.request import Request
from ltx2.ui.given import Given, extended, retaken
from ltx2.ui.modes import IMAGE, SOUND, TEXT
from tests.fakes.model import PROFILE

ASKED = Request(prompt="a puppet", duration_s=1.9, seed=4, height=96, width=96)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return Inputs(tmp_path_factory.mktemp("data") / "inputs", read=read_media)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    Image.new("RGB", (40, 30), "red").save(folder / "picture.png")
    frames = np.zeros((25, 64, 96, 3), np.uint8)
    Clip(frames, np.zeros((2, 16_000), np.float32), 25.0, 16_000).save(folder / "video.mp4")
    return {path.stem: str(path) for path in folder.iterdir()}


def test_pictures_stand_at_the_clips_ends(inputs, files):
    given = Given(files["picture"], files["picture"], picture_strength=0.5)
    request = given.added_to(ASKED, IMAGE, inputs, PROFILE)
    resolved = request.resolve(PROFILE)
    last_s = (resolved.num_frames - 1) / resolved.frame_rate
    assert [k.at_s for k in request.keyframes] == [0.0, last_s]
    assert {k.strength for k in request.keyframes} == {0.5}
    assert inputs.path(request.keyframes[0].image).parent == inputs.folder
    assert given.added_to(ASKED, TEXT, inputs, PROFILE) == ASKED


def test_a_video_is_kept_and_gets_a_sound_as_long_as_it_is(inputs, files):
    request = Given(sound=files["video"]).added_to(ASKED, SOUND, inputs, PROFILE)
    (source,) = request.sources
    assert (source.gives_video, source.gives_audio) == (True, False)
    resolved = request.resolve(PROFILE)
    assert (resolved.width, resolved.height, resolved.num_frames) == (96, 64, 25)


@pytest.mark.parametrize(
    ("mode", "given", "message"),
    [
        (IMAGE, {}, "no picture yet"),
        (SOUND, {}, "no sound or video yet"),
        (SOUND, {"sound": "picture"}, "is a picture"),
    ],
)
def test_what_is_missing_is_said_with_the_way_on(inputs, files, mode, given, message):
    given = {name: files[value] for name, value in given.items()}
    with pytest.raises(RequestError, match=message):
        Given(**given).added_to(ASKED, mode, inputs, PROFILE)


def test_a_clip_goes_on_and_a_part_of_it_is_made_again():
    file = InputFile(
        name="clip.mp4",
        sha256="0" * 64,
        kind="video",
        width=96,
        height=96,
        duration_s=2.0,
        frame_rate=25.0,
        has_sound=True,
    )
    made = ASKED.resolve(PROFILE)
    longer = extended(made, Source(file=file), PROFILE, "it waves").resolve(PROFILE)
    assert longer.prompt == "it waves"
    assert longer.num_frames / longer.frame_rate == pytest.approx(2.0 + PROFILE.duration_s, abs=0.2)
    again = retaken(made, Source(file=file), " ", 0.5, 1.5)
    assert again.prompt == "a puppet"
    assert again.resolve(PROFILE).free_parts(PROFILE).video == ((0.5, 1.5),)
    with pytest.raises(RequestError, match="is empty"):
        retaken(made, Source(file=file), "", 1.5, 1.5)
