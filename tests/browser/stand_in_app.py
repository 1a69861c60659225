"""The page on the stand-in model, for browser tests: `python -m tests.browser.stand_in_app`."""

import logging
import os
from dataclasses import replace
from pathlib import Path

from ltx2.errors import GenerationError
from ltx2.ui.page import build_page, serve
from ltx2.ui.studio import Offer, Studio
from tests.fakes.model import PROFILE, FakeModel

ERRORS = {
    "ours": GenerationError("The numbers overflowed.", next_step="Try another seed."),
    "unexpected": RuntimeError("secret detail"),
}


class MoodyModel(FakeModel):
    """Fails on purpose when the prompt asks for it."""

    def __call__(self, request, *, on_progress, should_cancel):
        self.error = ERRORS.get(request.prompt)
        return super().__call__(request, on_progress=on_progress, should_cancel=should_cancel)


def main() -> None:
    """Serve until stopped."""
    logging.basicConfig(level=logging.INFO)
    step_s = float(os.environ.get("STAND_IN_STEP_S", "0.15"))
    offers = [Offer("stand-in", PROFILE, lambda loras: MoodyModel(step_s=step_s))]
    if os.environ.get("STAND_IN_MODELS") == "2":
        quick = PROFILE.model_copy(update={"num_steps": 2, "sigmas": (1.0, 0.5, 0.0)})
        offers[0] = replace(offers[0], loras={"paper": Path("paper.safetensors")})
        offers.insert(0, replace(offers[0], name="stand-in-quick", profile=quick, loras={}))
    serve(build_page(Studio(offers)))


if __name__ == "__main__":
    main()
