"""The report on runs, put together from its panels."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.reports.document import render_document
from evaluation.reports.measured.agreement import Judgement, metrics_and_people
from evaluation.reports.measured.clips import BUDGET_BYTES, clips
from evaluation.reports.measured.drift import drift
from evaluation.reports.measured.languages import languages
from evaluation.reports.measured.measurable import measurable
from evaluation.reports.measured.offsets import offsets
from evaluation.reports.measured.provenance import provenance
from evaluation.reports.measured.published import published
from evaluation.reports.measured.results import RunResults
from evaluation.reports.measured.speakers import speakers
from evaluation.reports.measured.summary import summary
from evaluation.reports.parts import Section


def panels(
    runs: Sequence[RunResults],
    *,
    control: RunResults | None = None,
    calibrations: Sequence[Mapping[str, Any]] = (),
    votes: Sequence[Judgement] | None = None,
) -> list[Section]:
    """What was measured, for a report and for the page.

    Args:
        runs: at least one.
        control: a scored run over recordings of people, whose errors are the recogniser's own.
        calibrations: records of `python -m evaluation calibrate --json`.
        votes: of people on any clips; None leaves the comparison with people out.
    """
    sections = [
        summary(runs),
        languages(runs, control),
        offsets(runs, calibrations),
        speakers(runs),
        drift(runs),
        measurable(runs),
        None if votes is None else metrics_and_people(runs, votes),
    ]
    return [section for section in sections if section is not None]


def run_report(
    runs: Sequence[RunResults],
    *,
    control: RunResults | None = None,
    calibrations: Sequence[Mapping[str, Any]] = (),
    votes: Sequence[Judgement] | None = None,
    clip_bytes: int = BUDGET_BYTES,
) -> str:
    """The whole report as HTML that needs nothing else; arguments as of `panels`.

    Args:
        clip_bytes: that clips may take; 0 leaves them out.
    """
    sections = panels(runs, control=control, calibrations=calibrations, votes=votes)
    shown = clips(runs, clip_bytes) if clip_bytes else None
    models = list(dict.fromkeys(str(run.run.generator["name"]) for run in runs))
    suites = list(dict.fromkeys(run.run.title for run in runs))
    return render_document(
        ", ".join(models),
        [
            sections[0],
            *([shown] if shown is not None else []),
            *sections[1:],
            published(),
            provenance(runs),
        ],
        lead=f"Clips of {_listed(suites)}, measured without a person's judgement unless said.",
        foot="Made from the records of the runs alone; `python -m evaluation report` repeats it.",
    )


def _listed(names: Sequence[str]) -> str:
    quoted = [f"“{name}”" for name in names]
    if len(quoted) == 1:
        return f"the suite {quoted[0]}"
    return f"the suites {', '.join(quoted[:-1])} and {quoted[-1]}"
