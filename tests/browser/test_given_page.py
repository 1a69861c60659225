"""What a clip is made from, in a real browser: pictures at moments, a sound, a video."""

import json

import numpy as np
import pytest
from PIL import Image

from ltx2.clip import Clip
from ltx2.media.sound import write_sound
from tests.browser.served import CLIP_S, served_page, stand_in

pytestmark = pytest.mark.browser

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name in ("red", "green", "blue"):
        Image.new("RGB", (120, 80), name).save(folder / f"{name}.png")
    frames = np.zeros((25, 64, 96, 3), np.uint8)
    clip = Clip(frames, np.zeros((2, 16_000), np.float32), 25.0, 16_000)
    clip.save(folder / "video.mp4")
    write_sound(clip, folder / "sound.wav")
    return folder


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stand-in")
    with served_page(stand_in(folder), folder, STAND_IN_STEP_S="0") as url:
        yield url


@pytest.fixture
def page(browser, address, request):
    page = browser.new_page(viewport=getattr(request, "param", DESKTOP))
    page.set_default_timeout(CLIP_S)
    page.goto(address)
    page.locator("#generate").wait_for()
    yield page
    page.close()


def choose(page, mode):
    page.locator("#mode").get_by_label(mode, exact=True).check()


def put(page, area, path):
    """A file into a field, until the field shows it."""
    area.locator("input[type=file]").set_input_files(path)
    area.locator("img, video, audio, canvas, #waveform").first.wait_for(state="attached")


def asked_of(page):
    """The request of the clip that is made now, as its recipe tells it."""
    page.locator("#prompt textarea").fill("A ball.")
    page.locator("#generate").click()
    page.locator("#summary p").wait_for()
    page.get_by_text("Recipe, also inside the file").click()
    page.locator("#recipe .cm-content").wait_for()
    with page.expect_download() as download:
        page.locator("#save-recipe").click()
    return json.loads(download.value.path().read_text())["request"]


@pytest.mark.slow
@pytest.mark.parametrize("page", [DESKTOP, PHONE], ids=["desktop", "phone"], indirect=True)
def test_pictures_stand_where_they_were_put(page, files):
    choose(page, "Image")
    first, last = (page.locator("#from-image .picture").nth(n) for n in range(2))
    strength = last.get_by_label("number input for How closely it is kept")
    assert not strength.is_visible(), "matters once there is a picture"
    put(page, first, files / "red.png")
    put(page, last, files / "blue.png")
    strength.fill("0.5")
    strength.press("Tab")
    between = page.locator("#from-image .between")
    assert between.count() == 0
    page.locator("#add-picture").click()
    put(page, between, files / "green.png")
    moment = between.get_by_label("At second")
    assert moment.input_value() == "1"  # the middle
    moment.fill("0.6")
    moment.press("Tab")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    keyframes = asked_of(page)["keyframes"]
    shown = [(k["image"]["name"], round(k["at_s"], 2), k["strength"]) for k in keyframes]
    assert shown == [("red.png", 0.0, 1.0), ("green.png", 0.6, 1.0), ("blue.png", 1.92, 0.5)]


@pytest.mark.slow
def test_a_sound_is_what_the_picture_is_made_to(page, files):
    choose(page, "Audio")
    page.locator("#generate").click()
    page.locator(".toast-body").get_by_text("The prompt is empty.").wait_for()
    put(page, page.locator("#from-audio"), files / "sound.wav")
    (source,) = asked_of(page)["sources"]
    assert (source["file"]["kind"], source["use_video"]) == ("sound", False)


@pytest.mark.slow
def test_a_part_of_a_video_is_made_again(page, files):
    choose(page, "Video")
    put(page, page.locator("#video-file"), files / "video.mp4")
    assert not page.locator("#video-part").is_visible()
    page.get_by_label("Make a part again", exact=True).check()
    page.locator("#video-part").get_by_label("To second").fill("0.8")
    (source,) = asked_of(page)["sources"]
    assert source["remake_video"] == [{"start_s": 0.5, "end_s": 0.8}]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.slow
def test_a_mask_says_where_a_video_changes(page, files):
    choose(page, "Video")
    put(page, page.locator("#video-file"), files / "video.mp4")
    page.get_by_label("Change what a mask covers", exact=True).check()
    put(page, page.locator("#video-mask"), files / "green.png")
    (source,) = asked_of(page)["sources"]
    assert source["mask"]["name"] == "green.png"


def test_a_file_that_is_no_picture_is_refused_in_words(page, files, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    choose(page, "Image")
    put(page, page.locator("#from-image .picture").first, tmp_path / "broken.png")
    page.locator("#prompt textarea").fill("A ball.")
    page.locator("#generate").click()
    page.locator(".toast-body").get_by_text("damaged").wait_for()
