"""The page on the stand-in model, for browser tests: `python -m tests.browser.stand_in_app`."""

import logging
import os

from ltx2.errors import GenerationError
from ltx2.ui.page import build_page, serve
from ltx2.ui.studio import Studio
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
    studio = Studio(name="stand-in", profile=PROFILE, load=lambda: MoodyModel(step_s=step_s))
    serve(build_page(studio))


if __name__ == "__main__":
    main()
