"""How long a visitor waits: for the page after the server's start, and for the first two clips.

The page with the embedded checkpoint, in a real browser (Debian's chromium). The first clip loads
the model, the second does not: the one is raced against the other.

    python -m benchmarks.first_clip
"""

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.served import CLIP_S, chromium, served_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

MADE_JS = """
(before) => {
    const video = document.querySelector("#clip video");
    return video && video.readyState >= 3 && video.currentSrc !== before;
}
"""


def main() -> None:
    """Start the page, make two clips and print the seconds."""
    folder = Path(tempfile.mkdtemp())
    with chromium() as browser:
        started = time.monotonic()
        with served_page(["app.py"], folder, LTX2_DATA=str(folder / "data")) as address:
            page = browser.new_page()
            page.goto(address)
            page.locator("#generate").wait_for()
            print(f"page shown {time.monotonic() - started:.1f} s after the server's start")
            page.locator("#examples button").first.click()
            page.wait_for_function("() => document.querySelector('#prompt textarea').value")
            first, second = seconds_to_clip(page), seconds_to_clip(page)
    print(f"first clip on screen {first:.1f} s after the click")
    print(f"second clip {second:.1f} s after the click, {second / first:.2f} of the first")


def seconds_to_clip(page: "Page") -> float:
    """From the click on Generate until a new clip can be played."""
    before = page.evaluate("document.querySelector('#clip video')?.currentSrc ?? ''")
    clicked = time.monotonic()
    page.locator("#generate").click()
    page.wait_for_function(MADE_JS, arg=before, timeout=CLIP_S)
    return time.monotonic() - clicked


if __name__ == "__main__":
    main()
