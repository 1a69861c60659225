"""The page on the stand-in model, for browser tests: `python -m tests.browser.stand_in_app`."""

import logging
import os
import sys
from dataclasses import replace
from pathlib import Path

from evaluation.ui.health import examine
from ltx2.errors import GenerationError
from ltx2.serving.access import Door
from ltx2.serving.downloads import Downloads
from ltx2.serving.models import Models, Offer
from ltx2.serving.store import Store
from ltx2.serving.worker import JobQueue
from ltx2.settings import Settings
from ltx2.ui.page import build_page, serve
from tests.fakes.model import PROFILE, FakeModel

ERRORS = {
    "ours": GenerationError("The numbers overflowed.", next_step="Try another seed."),
    "unexpected": RuntimeError("secret detail"),
}


class MoodyModel(FakeModel):
    """Fails on purpose when the prompt asks for it."""

    def __call__(self, request, **watching):
        self.error = ERRORS.get(request.prompt)
        return super().__call__(request, **watching)


def main() -> None:
    """Serve until stopped."""
    logging.basicConfig(level=logging.INFO)
    step_s = float(os.environ.get("STAND_IN_STEP_S", "0.15"))
    offers = [Offer("stand-in", PROFILE, lambda loras: MoodyModel(step_s=step_s))]
    if os.environ.get("STAND_IN_MODELS") == "2":
        quick = PROFILE.model_copy(update={"num_steps": 2, "sigmas": (1.0, 0.5, 0.0)})
        loras = {name: Path(f"{name}.safetensors") for name in ("paper", "ink")}
        offers.insert(0, replace(offers[0], name="stand-in-quick", profile=quick))
        offers[1] = replace(offers[1], loras=loras, stages=frozenset({"space"}))
    if os.environ.get("STAND_IN_VOCABULARY") == "1":
        from ltx2.training.puppet.taught import with_vocabulary

        offers = [replace(o, profile=with_vocabulary(o.profile)) for o in offers]
    folder = Path(sys.argv[1])
    queue = JobQueue(Store(folder / "jobs.sqlite"), [Models(offers)], folder / "clips")
    queue.start()
    settings = Settings.from_environment({**os.environ, "LTX2_DATA": str(folder)})
    door = Door(settings)
    serve(
        build_page(
            queue,
            door=door,
            settings=settings,
            downloads=Downloads(folder / "models"),
            examine=examine,
        ),
        queue,
        door=door,
        auth=settings.login,
        look=settings.theme,
    )


if __name__ == "__main__":
    main()
