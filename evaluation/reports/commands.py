"""The command `python -m evaluation study report`; heavy imports wait until it runs."""

from pathlib import Path
from typing import Annotated

import typer

from evaluation.preference.study_commands import StudyId, opened_store
from ltx2.errors import ResourceError
from ltx2.files import replaced


def report(
    study_id: StudyId,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
) -> None:
    """Writes all that a study has found as one file of HTML."""
    from evaluation.preference.findings import find
    from evaluation.reports.preference import study_report

    with opened_store() as store:
        html = study_report(find(store, study_id))
    write_report(out, html)
    typer.echo(str(out))


def write_report(out: Path, html: str) -> None:
    """Keeps a report.

    Raises:
        ResourceError: it cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replaced(out) as part:
            part.write_text(html, encoding="utf-8")
    except OSError as error:
        raise ResourceError(
            f"{out} cannot be written: {error.strerror}.",
            next_step="Free disk space, or choose another folder.",
        ) from error
