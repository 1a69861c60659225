"""Command line: `python -m evaluation`, judging clips from suites to reports.

Commands import what they need when they run, so that `--help` answers at once.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from evaluation.metrics.commands import calibrate
from evaluation.preference.commands import plan, rank
from evaluation.preference.study_commands import study
from evaluation.reports.commands import report
from evaluation.reports.run_commands import run_report
from evaluation.suites.commands import run, score, suites
from ltx2.errors import LTX2Error

EXIT_ERROR = 2

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _describe_program() -> None:
    """Judges clips of any model, by people and by measurements."""


def _checked(command: Callable[..., Any]) -> Callable[..., None]:
    """The command whose foreseen failures become a line and an exit code."""

    @wraps(command)
    def checked(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except LTX2Error as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(EXIT_ERROR) from error

    return checked


def _add(command: Callable[..., None]) -> None:
    app.command()(_checked(command))


def _add_group(group: typer.Typer, name: str) -> None:
    for command in group.registered_commands:
        if command.callback is not None:
            command.callback = _checked(command.callback)
    app.add_typer(group, name=name)


study.command()(report)

_add_group(suites, "suites")
_add_group(study, "study")
_add(run)
_add(score)
app.command("report")(_checked(run_report))
_add(calibrate)
_add(rank)
_add(plan)


if __name__ == "__main__":
    app(prog_name="python -m evaluation")
