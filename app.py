"""The page: `python app.py`, or `make demo`, or `python -m ltx2 serve` with flags."""

import os

from evaluation.ui.rating import rating_routers
from ltx2.errors import LTX2Error
from ltx2.serving.zero_gpu import is_zero_gpu
from ltx2.settings import Settings
from ltx2.ui.server import run_server


def main() -> None:
    """Serve the page until the process is stopped."""
    try:
        settings = Settings.from_environment(os.environ)
        run_server(
            settings,
            lends_gpu=is_zero_gpu(os.environ),
            routers=rating_routers(settings, os.environ),
        )
    except LTX2Error as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
