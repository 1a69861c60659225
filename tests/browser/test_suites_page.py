"""The Suites tab in a real browser."""

import pytest

from tests.browser.barriers import barriers, in_every_look, needs_axe, open_tab
from tests.browser.served import CLIP_S, served_page
from tests.unit.evaluation.reports.measured.runs import run_of, usual

pytestmark = pytest.mark.browser

MEASURED = "two-sides-one"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suites")
    run_of(folder / "data" / "suites" / MEASURED, "one", usual)
    arguments = ["-m", "tests.browser.suites_app", str(folder / "data")]
    with served_page(arguments, folder, STAND_IN_STEP_S="0.03") as address:
        yield address


def opened(browser, address, **look):
    page = browser.new_page(**look)
    page.set_default_timeout(CLIP_S * 2)
    page.goto(address)
    page.get_by_role("tab", name="Generate").wait_for()
    open_tab(page, "Suites")
    return page


def show_only(page, run):
    """Chooses one run: the tab opens on the newest, which another test may have started."""
    runs = page.locator("#suite-runs")
    runs.locator(".token").first.wait_for()
    if not runs.locator(".token", has_text=run).count():
        runs.locator("input").click()
        page.get_by_role("option", name=run).click()
    for token in runs.locator(".token").filter(has_not_text=run).all():
        token.locator(".token-remove").click()
    runs.locator("input").press("Escape")
    shown = page.locator("#suite-status .status")
    shown.filter(has_text=run).wait_for()
    shown.filter(has_not_text=run).first.wait_for(state="detached")


def test_a_measured_run_shows_its_cells_its_numbers_and_a_clip_on_a_click(browser, address):
    page = opened(browser, address)
    show_only(page, MEASURED)
    page.locator("#suite-matrix button.cell.measured").nth(7).wait_for()
    page.locator("#suite-results").get_by_text("Who says which line").wait_for()
    page.locator("#suite-matrix button.cell").first.click()
    page.locator("#suite-facts").get_by_text('says "line 0"').wait_for()
    page.wait_for_function("document.querySelector('#suite-clip video')?.readyState >= 1")
    assert page.locator("#suite-facts svg").count() == 1
    with page.expect_download() as download:
        page.locator("#suite-report").click()
    assert download.value.suggested_filename == "report.html"
    page.close()


@pytest.mark.slow
def test_a_run_fills_its_cells_and_goes_on_when_the_tab_is_closed(browser, address):
    page = opened(browser, address)
    page.locator("#suite input").first.click()
    page.get_by_role("option", name="Bounces and melodies").click()
    page.locator("#suite-tags input").click()
    page.get_by_role("option", name="music").click()
    page.locator("#suite-plan").get_by_text("8 clips, 8 of them to make.").wait_for()
    page.locator("#suite-start").click()
    page.locator("#suite-matrix button.cell").first.wait_for(timeout=CLIP_S)
    page.close()
    again = opened(browser, address)
    status = again.locator("#suite-status")
    status.get_by_text("measured").wait_for(timeout=CLIP_S)
    again.locator("#suite-matrix button.cell").nth(7).wait_for()
    # All may be measured before the button is reached.
    stop = again.locator("#suite-stop").or_(status.get_by_text("Made and measured."))
    stop.first.click()
    ended = status.get_by_text("Stopped").or_(status.get_by_text("Made and measured."))
    ended.first.wait_for(timeout=CLIP_S)
    again.close()


@pytest.mark.slow
def test_what_cannot_be_made_is_said_before_it_is_started(browser, address):
    page = opened(browser, address)
    page.locator("#suite-seeds input, #suite-seeds textarea").first.fill("one")
    page.locator("#suite-plan").get_by_text("Seeds").wait_for()
    page.close()


@pytest.mark.slow
@needs_axe
@in_every_look
def test_a_measured_run_has_no_serious_barrier(browser, address, colors, size):
    page = opened(browser, address, color_scheme=colors, viewport=size)
    show_only(page, MEASURED)
    page.locator("#suite-results").get_by_text("Who says which line").wait_for()
    page.locator("#suite-matrix button.cell").first.click()
    page.locator("#suite-facts").get_by_text('says "line 0"').wait_for()
    assert barriers(page) == []
    page.close()
