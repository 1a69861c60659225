"""Runs side by side: what was made, and each question's answer with its interval."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.reports.measured.estimates import Estimate, share_of
from evaluation.reports.measured.results import Row, RunResults
from evaluation.reports.measured.windows import is_in_step
from evaluation.reports.parts import Cell, Notes, Section, Span, SpanRow, Spans, Table

LEAST_SPEECH_S = 0.5
"""Less than this is no speech."""

FEW_ITEMS = 30
"""Fewer speech clips than this tell little about a model."""


@dataclass(frozen=True)
class Question:
    """A yes or no, or a share, that a measurement answers for one clip.

    Attributes:
        text: what the share is of.
        metric: that answers it.
        answer: of a measured row, 0 to 1.
        better: which end of the scale is good.
    """

    text: str
    metric: str
    answer: Callable[[Row], float]
    better: str


def _value(row: Row) -> float:
    return float(row.value if row.value is not None else math.nan)


QUESTIONS = (
    Question(
        "Somebody speaks where speech was asked",
        "speech.present",
        lambda row: float(_value(row) >= LEAST_SPEECH_S),
        "higher",
    ),
    Question("The language asked is the one heard", "language.match", _value, "higher"),
    Question("Words or characters wrong", "language.word_error", _value, "lower"),
    Question(
        "Lines said by the face asked, mean over clips", "speakers.accuracy", _value, "higher"
    ),
    Question(
        "Lips in step: offset within -125 to +45 ms",
        "lip_sync.landmarks",
        lambda row: float(is_in_step(_value(row))),
        "higher",
    ),
    Question(
        "Impacts in step: offset within -125 to +45 ms",
        "impacts.offset",
        lambda row: float(is_in_step(_value(row))),
        "higher",
    ),
    Question(
        "No technical fault found",
        "health",
        lambda row: float(row.details.get("verdict") in ("fine", "not measured")),
        "higher",
    ),
)


def summary(runs: Sequence[RunResults]) -> Section:
    """What was asked and made, then the answers on one scale."""
    return Section("Summary", [_made(runs), Notes(_cautions(runs)), *_answers(runs)])


def estimate(run: RunResults, question: Question) -> Estimate | None:
    """The answer over a run's measurable clips; None where there is none."""
    return share_of(
        (item.item, question.answer(row))
        for item, row in run.asked(question.metric)
        if row.metric == question.metric
        and row.status == "ok"
        and _is_asked(question, item.expected)
    )


def _is_asked(question: Question, expected: object) -> bool:
    return question.metric != "speech.present" or bool(getattr(expected, "lines", ()))


def _made(runs: Sequence[RunResults]) -> Table:
    rows: list[list[str | Cell]] = []
    for run in runs:
        records = list(run.items.values())
        counts = {s: sum(r.status == s for r in records) for s in ("ok", "error", "skipped")}
        seconds = [r.seconds for r in records if r.status == "ok" and r.seconds]
        rows.append(
            [
                run.name,
                run.run.suite,
                str(len(run.run.keys)),
                str(counts["ok"]),
                Cell(str(counts["error"]), "bad" if counts["error"] else ""),
                str(counts["skipped"]),
                str(len(run.run.keys) - len(records)),
                ", ".join(map(str, run.run.seeds)),
                f"{np.median(seconds):.1f} s" if seconds else "",
            ]
        )
    heads = ["Run", "Suite", "Asked", "Made", "Failed", "Left out", "Not yet tried", "Seeds"]
    return Table(
        "What was asked for and what became of it, in clips; the time is the median of making one.",
        [*heads, "Time"],
        rows,
        (2, 3, 4, 5, 6, 8),
    )


def _answers(runs: Sequence[RunResults]) -> list[Spans]:
    rows = []
    for question in QUESTIONS:
        for run in runs:
            asked = [
                row
                for item, row in run.asked(question.metric)
                if row.metric == question.metric and _is_asked(question, item.expected)
            ]
            if not asked:
                continue
            rows.append(_answer(run, question, asked))
    if not rows:
        return []
    return [
        Spans(
            "Answers over the clips that could be measured.",
            "share (%)",
            rows,
            scale=(0.0, 100.0),
            heads_before=["Clips", "Not measurable"],
            heads_after=["Share", "95 %"],
            name_head="Run",
            legend="Bars are 95 % intervals over the suite's items (Wilson); clips of one item "
            "with several seeds count as one.",
        )
    ]


def _answer(run: RunResults, question: Question, asked: Sequence[Row]) -> SpanRow:
    missing = sum(row.status != "ok" for row in asked)
    share = f"{missing / len(asked):.0%}"
    before: list[str | Cell] = [
        str(len(asked) - missing),
        Cell(share, "unsure" if missing else "", missing / len(asked)),
    ]
    group = f"{question.text} ({question.better} is better)"
    found = estimate(run, question)
    if found is None:
        return SpanRow(run.name, None, before, ["", "nothing measurable"], group)
    span = Span(100 * found.value, 100 * found.low, 100 * found.high)
    after = [f"{found.value:.0%}", f"{found.low:.0%} to {found.high:.0%}"]
    return SpanRow(run.name, span, before, after, group)


def _cautions(runs: Sequence[RunResults]) -> list[str]:
    """What a reader should know before comparing."""
    found = []
    if unscored := [run.name for run in runs if not run.rows]:
        found.append(
            f"Not measured yet: {', '.join(unscored)}. Run: python -m evaluation score RUN"
        )
    digests = {(run.run.suite, run.run.suite_digest) for run in runs}
    if len(digests) > 1:
        found.append(
            "These runs are of different suites, or of different parts or versions of one: their "
            "shares are of different prompts and do not rank the models."
        )
    elif (
        len({frozenset(r.item for r in run.items.values() if r.status == "ok") for run in runs}) > 1
    ):
        found.append(
            "The runs do not have clips of the same items: what failed or was left out is missing "
            "from one side only."
        )
    for run in runs:
        speech = {r.item for r in run.items.values() if r.expected.lines and r.status == "ok"}
        if 0 < len(speech) < FEW_ITEMS:
            found.append(
                f"{run.name} has {len(speech)} items with speech; fewer than {FEW_ITEMS} tell "
                "little about a model."
            )
    versions: dict[str, set[tuple[int, str]]] = {}
    for run in runs:
        for row in run.rows:
            versions.setdefault(row.metric, set()).add((row.version, row.measured_by))
    if mixed := sorted(name for name, kinds in versions.items() if len(kinds) > 1):
        found.append(
            f"Measured by different versions or models: {', '.join(mixed)}. Score all runs again "
            "before comparing them."
        )
    if len({seed for run in runs for seed in run.run.seeds}) == 1:
        found.append("Every item was made with one seed: luck of the draw is not told from skill.")
    return found
