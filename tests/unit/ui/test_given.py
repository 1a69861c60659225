import numpy as np
import pytest
from PIL import Image

from ltx2.clip import Clip
from ltx2.conditions import InputFile, Source
from ltx2.errors import RequestError
from ltx2.inputs import Inputs
from ltx2.media.decode import read_media
from ltx2.media.sound import write_sound
from ltx2.request import Request
from ltx2.serving.jobs import Choice, ChosenLora
from ltx2.ui.given import Given
from ltx2.ui.going_on import extended, retaken
from ltx2.ui.modes import AUDIO, IMAGE, TEXT, VIDEO
from ltx2.ui.pictures import MAX_BETWEEN, GivenPicture, given_pictures, on_add
from ltx2.ui.video import EXTEND, FOLLOW, MASK, RETAKE, SOUND, GivenVideo, describe_tasks
from tests.fakes.model import PROFILE
from tests.unit.ui.stand_ins import an_offer

ASKED = Request(prompt="a puppet", duration_s=1.9, seed=4, height=96, width=96)
OFFER, USUAL = an_offer(), Choice("stand-in")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return Inputs(tmp_path_factory.mktemp("data") / "inputs", read=read_media)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    Image.new("RGB", (40, 30), "red").save(folder / "picture.png")
    frames = np.zeros((25, 64, 96, 3), np.uint8)
    clip = Clip(frames, np.zeros((2, 16_000), np.float32), 25.0, 16_000)
    clip.save(folder / "video.mp4")
    Clip(frames, np.zeros((2, 0), np.float32), 25.0, 16_000).save(folder / "silent.mp4")
    write_sound(clip, folder / "sound.wav")
    return {path.stem: str(path) for path in folder.iterdir()}


@pytest.fixture
def asked(inputs):
    """The request of a mode in which files were given."""
    return lambda mode, given, offer=OFFER, choice=USUAL: given.added_to(
        ASKED, mode, inputs, offer, choice
    )


def test_pictures_stand_at_their_moments_in_order(asked, inputs, files):
    picture = files["picture"]
    given = Given(
        pictures=(
            GivenPicture(picture, None, 0.5),
            GivenPicture(picture, 0.8, 0.7),
            GivenPicture(picture, 0.0, 1.0),
        )
    )
    request = asked(IMAGE, given)
    resolved = request.resolve(PROFILE)
    last_s = (resolved.num_frames - 1) / resolved.frame_rate
    assert [(k.at_s, k.strength) for k in request.keyframes] == [
        (0.0, 1.0),
        (0.8, 0.7),
        (last_s, 0.5),
    ]
    assert inputs.path(request.keyframes[0].image).parent == inputs.folder
    assert asked(TEXT, given) == ASKED


def test_fields_without_a_file_give_no_picture():
    values = ["a.png", 0.0, 1.0, None, None, 1.0, "b.png", 0.7, 0.5]
    assert given_pictures(values) == (
        GivenPicture("a.png", 0.0, 1.0),
        GivenPicture("b.png", 0.7, 0.5),
    )


def test_one_row_more_is_seen_with_a_moment_until_there_are_no_more():
    seen, button, *updates = on_add(1, 4.0)
    rows, moments = updates[:MAX_BETWEEN], updates[MAX_BETWEEN:]
    assert (seen, rows[1]["visible"], moments[1]["value"]) == (2, True, 2.7)
    assert button["visible"]
    assert on_add(MAX_BETWEEN - 1, 4.0)[:2] == (MAX_BETWEEN, {**button, "visible": False})


def test_a_video_is_kept_and_gets_a_sound_as_long_as_it_is(asked, files):
    request = asked(VIDEO, Given(video=GivenVideo(files["video"], SOUND)))
    (source,) = request.sources
    assert (source.gives_video, source.gives_audio) == (True, False)
    resolved = request.resolve(PROFILE)
    assert (resolved.width, resolved.height, resolved.num_frames) == (96, 64, 25)


def test_a_sound_is_kept_and_gets_a_picture_as_long_as_it_is(asked, files):
    for name in ("sound", "video"):  # of a video its sound
        request = asked(AUDIO, Given(sound=files[name]))
        (source,) = request.sources
        assert (source.gives_video, source.gives_audio) == (False, True)
        assert request.resolve(PROFILE).num_frames == 25


def test_a_video_goes_on_has_a_part_made_again_or_is_changed_under_a_mask(asked, files):
    longer = asked(VIDEO, Given(video=GivenVideo(files["video"], EXTEND))).resolve(PROFILE)
    assert longer.num_frames / longer.frame_rate == pytest.approx(1.0 + 1.9, abs=0.2)
    part = GivenVideo(files["video"], RETAKE, start_s=0.2, end_s=0.6)
    (source,) = asked(VIDEO, Given(video=part)).sources
    assert [(s.start_s, s.end_s) for s in source.remake_video] == [(0.2, 0.6)]
    masked = GivenVideo(files["video"], MASK, mask=files["picture"])
    (source,) = asked(VIDEO, Given(video=masked)).sources
    assert source.mask.name == "picture.png"


def test_a_video_is_followed_by_a_lora_that_can(asked, files):
    guided = an_offer(loras={"depth": "depth", "paper": "paper"}, guides={"depth": 2})
    given = Given(video=GivenVideo(files["video"], FOLLOW, strength=0.6))
    chosen = Choice("stand-in", (ChosenLora("paper"), ChosenLora("depth")))
    request = asked(VIDEO, given, guided, chosen)
    assert (request.reference.downscale, request.reference.strength) == (2, 0.6)
    assert (request.height, request.width, request.sources) == (96, 96, ())
    with pytest.raises(RequestError, match="Choose one of these LoRAs behind More: depth"):
        asked(VIDEO, given, guided, USUAL)
    names = [[name for _, name in describe_tasks(o)["choices"]] for o in (OFFER, guided)]
    assert [FOLLOW in each for each in names] == [False, True]


@pytest.mark.parametrize(
    ("mode", "given", "message"),
    [
        (IMAGE, lambda files: Given(), "no picture yet"),
        (
            IMAGE,
            lambda files: Given(pictures=(GivenPicture(files["picture"], 7.0),)),
            "belongs at 7 s, and the clip ends at 1.92 s",
        ),
        (AUDIO, lambda files: Given(), "no sound yet"),
        (AUDIO, lambda files: Given(sound=files["picture"]), "is a picture"),
        (AUDIO, lambda files: Given(sound=files["silent"]), "has no sound"),
        (VIDEO, lambda files: Given(), "no video yet"),
        (VIDEO, lambda files: Given(video=GivenVideo(files["sound"])), "is not a video"),
        (VIDEO, lambda files: Given(video=GivenVideo(files["video"], MASK)), "no mask yet"),
        (
            VIDEO,
            lambda files: Given(video=GivenVideo(files["video"], RETAKE, None, None)),
            "is empty",
        ),
    ],
)
def test_what_is_missing_is_said_with_the_way_on(asked, files, mode, given, message):
    with pytest.raises(RequestError, match=message):
        asked(mode, given(files))


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
