"""Everything on one page: `python app.py`, `make demo` or `python -m ltx2 serve`, with flags."""

import os
from pathlib import Path

import typer

from evaluation.ui.rating import open_rating, rating_routers
from evaluation.ui.rating_tabs import rating_tabs
from evaluation.ui.suites import suites_tab
from ltx2.clip import Clip
from ltx2.errors import LTX2Error
from ltx2.media.guarded import read_clip_guarded
from ltx2.request import Request
from ltx2.serving.zero_gpu import is_zero_gpu
from ltx2.settings import Settings
from ltx2.ui.serve_command import command_with
from ltx2.ui.server import run_server


def run(settings: Settings) -> None:
    """Serve the page, with judging, until the process is stopped."""
    rating = open_rating(settings, os.environ)
    run_server(
        settings,
        lends_gpu=is_zero_gpu(os.environ),
        routers=rating_routers(rating),
        extra_tabs=(*rating_tabs(rating), suites_tab(settings)),
        examine=examine,
        score=lip_sync,
    )


def examine(clip: Path, request: Request) -> str:
    """The health card of a clip, decoded by another process; what it needs comes with the first."""
    from evaluation.ui.health import examine as find_faults

    return find_faults(read_clip_guarded(clip), request)


def lip_sync(clip: Clip) -> float | None:
    """How well lips and voice go together; what it needs is loaded with the first clip."""
    from evaluation.metrics.best import lip_sync as measure

    return measure(clip)


def main() -> None:
    """Serve as the command line and the environment say."""
    try:
        typer.run(command_with(run))
    except LTX2Error as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
