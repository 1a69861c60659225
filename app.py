"""The page: settings, the queue, the page, launch. `python app.py`, or `make demo`."""

import logging
import os

from ltx2.errors import LTX2Error
from ltx2.serving.models import Models, open_offers
from ltx2.serving.store import Store
from ltx2.serving.worker import JobQueue
from ltx2.settings import Settings
from ltx2.ui.page import build_page, serve


def main() -> None:
    """Serve the page until the process is stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio's calls to itself
    try:
        settings = Settings.from_environment(os.environ)
        models = Models(open_offers(settings), device=settings.device)
        queue = JobQueue(Store(settings.data / "jobs.sqlite"), [models], settings.data / "clips")
    except LTX2Error as error:
        raise SystemExit(str(error)) from error
    queue.start()
    try:
        serve(build_page(queue), queue, open_browser=settings.open_browser)
    finally:
        queue.close()
        queue.store.close()


if __name__ == "__main__":
    main()
