"""`study new|open|status|export|close`: studies from the command line, beside a running server."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from evaluation.preference import export as exporting
from evaluation.preference.opening import open_study
from evaluation.preference.store import Store, sqlite_url
from evaluation.preference.study import read_study
from ltx2.settings import Settings

study = typer.Typer(help="Blind side-by-side ratings.", no_args_is_help=True)

StudyId = Annotated[str, typer.Argument(help="As `study status` lists it.")]


def data_folder() -> Path:
    """Where studies and the clips they show are."""
    return Settings.from_environment(os.environ).data / "studies"


def database_url() -> str:
    """LTX2_DATABASE_URL, or a SQLite file in the data folder."""
    return os.environ.get("LTX2_DATABASE_URL") or sqlite_url(data_folder() / "studies.db")


@study.command()
def new(path: Annotated[Path, typer.Argument(help="YAML of the study.")]) -> None:
    """Keeps a study as a draft and prints its id."""
    store = Store(database_url())
    typer.echo(store.create(read_study(path)).id)
    store.close()


@study.command(name="open")
def open_(study_id: StudyId) -> None:
    """Checks and prepares the clips, draws the sessions, hashes the plan, lets raters in."""
    store = Store(database_url())
    started = time.monotonic()

    def on_pair(done: int, of: int) -> None:
        typer.echo(f"pair {done + 1} of {of} ({time.monotonic() - started:.0f} s)", err=True)

    entry = open_study(store, study_id, data_folder(), on_pair=on_pair)
    typer.echo(f"open; plan {entry.content['plan_sha256']}, log {entry.hash}")
    store.close()


@study.command()
def status(
    study_id: Annotated[str, typer.Argument(help="One study; all without it.")] = "",
) -> None:
    """Studies with their raters and votes; the log's chain of hashes is checked."""
    store = Store(database_url())
    chosen = [store.study(study_id)] if study_id else store.studies()
    for row in chosen:
        counts = store.counts(row.id)
        entries = store.verify(row.id)
        typer.echo(
            f"{row.id}  {row.status:6}  {counts['joined']} of {counts['sessions']} raters, "
            f"{counts['votes']} votes, {entries} entries checked, last {store.head(row.id)[:16]}  "
            f"{row.plan.name}"
        )
    store.close()


@study.command()
def export(
    study_id: StudyId,
    path: Annotated[Path, typer.Argument(help=".csv, .jsonl or .parquet.")],
    every_kind: Annotated[
        bool, typer.Option(help="Also training, attention and repeat pairs.")
    ] = False,
) -> None:
    """Writes the votes in the columns that `rank` reads."""
    store = Store(database_url())
    store.verify(study_id)
    table = exporting.rows(store, study_id, every_kind=every_kind)
    typer.echo(f"{len(table)} rows in {exporting.write_rows(table, path)}")
    store.close()


@study.command()
def close(study_id: StudyId) -> None:
    """Takes no more votes, for good."""
    store = Store(database_url())
    typer.echo(f"closed; log {store.set_status(study_id, 'closed').hash}")
    store.close()
