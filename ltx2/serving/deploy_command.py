"""Command `deploy-space`: the page as a Space on Hugging Face."""

import os
import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ltx2.errors import RequestError

NAME = re.compile(r"[\w.-]+/[\w.-]+")


def deploy_space(
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Of the Space.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only write the folder that would be uploaded.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder that --dry-run writes; new or empty.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="A new Space is seen by you alone.")
    ] = False,
    hardware: Annotated[
        str | None, typer.Option(help='As the Hub calls it: "cpu-basic", "zero-a10g", ...')
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Variable to set as a secret, from here; repeatable."),
    ] = None,
) -> None:
    """Create or renew a Space on Hugging Face with this program and its embedded weights."""
    from ltx2.serving.space import upload_space, write_space

    if not NAME.fullmatch(name):
        raise RequestError(f"The Space is called {name!r}.", next_step="Write OWNER/NAME.")
    secrets = {variable: _value_of(variable) for variable in secret or ()}
    if dry_run:
        folder = out or Path(name.partition("/")[2])
        files = write_space(folder, hardware=hardware)
        size = sum((folder / file).stat().st_size for file in files)
        typer.echo(f"{folder}: {len(files)} files, {size / 1e6:.1f} MB. Nothing was uploaded.")
        return
    if out is not None:
        raise RequestError("--out is given without --dry-run.", next_step="Add --dry-run.")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_space(folder, hardware=hardware)
        address = upload_space(folder, name, is_private=private, hardware=hardware, secrets=secrets)
    typer.echo(f"{address} is being built.")


def _value_of(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise RequestError(
            f"The variable {variable} is not set here.",
            next_step=f"Set it, as in `{variable}=... python -m ltx2 deploy-space`.",
        )
    return value
