"""The page with the Suites tab on the stand-in model: `python -m tests.browser.suites_app`."""

import os
import sys
from pathlib import Path

from evaluation.ui.suites import suites_tab
from ltx2.serving.access import Door
from ltx2.serving.downloads import Downloads
from ltx2.serving.models import Models, Offer
from ltx2.serving.store import Store
from ltx2.serving.worker import JobQueue
from ltx2.settings import Settings
from ltx2.ui.page import build_page, serve
from tests.fakes.model import PROFILE, FakeModel


def main() -> None:
    """Serve until stopped."""
    step_s = float(os.environ.get("STAND_IN_STEP_S", "0"))
    folder = Path(sys.argv[1])
    offers = [Offer("stand-in", PROFILE, lambda loras: FakeModel(step_s=step_s))]
    queue = JobQueue(Store(folder / "jobs.sqlite"), [Models(offers)], folder / "clips")
    queue.start()
    settings = Settings.from_environment({**os.environ, "LTX2_DATA": str(folder)})
    door, tab = Door(settings), suites_tab(settings)
    serve(
        build_page(
            queue,
            door=door,
            settings=settings,
            downloads=Downloads(folder / "models"),
            extra_tabs=[tab],
        ),
        queue,
        door=door,
        styles=tab.styles,
    )


if __name__ == "__main__":
    main()
