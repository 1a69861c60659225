"""Command `serve`: a flag for each setting, with the variable of the environment beside it."""

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from ltx2.settings import Settings, described, flag_of, variable_of

PROGRAM = Path(__file__).parents[2] / "app.py"
"""Serves this package's page together with what judges clips, in a checkout of the repository."""


def command_with(run: Callable[[Settings], None]) -> Callable[..., None]:
    """A command with a flag for every setting.

    Args:
        run: serves until the process is stopped.
    """

    def serve(**given: str | bool | None) -> None:
        """Serve the page and the interface for programs until the process is stopped.

        A flag goes before its variable of the environment.
        """
        chosen = {
            name: str(int(value)) if isinstance(value, bool) else value
            for name, value in given.items()
            if value is not None
        }
        settings = Settings.from_environment(os.environ, changed=chosen)
        if settings.process is None:
            run(settings)
        else:
            _process(settings.process, settings)

    serve.__signature__ = inspect.Signature(_parameters())  # type: ignore[attr-defined]
    serve.__annotations__ = {}
    return serve


def run_everything(settings: Settings) -> None:
    """Serves all there is: as `app.py` does where it lies beside this package, else the page alone.

    This package knows nothing of what judges its clips, so the program is asked, not imported.
    """
    if not PROGRAM.is_file():
        from ltx2.ui.server import run_server

        run_server(settings)
        return
    sys.path.insert(0, str(PROGRAM.parent))
    spec = importlib.util.spec_from_file_location("app", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    program.run(settings)


def _process(file: Path, settings: Settings) -> None:
    """Makes the clips of a grid, and tells of each; exits with 1 if one could not be made."""
    from ltx2.serving.process import Refused, make_clips, plan_clips

    if settings.dry_run:
        for planned in plan_clips(file, settings):
            typer.echo(f"{planned.name}: {planned.sentence}")
        return
    num_refused = 0
    for made in make_clips(file, settings):
        typer.echo(f"{made.name}: {made.sentence}")
        num_refused += isinstance(made, Refused)
    if num_refused:
        raise typer.Exit(1)


def _parameters() -> list[inspect.Parameter]:
    """What Typer makes flags of; the variables are named in the help and read by `Settings`."""
    parameters = []
    said = described()
    for item in fields(Settings):
        is_switch = isinstance(item.default, bool)
        flag = flag_of(item.name)
        names = (f"{flag}/--no-{flag[2:]}",) if is_switch else (flag, *said[item.name].also)
        is_told = item.default not in (None, "", (), False, True)
        default = f" Usually {item.default}." if is_told else ""
        option = typer.Option(
            *names,
            help=f"{said[item.name].help}{default} [{variable_of(item.name)}]",
            show_default=False,
        )
        kind: Any = bool | None if is_switch else str | None
        parameters.append(
            inspect.Parameter(
                item.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[kind, option],
            )
        )
    return parameters


serve = command_with(run_everything)
