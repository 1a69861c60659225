"""The page with its studies on the stand-in model: `python -m tests.browser.studies_app FOLDER`."""

import logging
import os
import sys
from pathlib import Path

from evaluation.ui.rating import open_rating, rating_routers
from evaluation.ui.rating_tabs import rating_tabs
from ltx2.serving.access import Door
from ltx2.serving.downloads import Downloads
from ltx2.serving.models import Models, Offer
from ltx2.serving.store import Store
from ltx2.serving.worker import JobQueue
from ltx2.settings import Settings
from ltx2.ui.page import build_page, serve
from tests.fakes.model import PROFILE, FakeModel


def main(folder: Path) -> None:
    """Serve until stopped."""
    logging.basicConfig(level=logging.INFO)
    offer = Offer("stand-in", PROFILE, lambda loras: FakeModel(step_s=0.01))
    queue = JobQueue(Store(folder / "jobs.sqlite"), [Models([offer])], folder / "clips")
    queue.start()
    settings = Settings.from_environment({**os.environ, "LTX2_DATA": str(folder)})
    door = Door(settings)
    rating = open_rating(settings, os.environ)
    tabs = rating_tabs(rating)
    page = build_page(
        queue,
        door=door,
        settings=settings,
        downloads=Downloads(folder / "models"),
        extra_tabs=tabs,
    )
    styles = [path for tab in tabs for path in tab.styles]
    serve(page, queue, door=door, routers=rating_routers(rating), styles=styles)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
