"""The page in a real browser: on a stand-in for the model, then on the embedded checkpoint."""

import io
import json
import re
import urllib.request
from pathlib import Path

import av
import numpy as np
import pytest

from tests.browser.served import chromium, served_page

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
CLIP_S = 60_000
"""Milliseconds that a clip of the stand-in may take on a busy machine."""

SLOW_FRAMES_JS = """
    const draw = window.requestAnimationFrame.bind(window);
    window.requestAnimationFrame = (then) => setTimeout(() => draw(then), 400);
"""
"""A busy phone, on which every frame comes late."""


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def server_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stand-in")


@pytest.fixture(scope="module")
def address(browser, server_folder):
    command = ["-m", "tests.browser.stand_in_app"]
    with served_page(command, server_folder, STAND_IN_STEP_S="0.1") as url:
        yield url


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as page:
        yield page


class opened:  # noqa: N801 - reads as a verb in a with statement
    """A fresh visitor's view of the page."""

    def __init__(self, browser, address, *, slow_frames=False, **options):
        self.slow_frames = slow_frames
        self.context = browser.new_context(**options)
        self.address = address

    def __enter__(self):
        page = self.context.new_page()
        if self.slow_frames:
            page.add_init_script(SLOW_FRAMES_JS)
        page.goto(self.address)
        page.locator("#generate").wait_for()
        return page

    def __exit__(self, *_):
        self.context.close()


def ask(page, prompt):
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#generate").click()


def choose_steps(page, steps):
    page.get_by_text("More", exact=True).click()
    field = page.get_by_label("number input for Steps")
    field.fill(str(steps))
    field.press("Tab")


def wait_for_clip(page, timeout=CLIP_S):
    """The video's facts once it is made, playable and the page is ready for the next."""
    page.locator("#generate").wait_for(timeout=timeout)
    page.wait_for_function(
        "() => document.querySelector('#clip video')?.readyState >= 3", timeout=timeout
    )
    return page.evaluate(
        """() => {
            const video = document.querySelector('#clip video');
            return {
                source: video.currentSrc, duration: video.duration,
                width: video.videoWidth, height: video.videoHeight,
                decodedSound: video.webkitAudioDecodedByteCount,
            };
        }"""
    )


def sound_of(source):
    """Waveform [channels, S] and length of the pictures in seconds of the file at an address."""
    file = io.BytesIO(urllib.request.urlopen(source, timeout=30).read())
    with av.open(file) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.name == "aac"
        video = container.streams.video[0]
        assert video.codec_context.name == "h264"
        picture_s = float(video.duration * video.time_base)
        waveform = np.concatenate([f.to_ndarray() for f in container.decode(stream)], axis=1)
    return waveform, waveform.shape[1] / stream.rate, picture_s


def test_a_prompt_becomes_a_clip_that_plays_with_sound(page):
    ask(page, 'A red puppet says "hello" in a high voice.')
    page.get_by_text(re.compile(r"Making picture and sound: step \d+ of 10")).wait_for()
    clip = wait_for_clip(page)
    assert (clip["width"], clip["height"]) == (96, 96)
    assert clip["duration"] == pytest.approx(1.96, abs=0.05)
    page.wait_for_function("() => document.querySelector('#clip video').currentTime > 0.2")
    assert clip["decodedSound"] > 0
    waveform, sound_s, picture_s = sound_of(clip["source"])
    assert np.abs(waveform).max() > 0.1
    assert sound_s == pytest.approx(picture_s, abs=1024 / 16_000 + 0.01)


def test_the_recipe_of_the_clip_is_shown(page):
    ask(page, "A yellow ball bounces.")
    wait_for_clip(page)
    seed = page.locator("#seed-row input[type=number]").input_value()
    page.get_by_text("96 × 96 px · 1.96 s").wait_for()
    page.get_by_text("Recipe, also inside the file").click()
    page.locator("#recipe .cm-content").get_by_text("A yellow ball bounces.").wait_for()
    with page.expect_download() as download:
        page.locator("#recipe").get_by_label("Download").click()
    recipe = json.loads(Path(download.value.path()).read_text())
    assert recipe["request"]["prompt"] == "A yellow ball bounces."
    assert recipe["request"]["seed"] == int(seed)


def test_an_example_fills_the_prompt(page):
    example = page.locator("#examples button").first
    example.click()
    page.wait_for_function("() => document.querySelector('#prompt textarea').value.length > 0")
    assert page.locator("#prompt textarea").input_value() == example.inner_text()


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("", "The prompt is empty."),
        ("ours", "The numbers overflowed. Try another seed."),
        ("unexpected", "Something broke on our side."),
    ],
)
def test_a_failure_is_one_clear_sentence_and_nothing_is_lost(page, prompt, words):
    ask(page, "A ball.")
    before = wait_for_clip(page)["source"]
    ask(page, prompt)
    message = page.locator(".toast-body")
    message.get_by_text(words).wait_for(timeout=CLIP_S)
    page.locator("#generate").wait_for()
    shown = page.locator("body").inner_text()
    assert "Traceback" not in shown
    assert "secret detail" not in shown
    assert page.locator("#prompt textarea").input_value() == prompt
    assert page.locator("#clip video").is_visible()
    assert page.evaluate("document.querySelector('#clip video').currentSrc") == before
    ask(page, "A ball.")
    page.locator("#stop").wait_for()
    assert wait_for_clip(page)["source"] != before


def test_what_is_typed_as_soon_as_more_opens_is_kept(browser, address):
    with opened(browser, address, slow_frames=True) as page:
        choose_steps(page, 60)
        page.evaluate("() => new Promise(requestAnimationFrame)")
        ask(page, "A ball.")
        page.get_by_text(re.compile(r"step \d+ of 60")).wait_for()


def test_stop_ends_the_work_and_keeps_the_last_clip(page):
    ask(page, "A ball.")
    before = wait_for_clip(page)["source"]
    choose_steps(page, 60)
    ask(page, "Another ball.")
    page.get_by_text(re.compile(r"step \d+ of 60")).wait_for()
    page.locator("#stop").click()
    page.get_by_text("Stopped.").wait_for(timeout=3_000)
    page.locator("#generate").wait_for(timeout=3_000)
    assert page.evaluate("document.querySelector('#clip video').currentSrc") == before


def test_the_fields_follow_the_chosen_model_and_its_loras(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two models")
    command = ["-m", "tests.browser.stand_in_app"]
    with (
        served_page(command, folder, STAND_IN_MODELS="2") as address,
        opened(browser, address) as page,
    ):
        quick, slow = (
            page.get_by_label(name, exact=True) for name in ("stand-in-quick", "stand-in")
        )
        page.get_by_text("More", exact=True).click()
        steps, lora = (
            page.get_by_label("number input for Steps"),
            page.get_by_label("LoRA", exact=True),
        )
        assert quick.is_checked()
        assert (steps.input_value(), steps.is_enabled(), lora.is_visible()) == ("2", False, False)
        slow.check()
        lora.wait_for()
        assert (steps.input_value(), steps.is_enabled()) == ("10", True)
        lora.click()
        page.get_by_role("option", name="paper").click()
        ask(page, "A ball.")
        page.get_by_text(re.compile(r"step \d+ of 10")).wait_for()
        wait_for_clip(page)
        quick.check()
        lora.wait_for(state="hidden")
        assert (steps.input_value(), steps.is_enabled()) == ("2", False)
        ask(page, "A ball.")
        page.get_by_text("2 steps").wait_for()


def test_one_model_is_not_a_choice(page):
    assert not page.locator("#model").is_visible()


def test_closing_the_page_stops_its_work_for_the_next_visitor(
    page, browser, address, server_folder
):
    def clips_made():
        return (server_folder / "log.txt").read_text().count("frames of")

    made_before = clips_made()
    with opened(browser, address) as leaving:
        choose_steps(leaving, 60)
        ask(leaving, "A ball for nobody.")
        leaving.get_by_text(re.compile(r"step \d+ of 60")).wait_for()
        ask(page, "A ball.")
        page.get_by_text(re.compile(r"queue: 1/1")).wait_for()
    wait_for_clip(page)
    assert clips_made() == made_before + 1


def test_a_phone_shows_one_column_without_scrolling_sideways(browser, address):
    with opened(browser, address, viewport=PHONE, is_mobile=True, has_touch=True) as page:
        ask(page, "A ball.")
        wait_for_clip(page)
        widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert widths[0] <= widths[1] == PHONE["width"]
        prompt, clip = (page.locator(name).bounding_box() for name in ("#prompt", "#clip"))
        assert clip["y"] > prompt["y"] + prompt["height"]
        assert clip["width"] > 300
        assert clip["y"] < PHONE["height"], "the clip came into sight by itself"


def test_nothing_is_fetched_from_other_machines(browser, address):
    with opened(browser, address) as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.reload()
        page.locator("#generate").wait_for()
        page.wait_for_timeout(1_000)
    elsewhere = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert elsewhere == []


def test_the_embedded_checkpoint_makes_a_clip_in_the_browser(
    browser, puppet_folder, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("puppet")
    with served_page(["app.py"], folder) as address, opened(browser, address) as page:
        page.locator("#examples button").first.click()
        page.wait_for_function("() => document.querySelector('#prompt textarea').value.length > 0")
        page.locator("#generate").click()
        page.locator("#stop").wait_for()
        clip = wait_for_clip(page, timeout=180_000)
        assert clip["width"] >= 64
        assert clip["duration"] > 1.0
        waveform, sound_s, picture_s = sound_of(clip["source"])
        assert np.abs(waveform).max() > 0.01
        assert sound_s == pytest.approx(picture_s, abs=0.1)
        page.get_by_text("puppet", exact=False).first.wait_for()
    assert "Traceback" not in (folder / "log.txt").read_text()
