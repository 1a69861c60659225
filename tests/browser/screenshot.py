"""The README's pictures of the page, taken anew: `python -m tests.browser.screenshot`."""

import tempfile
from pathlib import Path

from tests.browser.served import chromium, served_page
from tests.conftest import ROOT

FOLDER = ROOT / "ltx2" / "ui" / "static"

SIZE = {"width": 1280, "height": 980}

PATIENCE_MS = 300_000


def main() -> None:
    """Photograph an example's clip of the embedded checkpoint, then a dialogue and its clip."""
    folder = Path(tempfile.mkdtemp())
    data = str(folder / "data")
    with served_page(["app.py"], folder, LTX2_DATA=data) as address, chromium() as browser:
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        page.locator("#examples button").first.click()
        _photograph(page, "screenshot.png")
        page.locator("#mode").get_by_label("Dialogue", exact=True).check()
        page.get_by_role("button", name="Add a speaker").click()
        speakers = page.locator("#composer .speaker")
        # The first one was read from the prompt, where nobody stands to the side.
        speakers.nth(0).get_by_label("Place").select_option("left")
        speakers.nth(1).get_by_label("Place").select_option("right")
        speakers.nth(0).get_by_label("Looks 3").select_option(label="a top hat")
        speakers.nth(1).get_by_label("Looks 1").select_option(label="blue")
        page.get_by_role("button", name="Add a line").click()
        lines = page.locator("#composer .line")
        lines.nth(0).locator(".said select").select_option("hello")
        lines.nth(1).locator(".said select").select_option("goodbye")
        page.wait_for_function(
            "() => document.querySelector('#prompt textarea').value.includes('goodbye')"
        )
        _photograph(page, "dialogue.png")


def _photograph(page, name):
    """Make the clip that is asked for, and the picture once everything about it is there."""
    before = page.url
    page.locator("#generate").click()
    page.wait_for_function("(before) => location.href !== before", arg=before)
    page.locator("#status").get_by_text("Made in").wait_for()
    page.locator("#summary p").wait_for()
    page.locator("#health .health").wait_for()
    page.wait_for_timeout(1_500)
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.screenshot(path=FOLDER / name)


if __name__ == "__main__":
    main()
