"""The Models view in a real browser, with a Hub on this machine."""

import random
import re
import threading

import pytest

from tests.browser.served import served_page, stand_in
from tests.fakes.hub import fake_hub

pytestmark = pytest.mark.browser

CONTENT = random.Random(5).randbytes(4_200_000)
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def hub():
    with pytest.MonkeyPatch.context() as patch, fake_hub(patch) as hub:
        hub.files["Lightricks/LTX-2"] = {"ltx-2-19b-dev.safetensors": CONTENT}
        yield hub


@pytest.fixture(scope="module")
def address(browser, hub, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    variables = {"STAND_IN_MODELS": "2", "HF_ENDPOINT": hub.address, "HF_TOKEN": ""}
    with served_page(stand_in(folder), folder, LTX2_THEME="dark", **variables) as url:
        yield url


def opened(browser, address, **options):
    page = browser.new_context(**options).new_page()
    page.goto(address)
    page.get_by_role("tab", name="Models").click()
    page.locator("#models-here table").wait_for()
    return page


def test_what_is_here_and_what_it_needs_is_listed(browser, address):
    page = opened(browser, address)
    rows = page.locator("#models-here tbody tr")
    assert rows.count() == 2
    assert "stand-in-quick" in rows.first.inner_text()
    assert "no clip made yet" in rows.first.inner_text()
    assert "Lightricks/LTX-2 on Hugging Face, about 43.3 GB" in page.content()
    assert "LTX-2.3" in page.locator("#models-versions").inner_text()


@pytest.mark.slow
def test_the_server_can_choose_the_look_and_an_address_another(browser, address):
    is_dark = "document.body.classList.contains('dark')"
    page = opened(browser, address, color_scheme="light")
    page.wait_for_function(is_dark)
    page.goto(f"{address}/?__theme=light")
    page.locator("#generate").wait_for()
    page.locator("#clip .empty[role]").wait_for(state="attached")  # the page's script has run
    assert not page.evaluate(is_dark)
    page.context.close()


@pytest.mark.slow
def test_a_download_goes_on_without_its_tab_and_is_seen_from_another_browser(browser, address, hub):
    hub.gate = threading.Semaphore(2)
    page = opened(browser, address)
    page.locator("#models-start").click()
    page.locator("#models-progress").get_by_text(re.compile(r"[12]\.\d MB of 4\.2 MB")).wait_for()
    page.context.close()
    other = opened(browser, address, viewport=PHONE)
    other.locator("#models-progress progress").wait_for()
    hub.gate.release(100)
    other.locator("#models-progress").get_by_text("its checksum is right").wait_for()
    assert other.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    other.context.close()


@pytest.mark.slow
def test_who_is_not_the_owner_sees_it_and_cannot_start_it(browser, address):
    page = opened(browser, address, extra_http_headers={"X-Forwarded-For": "10.1.1.1"})
    page.get_by_text("Downloads are started by whoever runs this server").wait_for()
    assert page.locator("#models-start").is_disabled()
    page.context.close()


@pytest.mark.slow
def test_terms_that_were_not_accepted_are_explained(browser, address, hub):
    hub.files["google/gemma-3-12b-it-qat-q4_0-unquantized"] = {"config.json": b"{}"}
    hub.gated.add("google/gemma-3-12b-it-qat-q4_0-unquantized")
    page = opened(browser, address)
    page.get_by_label("gemma-3-12b-it-qat-q4_0-unquantized").check()
    page.locator("#models-terms").get_by_text("Gemma Terms of Use").wait_for()
    page.locator("#models-start").click()
    page.locator("#models-progress").get_by_text("have to be accepted").wait_for()
    page.context.close()
