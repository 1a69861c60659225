"""What screen readers and keyboards meet, by the rules of axe-core; the page in other languages."""

import pytest

from tests.browser.barriers import DESKTOP, barriers, in_every_look, needs_axe, open_tab
from tests.browser.served import CLIP_S, served_page, stand_in

pytestmark = pytest.mark.browser

WAIT_MS = 60_000
"""For a page on a busy machine."""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("accessible")
    with served_page(stand_in(folder), folder, STAND_IN_VOCABULARY="1") as url:
        yield url


def opened(browser, address, **options):
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(address)
    page.locator("#generate").wait_for()
    return page


def make_a_clip(page):
    page.locator("#prompt textarea").fill('A red ball says "hello".')
    page.locator("#generate").click()
    page.locator("#summary p").wait_for(timeout=CLIP_S)


@needs_axe
@in_every_look
def test_no_tab_has_a_serious_barrier(browser, address, colors, size):
    page = opened(browser, address, color_scheme=colors, viewport=size)
    page.locator("#clip .empty[role]").wait_for(state="attached")  # not shown on a phone
    assert barriers(page) == [], "before a clip"
    make_a_clip(page)
    page.locator("#more button").first.click()
    assert barriers(page) == [], "after a clip"
    for name, inside in (
        ("Library", "#library .thumbnail-item:not([aria-label])"),
        ("Grid", "#grid-file button:not([aria-label])"),
        ("Models", "#models-versions table"),
    ):
        open_tab(page, name)
        page.locator(inside).first.wait_for()
        assert barriers(page) == [], name
    page.context.close()


@pytest.mark.slow
@needs_axe
@in_every_look
def test_no_way_to_start_a_clip_has_a_serious_barrier(browser, address, colors, size):
    page = opened(browser, address, color_scheme=colors, viewport=size)
    for mode in ("Image", "Audio", "Video", "Dialogue"):
        page.locator("#mode").get_by_label(mode, exact=True).check()
        area = "#composer" if mode == "Dialogue" else f"#from-{mode.lower()}"
        page.locator(area).wait_for()
        assert barriers(page) == [], mode
    page.context.close()


def tab_to(page, name):
    """Presses Tab until the element of this name has the keyboard."""
    for _ in range(60):
        page.keyboard.press("Tab")
        words = page.evaluate("document.activeElement.innerText ?? ''").strip().split("\n")
        if words[0] == name:
            return
    pytest.fail(f"the keyboard does not come to {name!r}")


@pytest.mark.slow
def test_a_clip_is_made_and_made_again_by_keyboard_alone(browser, address):
    page = opened(browser, address, viewport=DESKTOP)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#prompt') !== null"):
            break
    page.keyboard.type("A red ball.")
    tab_to(page, "More")
    page.keyboard.press("Enter")
    page.get_by_label("number input for Steps").wait_for()
    page.keyboard.press("Enter")
    page.get_by_label("number input for Steps").wait_for(state="hidden")
    tab_to(page, "Generate")
    page.keyboard.press("Enter")
    page.locator("#summary p").wait_for(timeout=CLIP_S)
    first = page.url
    tab_to(page, "Again, with a new seed")
    page.keyboard.press("Space")
    page.wait_for_function("(first) => location.href !== first", arg=first)
    page.locator("#status").get_by_text("Made in").wait_for(timeout=CLIP_S)
    page.context.close()


@pytest.mark.slow
def test_the_keyboard_goes_on_from_the_prompt_and_is_seen(browser, address):
    page = opened(browser, address, viewport=DESKTOP, reduced_motion="reduce")
    page.locator("#prompt textarea").focus()
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => [
                document.activeElement.innerText || document.activeElement.ariaLabel
                    || document.activeElement.type,
                getComputedStyle(document.activeElement).outlineStyle,
            ]"""
        )
        assert outline == "solid", name  # the page's own, not the browser's or none
        reached.append(name.strip())
    example = page.locator("#examples button").first.inner_text().strip()
    assert reached[0] == example  # what follows the prompt on the page
    assert len(set(reached)) > 5
    page.context.close()


@pytest.mark.slow
def test_arabic_runs_from_right_to_left_and_speaks_of_the_clip(browser, address):
    page = opened(browser, address, locale="ar", viewport=DESKTOP)
    page.wait_for_function("document.documentElement.dir === 'rtl'")
    assert page.locator("#generate").inner_text() == "توليد"
    page.locator("#generate").click()
    page.get_by_text("الوصف فارغ").wait_for()  # said by the server
    make_a_clip(page)
    assert page.locator("#status p").inner_text().startswith("صُنع في")
    page.get_by_role("tab").nth(1).click()  # its choices come back to the server untranslated
    page.locator("#library .thumbnail-item").wait_for()
    page.get_by_role("tab").first.click()
    form, clip = (page.locator(name).bounding_box() for name in ("#prompt", "#clip"))
    assert form["x"] > clip["x"]
    page.context.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("locale", "generate"), [("pt-BR", "Gerar"), ("zh-TW", "生成"), ("pl", "Generate")]
)
def test_a_browsers_first_language_is_the_pages(browser, address, locale, generate):
    page = opened(browser, address, locale=locale)
    assert page.locator("#generate").inner_text() == generate
    page.context.close()
