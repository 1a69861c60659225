"""The command `python -m evaluation report`; heavy imports wait until it runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evaluation.preference.study_commands import opened_store
from evaluation.reports.commands import write_report
from ltx2.errors import RequestError

if TYPE_CHECKING:
    from evaluation.reports.measured.agreement import Judgement


def run_report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    out: Annotated[Path, typer.Option(help="The file of HTML.")],
    control: Annotated[
        Path | None,
        typer.Option(help="Scored run over recordings of people: the recogniser's own errors."),
    ] = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(help="Output of `calibrate lip-sync --json`; repeatable."),
    ] = None,
    votes: Annotated[
        bool,
        typer.Option("--votes", help="Compare metrics with the votes of this server's studies."),
    ] = False,
    clip_megabytes: Annotated[
        float, typer.Option(min=0, help="Most that clips may take in the file; 0 leaves them out.")
    ] = 12.0,
) -> None:
    """Write one self-contained file of HTML about runs that were scored."""
    from evaluation.reports.measured.report import run_report as render
    from evaluation.reports.measured.results import load_results

    controls = load_results([control]) if control is not None else ()
    html = render(
        load_results(runs),
        control=controls[0] if controls else None,
        calibrations=[_calibration(path) for path in calibration or ()],
        votes=_votes() if votes else None,
        clip_bytes=round(clip_megabytes * 1e6),
    )
    write_report(out, html)
    typer.echo(f"{out}: {len(html.encode()) / 1e6:.1f} MB")


def _calibration(path: Path) -> dict[str, Any]:
    """The last line of a file, which is what the command prints with --json."""
    try:
        record = json.loads(path.read_text(encoding="utf-8").strip().splitlines()[-1])
        if not isinstance(record["rows"], list):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise RequestError(
            f"{path} is no calibration.",
            next_step="Make one with: python -m evaluation calibrate lip-sync FOLDER --json",
        ) from error
    return {"name": path.stem, **record}


def _votes() -> "list[Judgement]":
    from evaluation.reports.measured.agreement import judgements

    with opened_store() as store:
        return [vote for study in store.studies() for vote in judgements(store, study.id)]
