"""The library in a real browser."""

import zipfile

import pytest

from tests.browser.served import CLIP_S, served_page, stand_in

pytestmark = pytest.mark.browser

PROMPTS = ("A red ball.", "ours", "A <b>green</b> ${1+1} puppet.")
"""One of them fails."""


@pytest.fixture(scope="module")
def visitor(browser, tmp_path_factory):
    """A browser whose visitor has asked for three clips, and the page's address."""
    folder = tmp_path_factory.mktemp("stand-in")
    with served_page(stand_in(folder), folder, STAND_IN_STEP_S="0") as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        for prompt in PROMPTS:
            page.locator("#prompt textarea").fill(prompt)
            page.locator("#generate").click()
            end = "overflowed" if prompt == "ours" else "Made in"
            page.locator("#status").get_by_text(end).wait_for(timeout=CLIP_S)
            page.goto(address)
        page.close()
        yield context, address
        context.close()


@pytest.fixture
def library(visitor):
    context, address = visitor
    page = context.new_page()
    page.goto(address)
    open_library(page)
    page.locator("#library .thumbnail-item").nth(2).wait_for()
    yield page
    page.close()


def open_library(page):
    page.get_by_role("tab", name="Library").click()


def cards(page):
    return page.locator("#library .thumbnail-item")


def wait_for_cards(page, count):
    page.wait_for_function(
        "(count) => document.querySelectorAll('#library .thumbnail-item').length == count",
        arg=count,
    )


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def test_every_clip_has_a_card_with_its_prompt_as_text(library):
    captions = [card.inner_text().strip() for card in cards(library).all()]
    assert captions == list(PROMPTS[::-1])
    assert library.locator("#library b").count() == 0


def test_a_search_leaves_the_cards_that_match(library):
    search = library.locator("#library-search").locator("input, textarea")
    search.fill("ball RED")
    wait_for_cards(library, 1)
    search.fill("nothing like it")
    library.get_by_text("No clips here yet.").wait_for()


def test_a_card_opens_the_clip_with_its_whole_prompt(library, visitor):
    cards(library).first.click()
    prompt = library.locator("#library-prompt p")
    prompt.wait_for()
    assert prompt.inner_text() == PROMPTS[2]
    library.wait_for_function(
        "() => document.querySelector('#library-clip video')?.readyState >= 3"
    )
    press(library, "Open")
    library.wait_for_url("**/?job=*")
    library.locator("#summary p").wait_for()
    assert library.locator("#clip video").is_visible()


def test_a_failed_clip_says_why(library):
    cards(library).nth(1).click()
    library.get_by_text("The numbers overflowed. Try another seed.").last.wait_for()
    assert not library.locator("#library-clip").is_visible()


def test_favourites_are_marked_and_found(library):
    cards(library).last.click()
    press(library, "Favourite")
    library.get_by_text("★ A red ball.").wait_for()
    library.get_by_label("Favourites", exact=True).check()
    wait_for_cards(library, 1)
    press(library, "Not a favourite")
    library.get_by_text("No clips here yet.").wait_for()


def test_a_deleted_clip_comes_back_with_undo(library):
    cards(library).last.click()
    press(library, "Delete")
    wait_for_cards(library, 2)
    press(library, "Undo delete")
    wait_for_cards(library, 3)


def test_clips_are_downloaded_together(library):
    with library.expect_download() as download:
        press(library, "Download these as ZIP")
    assert download.value.suggested_filename == "ltx2-clips.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 2


@pytest.mark.slow
def test_another_visitor_sees_none_of_it(browser, visitor):
    context = browser.new_context()
    page = context.new_page()
    page.goto(visitor[1])
    open_library(page)
    page.get_by_text("No clips here yet.").wait_for()
    assert cards(page).count() == 0
    context.close()
