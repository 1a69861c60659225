"""Writing prompts in a real browser: remarks, improvement, what is remembered."""

import os
from pathlib import Path

import pytest

from tests.browser.served import CLIP_S, served_page, stand_in

pytestmark = pytest.mark.browser

SIZES = {
    "desktop": {"viewport": {"width": 1280, "height": 860}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any text")
    with served_page(stand_in(folder), folder, STAND_IN_STEP_S="0") as url:
        yield url


@pytest.fixture(scope="module")
def small_address(browser, tmp_path_factory):
    """The page of a model that knows few words."""
    folder = tmp_path_factory.mktemp("few words")
    with served_page(stand_in(folder), folder, STAND_IN_STEP_S="0", STAND_IN_VOCABULARY="1") as url:
        yield url


@pytest.fixture(params=SIZES)
def context(browser, request):
    context = browser.new_context(**SIZES[request.param])
    yield context
    context.close()


COUNT_KEPT_JS = """
    window.kept = 0;
    const keep = Storage.prototype.setItem;
    Storage.prototype.setItem = function (key, value) {
        if (key === "ltx2-form") window.kept += 1;
        return keep.call(this, key, value);
    };
"""
"""How often the browser kept the form."""


def opened(context, address):
    page = context.new_page()
    page.add_init_script(COUNT_KEPT_JS)
    page.goto(address)
    page.locator("#generate").wait_for()
    return page


def change(page, field, value):
    """Fills a field, and waits until the browser keeps the form with it."""
    before = page.evaluate("window.kept")
    field.fill(value)
    field.press("Tab")
    page.wait_for_function("(before) => window.kept > before", arg=before)


def prompt_of(page):
    return page.locator("#prompt textarea")


def wait_for_prompt(page, text):
    page.wait_for_function(
        "(text) => document.querySelector('#prompt textarea')?.value === text", arg=text
    )


def photograph(page, name):
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}-{page.viewport_size['width']}.png")


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.slow
def test_words_that_the_model_does_not_know_are_said_as_text(context, small_address):
    page = opened(context, small_address)
    prompt_of(page).fill('A <b>redd</b> puppet on a white background says "hello" in a low voice.')
    page.locator("#hints").get_by_text("does not know “redd”. Perhaps “red”?").wait_for()
    page.locator("#hints").get_by_text("1 quoted line").wait_for()
    assert page.locator("#hints .warning b b").count() == 0
    photograph(page, "hints")
    assert fits(page)
    prompt_of(page).fill("")
    page.locator("#hints p").first.wait_for(state="detached")


@pytest.mark.slow
def test_an_improvement_is_seen_before_it_is_taken(context, small_address):
    page = opened(context, small_address)
    written = 'a redd puppet on a white backgruond says "helo"  in a low voice'
    prompt_of(page).fill(written)
    page.locator("#improve").click()
    page.locator("#diff").get_by_text("No language model").wait_for()
    assert "\u2212a redd" in page.locator("#diff del").first.inner_text()
    assert "+A red" in page.locator("#diff ins").first.inner_text()
    photograph(page, "diff")
    assert fits(page)
    page.get_by_role("button", name="Discard").click()
    page.locator("#proposal").wait_for(state="hidden")
    assert prompt_of(page).input_value() == written
    page.locator("#improve").click()
    edited = page.get_by_label("Improved prompt")
    edited.wait_for()
    good = edited.input_value()
    edited.fill(good.replace('"helo"', '"bye"'))
    page.get_by_role("button", name="Use this prompt").click()
    page.locator(".toast-body").get_by_text("not those of your prompt").wait_for()
    edited.fill(good)
    page.get_by_role("button", name="Use this prompt").click()
    wait_for_prompt(page, 'A red puppet on a white background says "helo" in a low voice.')
    page.locator("#proposal").wait_for(state="hidden")


@pytest.mark.slow
def test_the_form_comes_back_in_the_same_browser_and_can_be_reset(context, address):
    page = opened(context, address)
    page.get_by_text("More", exact=True).click()
    change(page, page.get_by_label("number input for Steps"), "7")
    change(page, prompt_of(page), "A ball that is remembered.")
    page.goto(address)
    wait_for_prompt(page, "A ball that is remembered.")
    page.get_by_text("More", exact=True).click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('input[type=number]')].some((i) => i.value === '7')"
    )
    page.locator("#reset").click()
    page.wait_for_function(
        "() => ![...document.querySelectorAll('input[type=number]')].some((i) => i.value === '7')"
    )
    assert prompt_of(page).input_value() == "A ball that is remembered."


@pytest.mark.slow
def test_what_is_pasted_dictated_or_deleted_is_remembered_as_well(context, address):
    page = opened(context, address)
    before = page.evaluate("window.kept")
    prompt_of(page).focus()
    page.keyboard.insert_text("A ball that was pasted.")
    page.wait_for_function("(before) => window.kept > before", arg=before)
    before = page.evaluate("window.kept")
    page.keyboard.press("Backspace")
    page.wait_for_function("(before) => window.kept > before", arg=before)
    page.goto(address)
    wait_for_prompt(page, "A ball that was pasted")


@pytest.mark.slow
def test_the_job_in_the_address_wins_over_what_is_remembered(context, address):
    page = opened(context, address)
    prompt_of(page).fill("A ball of the link.")
    page.locator("#generate").click()
    page.locator("#status").get_by_text("Made in").wait_for(timeout=CLIP_S)
    link = page.url
    change(page, prompt_of(page), "Another ball.")
    page.goto(link)
    wait_for_prompt(page, "A ball of the link.")


@pytest.mark.slow
def test_the_settings_of_a_failed_job_come_back(context, address):
    page = opened(context, address)
    prompt_of(page).fill("ours")
    page.locator("#generate").click()
    page.locator("#status").get_by_text("overflowed").wait_for(timeout=CLIP_S)
    prompt_of(page).fill("Something else.")
    page.locator("#use-failed").click()
    wait_for_prompt(page, "ours")
