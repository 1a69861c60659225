"""The page: settings, the model, the page, launch. `python app.py`, or `make demo`."""

import logging
import os

from ltx2.errors import LTX2Error
from ltx2.settings import Settings
from ltx2.ui.page import build_page, serve
from ltx2.ui.studio import open_studio


def main() -> None:
    """Serve the page until the process is stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio's calls to itself
    try:
        settings = Settings.from_environment(os.environ)
        studio = open_studio(settings)
    except LTX2Error as error:
        raise SystemExit(str(error)) from error
    serve(build_page(studio), open_browser=settings.open_browser)


if __name__ == "__main__":
    main()
