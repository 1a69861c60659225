"""What comes with a clip, in a real browser: its health, its likes beside it, its settings."""

import base64
import urllib.request
from pathlib import Path

import pytest

from tests.browser.barriers import barriers, in_every_look, needs_axe
from tests.browser.served import CLIP_S, served_page, stand_in

pytestmark = pytest.mark.browser

DROP_JS = """
([data, name]) => {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const carried = new DataTransfer();
    carried.items.add(new File([bytes], name));
    for (const kind of ["dragover", "drop"]) {
        document.querySelector("#masthead").dispatchEvent(
            new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: carried}));
    }
}
"""

PLAYERS = "[...document.querySelectorAll('#compare-pair video')]"


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """A visitor's page with two clips, the second one shown."""
    folder = tmp_path_factory.mktemp("stand-in")
    with served_page(stand_in(folder), folder, STAND_IN_STEP_S="0") as address:
        page = browser.new_page()
        page.set_default_timeout(2 * CLIP_S)
        page.goto(address)
        page.locator("#generate").wait_for()
        for prompt in ("A red ball.", "A blue ball."):
            before = page.url
            page.locator("#prompt textarea").fill(prompt)
            page.locator("#generate").click()
            page.wait_for_function("(before) => location.href !== before", arg=before)
            page.locator("#status").get_by_text("Made in").wait_for()
            page.locator("#health .health").wait_for()
        page.wait_for_timeout(1500)  # what the clip before showed is replaced by then
        yield page
        page.close()


def test_the_clip_comes_with_its_health(page):
    page.locator("#health").get_by_text("Everything measured").click()
    assert page.locator("#health li:visible").count() > 3


def compare(page):
    page.get_by_text("Compare with another clip").click()
    page.locator("#compare-with input").click()
    page.get_by_role("option", name="A red ball.").click()
    page.wait_for_function(f"() => {PLAYERS}.filter((v) => v.readyState >= 3).length === 2")


def test_another_clip_plays_in_step_beside_it_and_one_is_heard(page):
    compare(page)
    page.locator("#compare-pair").get_by_role("button", name="Play").press("Enter")
    page.wait_for_function(f"() => {PLAYERS}.every((v) => !v.paused && v.currentTime > 0.3)")
    times, heard = page.evaluate(
        f"[{PLAYERS}.map((v) => v.currentTime), {PLAYERS}.map((v) => !v.muted)]"
    )
    assert abs(times[0] - times[1]) < 0.2
    assert heard == [True, False]
    page.keyboard.press("2")
    assert page.evaluate(f"{PLAYERS}.map((v) => !v.muted)") == [False, True]
    page.keyboard.press("1")
    assert page.evaluate(f"{PLAYERS}.map((v) => !v.muted)") == [True, False]
    differing = page.locator("#compare-pair tbody th").all_inner_texts()
    assert "Prompt" in differing
    page.locator("#compare-pair").get_by_role("button", name="Pause").click()


def test_a_clip_or_its_recipe_dropped_anywhere_brings_its_settings_back(page):
    source = page.evaluate("document.querySelector('#clip video').currentSrc")
    clip = urllib.request.urlopen(source, timeout=30).read()
    page.get_by_text("Recipe, also inside the file").click()
    with page.expect_download() as download:
        page.locator("#save-recipe").click()
    recipe = Path(download.value.path()).read_bytes()
    for name, data in (("clip.mp4", clip), ("recipe.json", recipe)):
        page.locator("#prompt textarea").fill("Something else.")
        page.evaluate(DROP_JS, [base64.b64encode(data).decode(), name])
        page.wait_for_function(
            "() => document.querySelector('#prompt textarea').value === 'A blue ball.'"
        )
    page.evaluate(DROP_JS, [base64.b64encode(b"{}").decode(), "other.json"])
    page.locator(".toast-body").get_by_text("This file has no recipe.").wait_for()


@pytest.mark.slow
@needs_axe
@in_every_look
def test_two_clips_side_by_side_have_no_serious_barrier(browser, page, colors, size):
    known = page.context.storage_state()  # whose clips they are
    with browser.new_context(storage_state=known, color_scheme=colors, viewport=size) as context:
        other = context.new_page()
        other.set_default_timeout(2 * CLIP_S)
        other.goto(page.url)
        other.locator("#health .health").wait_for()
        other.locator("#health").get_by_text("Everything measured").click()
        compare(other)
        assert barriers(other) == []
