"""Command `serve`: a flag for each setting, with the variable of the environment beside it."""

import inspect
import os
from dataclasses import fields
from typing import Annotated, Any

import typer

from ltx2.settings import Settings, described, flag_of, variable_of


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
    from ltx2.ui.server import run_server

    run_server(settings)


def _parameters() -> list[inspect.Parameter]:
    """What Typer makes flags of; the variables are named in the help and read by `Settings`."""
    parameters = []
    said = described()
    for item in fields(Settings):
        is_switch = isinstance(item.default, bool)
        flag = flag_of(item.name)
        names = (f"{flag}/--no-{flag[2:]}",) if is_switch else (flag,)
        default = "" if item.default in (None, "", False) else f" Usually {item.default}."
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


serve.__signature__ = inspect.Signature(_parameters())  # type: ignore[attr-defined]
serve.__annotations__ = {}
