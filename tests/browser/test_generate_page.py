"""The page in a real browser: on a stand-in for the model, then on the embedded checkpoint."""

import io
import json
import re
import urllib.request
from pathlib import Path

import av
import numpy as np
import pytest

from tests.browser.served import CLIP_S, served_page, stand_in

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}

SLOW_FRAMES_JS = """
    const draw = window.requestAnimationFrame.bind(window);
    window.requestAnimationFrame = (then) => setTimeout(() => draw(then), 400);
"""
"""A busy phone, on which every frame comes late."""


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stand-in")
    with served_page(stand_in(folder), folder, STAND_IN_STEP_S="0.25") as url:
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
    field = page.get_by_label("number input for Steps")
    if not field.is_visible():
        page.get_by_text("More", exact=True).click()
    field.fill(str(steps))
    field.press("Tab")


def wait_for_status(page, words, timeout=CLIP_S):
    page.locator("#status").get_by_text(words).wait_for(timeout=timeout)


def ask_for_long(page, prompt="A ball."):
    """A clip that is being made until it is stopped."""
    choose_steps(page, 60)
    ask(page, prompt)
    wait_for_status(page, re.compile(r"step \d+ of 60"))


def stop(page):
    page.locator("#stop").click()
    wait_for_status(page, "Stopped.")


def wait_for_clip(page, timeout=CLIP_S):
    """The video's facts once it is made and playable."""
    wait_for_status(page, "Made in", timeout)
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


@pytest.mark.slow
def test_what_is_made_so_far_is_seen_and_heard(page):
    ask_for_long(page)
    film = page.locator("#preview img")
    film.wait_for()
    assert not page.locator("#clip").is_visible()
    assert film.evaluate("image => image.complete && image.naturalWidth > image.naturalHeight")
    page.wait_for_function("() => document.querySelector('#preview audio')?.duration > 1.5")
    seen = film.get_attribute("alt")
    page.wait_for_function("(seen) => document.querySelector('#preview img').alt != seen", arg=seen)
    stop(page)
    assert not page.locator("#preview").is_visible()


@pytest.mark.slow
def test_the_recipe_of_the_clip_is_shown(page):
    ask(page, "A yellow ball bounces.")
    wait_for_clip(page)
    page.get_by_text("96 × 96 px · 1.96 s").wait_for()
    page.get_by_text("Recipe, also inside the file").click()
    page.locator("#recipe .cm-content").get_by_text("A yellow ball bounces.").wait_for()
    with page.expect_download() as download:
        page.locator("#save-recipe").click()
    recipe = json.loads(Path(download.value.path()).read_text())
    assert download.value.suggested_filename == f"ltx2-{recipe['request']['seed']}.json"
    assert recipe["request"]["prompt"] == "A yellow ball bounces."
    seed = page.locator("#seed-row input[type=number]").input_value()
    assert recipe["request"]["seed"] == int(seed)


def test_an_example_fills_the_prompt(page):
    example = page.locator("#examples button").first
    text = example.inner_text()
    example.click()
    page.wait_for_function("() => document.querySelector('#prompt textarea').value.length > 0")
    assert page.locator("#prompt textarea").input_value() == text
    assert not example.is_visible(), "once there is a prompt, examples make room"


def shown_clip(page):
    return page.evaluate("document.querySelector('#clip video').currentSrc")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("ours", "The numbers overflowed. Try another seed."),
        ("unexpected", "Something broke on our side."),
    ],
)
def test_a_failed_clip_says_why_and_nothing_is_lost(page, prompt, words):
    ask(page, "A ball.")
    before = wait_for_clip(page)["source"]
    ask(page, prompt)
    wait_for_status(page, words)
    shown = page.locator("body").inner_text()
    assert "Traceback" not in shown
    assert "secret detail" not in shown
    assert page.locator("#prompt textarea").input_value() == prompt
    assert page.locator("#clip video").is_visible()
    assert shown_clip(page) == before
    ask(page, "A ball.")
    assert wait_for_clip(page)["source"] != before


def test_what_cannot_be_asked_is_refused_in_words(page):
    ask(page, "")
    page.locator(".toast-body").get_by_text("The prompt is empty.").wait_for()


@pytest.mark.slow
def test_what_is_typed_as_soon_as_more_opens_is_kept(browser, address):
    with opened(browser, address, slow_frames=True) as page:
        choose_steps(page, 60)
        page.evaluate("() => new Promise(requestAnimationFrame)")
        ask(page, "A ball.")
        wait_for_status(page, re.compile(r"step \d+ of 60"))


def test_stop_ends_the_work_and_keeps_the_last_clip(page):
    ask(page, "A ball.")
    before = wait_for_clip(page)["source"]
    ask_for_long(page, "Another ball.")
    stop(page)
    assert not page.locator("#stop").is_visible()
    assert shown_clip(page) == before


@pytest.mark.slow
def test_more_clips_can_be_asked_for_while_one_is_made(page):
    ask_for_long(page)
    first = page.url
    choose_steps(page, 2)
    ask(page, "A ball that waits.")
    wait_for_status(page, "Waiting: yours is next.")
    page.wait_for_function("(first) => location.href !== first", arg=first)
    page.goto(first)
    wait_for_status(page, re.compile(r"step \d+ of 60"))
    stop(page)


@pytest.mark.slow
def test_a_job_outlives_its_page_and_its_link_shows_it_to_others_who_cannot_stop_it(
    browser, address
):
    with opened(browser, address) as owner:
        choose_steps(owner, 60)
        ask(owner, "A ball.")
        owner.wait_for_url("**/?job=*")
        link = owner.url
    with opened(browser, link) as other:
        wait_for_status(other, re.compile(r"step \d+ of 60"))
        other.locator("#preview img").wait_for()
        assert not other.locator("#stop").is_visible()
        wait_for_clip(other)
        other.get_by_text("60 steps").wait_for()


def test_a_link_to_nothing_says_so(browser, address):
    with opened(browser, f"{address}/?job=unknown") as page:
        wait_for_status(page, "There is no such clip.")


@pytest.mark.slow
def test_the_same_clip_again_has_another_seed(page):
    ask(page, "A ball.")
    before = wait_for_clip(page)["source"]
    page.get_by_role("button", name="Again, with a new seed").click()
    page.wait_for_function(
        "(before) => document.querySelector('#clip video')?.currentSrc != before", arg=before
    )
    assert wait_for_clip(page)["source"] != before


@pytest.mark.slow
def test_a_clip_that_is_dropped_on_the_page_brings_its_settings_back(page, tmp_path):
    choose_steps(page, 7)
    ask(page, "A <b>cat</b>.")
    wait_for_clip(page)
    seed = page.locator("#seed-row input[type=number]").input_value()
    with page.expect_download() as download:
        page.locator("#clip").get_by_label("Download").click()
    clip = tmp_path / "clip.mp4"
    download.value.save_as(clip)
    page.goto(page.url.split("?")[0])
    page.locator("#prompt textarea").fill("Something else.")
    page.locator("#restore input[type=file]").set_input_files(clip)
    page.wait_for_function(
        "() => document.querySelector('#prompt textarea').value.startsWith('A <b>')"
    )
    assert page.locator("#prompt textarea").input_value() == "A <b>cat</b>."
    page.get_by_text("More", exact=True).click()
    assert page.get_by_label("number input for Steps").input_value() == "7"
    assert page.locator("#seed-row input[type=number]").input_value() == seed
    assert not page.get_by_label("New seed each time").is_checked()


@pytest.mark.slow
def test_the_fields_follow_the_chosen_model_and_its_loras(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two models")
    with (
        served_page(stand_in(folder), folder, STAND_IN_MODELS="2") as address,
        opened(browser, address) as page,
    ):
        quick, slow = (
            page.get_by_label(name, exact=True)
            for name in ("stand-in-quick · 2 steps", "stand-in · 10 steps")
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
        wait_for_status(page, re.compile(r"step \d+ of 10"))
        wait_for_clip(page)
        quick.check()
        lora.wait_for(state="hidden")
        assert (steps.input_value(), steps.is_enabled()) == ("2", False)
        ask(page, "A ball.")
        page.locator("#summary").get_by_text("2 steps").wait_for()


@pytest.mark.slow
def test_what_is_behind_more_makes_the_clip_and_is_there_after_a_reload(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("more")
    with (
        served_page(stand_in(folder), folder, STAND_IN_MODELS="2") as address,
        opened(browser, address, viewport=PHONE) as page,
    ):
        page.get_by_label("stand-in · 10 steps", exact=True).check()
        page.get_by_text("More", exact=True).click()
        further = page.get_by_label("LoRA 2", exact=True)
        for name, field in (("paper", page.get_by_label("LoRA", exact=True)), ("ink", further)):
            field.click()
            page.get_by_role("option", name=name).last.click()  # a list that closes is still there
        assert page.get_by_label("LoRA 3", exact=True).count() == 0  # there are two
        page.get_by_label("number input for Strength of LoRA 2, picture").fill("0.5")
        page.get_by_label("number input for Frames per second").fill("30")
        page.get_by_label("number input for Frames per second").press("Tab")
        page.get_by_label("Sampler", exact=True).click()
        page.get_by_role("option", name="Gradient estimation").click()
        page.get_by_label("Second stage", exact=True).check()
        page.get_by_text("More take longer and add detail", exact=True).wait_for()
        ask(page, "A ball.")
        page.locator("#summary").get_by_text("192 × 192 px").wait_for(timeout=CLIP_S)
        page.goto(address)
        page.get_by_text("More", exact=True).click()
        further.wait_for()
        assert further.input_value() == "ink"
        assert (
            page.get_by_label("number input for Strength of LoRA 2, picture").input_value() == "0.5"
        )
        assert page.get_by_label("number input for Frames per second").input_value() == "30"
        assert page.get_by_label("Sampler", exact=True).input_value() == "Gradient estimation"
        assert page.get_by_label("Second stage", exact=True).is_checked()


def test_one_model_is_not_a_choice(page):
    assert not page.locator("#model").is_visible()


@pytest.mark.slow
def test_a_phone_shows_one_column_without_scrolling_sideways(browser, address):
    with opened(browser, address, viewport=PHONE, is_mobile=True, has_touch=True) as page:
        ask(page, "A ball.")
        wait_for_clip(page)
        widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert widths[0] <= widths[1] == PHONE["width"]
        prompt, clip = (page.locator(name).bounding_box() for name in ("#prompt", "#clip"))
        assert clip["y"] < prompt["y"], "what was asked for comes first"
        assert clip["width"] > 300
        assert 0 <= clip["y"] < PHONE["height"], "the clip came into sight by itself"
        page.goto(page.url)
        page.wait_for_function(
            "() => document.querySelector('#clip')?.getBoundingClientRect().top < innerHeight"
        )


@pytest.mark.slow
def test_nothing_is_fetched_from_other_machines(browser, address):
    with opened(browser, address) as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.reload()
        page.locator("#generate").wait_for()
        page.wait_for_timeout(1_000)
    elsewhere = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert elsewhere == []


@pytest.mark.slow
def test_after_a_restart_what_ran_has_failed_and_what_waited_is_made(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("restarted")
    with (
        served_page(stand_in(folder), folder, STAND_IN_STEP_S="0.25") as address,
        opened(browser, address) as page,
    ):
        ask_for_long(page)
        running = page.url.removeprefix(address)
        choose_steps(page, 2)
        ask(page, "A ball that waits.")
        wait_for_status(page, "Waiting: yours is next.")
        waiting = page.url.removeprefix(address)
    with served_page(stand_in(folder), folder, STAND_IN_STEP_S="0") as address:
        with opened(browser, address + running) as page:
            wait_for_status(page, "The server stopped while it was made. Generate it again.")
        with opened(browser, address + waiting) as page:
            wait_for_clip(page)


@pytest.mark.slow
def test_the_embedded_checkpoint_makes_a_clip_in_the_browser(
    browser, puppet_folder, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("puppet")
    with (
        served_page(["app.py"], folder, LTX2_DATA=str(folder / "data")) as address,
        opened(browser, address) as page,
    ):
        page.locator("#examples button").first.click()
        page.wait_for_function("() => document.querySelector('#prompt textarea').value.length > 0")
        page.locator("#generate").click()
        clip = wait_for_clip(page, timeout=180_000)
        assert clip["width"] >= 64
        assert clip["duration"] > 1.0
        waveform, sound_s, picture_s = sound_of(clip["source"])
        assert np.abs(waveform).max() > 0.01
        assert sound_s == pytest.approx(picture_s, abs=0.1)
        page.locator("#summary").get_by_text("puppet").first.wait_for()
    assert "Traceback" not in (folder / "log.txt").read_text()
