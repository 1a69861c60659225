"""The grid in a real browser."""

import pytest

from tests.browser.served import CLIP_S, served_page, stand_in

pytestmark = pytest.mark.browser


@pytest.mark.slow
def test_a_grid_is_planned_made_found_again_after_a_reload_and_opens_its_clips(browser, tmp_path):
    with served_page(stand_in(tmp_path), tmp_path, STAND_IN_STEP_S="0.05") as address:
        page = browser.new_page()
        page.goto(address)
        page.get_by_role("tab", name="Grid").click()
        page.locator("#grid-prompts textarea").fill("A <b>red</b> ball.")
        page.locator("#grid-preview").click()
        page.locator("#grid-plan").get_by_text("4 clips").wait_for()
        assert page.locator("#grid-plan b").count() == 0
        page.locator("#grid-run").click()
        page.wait_for_url("**/?grid=*")
        page.reload()
        page.locator("#grid-status").get_by_text("4 of 4 clips made").wait_for(timeout=CLIP_S)
        assert page.locator("#grid-matrix a img").count() == 4
        with page.expect_download() as download:
            page.get_by_role("button", name="Clips as ZIP").click()
        assert download.value.suggested_filename == "grid.zip"
        page.locator("#grid-matrix a").first.click()
        page.wait_for_url("**/?job=*")
        page.locator("#summary p").wait_for(timeout=CLIP_S)
        page.close()
