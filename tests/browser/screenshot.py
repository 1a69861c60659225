"""The README's picture of the page, taken anew: `python -m tests.browser.screenshot`."""

import tempfile
from pathlib import Path

from tests.browser.served import chromium, served_page
from tests.conftest import ROOT

TARGET = ROOT / "ltx2" / "ui" / "static" / "screenshot.png"

SIZE = {"width": 1280, "height": 860}


def main() -> None:
    """Make the first example's clip on the embedded checkpoint and photograph the page."""
    folder = Path(tempfile.mkdtemp())
    data = str(folder / "data")
    with served_page(["app.py"], folder, LTX2_DATA=data) as address, chromium() as browser:
        page = browser.new_page(viewport=SIZE)
        page.goto(address)
        page.locator("#examples button").first.click()
        page.locator("#generate").click()
        page.locator("#summary p").wait_for(timeout=300_000)
        page.wait_for_timeout(700)
        page.mouse.move(0, 0)
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=TARGET)


if __name__ == "__main__":
    main()
