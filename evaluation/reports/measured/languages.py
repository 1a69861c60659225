"""How well each language is spoken."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.metrics.language_gap import LanguageGap, Score, language_gaps
from evaluation.metrics.wording import base_language
from evaluation.reports.measured.estimates import share_of
from evaluation.reports.measured.results import RunResults
from evaluation.reports.parts import (
    Cell,
    Folded,
    Notes,
    Part,
    Section,
    Span,
    SpanRow,
    Spans,
    Table,
)
from evaluation.suites.yaml_lines import read_yaml

FLOOR = Path(__file__).parents[1] / "data" / "recogniser_floor.yaml"
"""Written by `evaluation.reports.recogniser_floor`."""
WORD_ERROR, MATCH = "language.word_error", "language.match"


def languages(runs: Sequence[RunResults], control: RunResults | None = None) -> Section | None:
    """Bars of errors by language, the languages heard, and gaps to English; None without speech.

    Args:
        runs: of models.
        control: a run over recordings of people, measured the same way: what the recogniser gets
            wrong in real speech.
    """
    spoken = [run for run in runs if any(run.of(WORD_ERROR, MATCH))]
    if not any(item.expected.lines for run in spoken for item, _ in run.of(WORD_ERROR, MATCH)):
        return None
    floor = _floor(control)
    parts: list[Part] = [_errors(spoken), *_heard(spoken), *_synthetic(spoken)]
    for run in spoken:
        gaps = language_gaps(_scores(run), floor) if floor else ()
        if any(gap.gap is not None for gap in gaps):
            parts.append(_gaps(run, gaps))
    return Section("Languages", [Notes(_cautions(spoken, floor)), *parts])


def _errors(runs: Sequence[RunResults]) -> Spans:
    rows = []
    tags = sorted({item.language for run in runs for item, _ in run.of(WORD_ERROR)})
    for tag in (t for t in tags if t != "zxx"):
        for run in runs:
            asked = [(i, r) for i, r in run.of(WORD_ERROR) if i.language == tag]
            if not asked:
                continue
            known = [(i.item, float(r.value or 0.0)) for i, r in asked if r.status == "ok"]
            missing = (len(asked) - len(known)) / len(asked)
            before: list[str | Cell] = [
                str(len(known)),
                Cell(f"{missing:.0%}", "unsure" if missing else "", missing),
            ]
            found = share_of(known)
            if found is None:
                rows.append(SpanRow(run.name, None, before, ["", "nothing measurable"], tag))
                continue
            span = Span(100 * found.value, 100 * found.low, 100 * found.high)
            after = [f"{found.value:.0%}", f"{found.low:.0%} to {found.high:.0%}"]
            rows.append(SpanRow(run.name, span, before, after, tag))
    return Spans(
        "Words wrong by language asked; characters in Chinese, Japanese and Korean. A clip counts "
        "at most as all wrong.",
        "wrong (%)",
        rows,
        scale=(0.0, 100.0),
        heads_before=["Clips", "Not measurable"],
        heads_after=["Mean", "95 %"],
        name_head="Run",
        legend="Lower is better. Bars are 95 % intervals over lines.",
    )


def _heard(runs: Sequence[RunResults]) -> list[Table]:
    """Language asked by language identified, one table a run."""
    tables = []
    for run in runs:
        pairs = Counter(
            (str(row.details.get("asked")), str(row.details.get("identified")))
            for _, row in run.of(MATCH)
            if row.status == "ok"
        )
        if not pairs:
            continue
        asked = sorted({pair[0] for pair in pairs})
        others = sorted({pair[1] for pair in pairs} - set(asked))
        rows: list[list[str | Cell]] = []
        for name in asked:
            total = sum(pairs[name, other] for other in (*asked, *others))
            cells = [
                _share_cell(pairs[name, other], total, is_right=name == other)
                for other in (*asked, *others)
            ]
            rows.append([name, str(total), *cells])
        tables.append(
            Table(
                f"{run.name}: language asked (rows) and language identified (columns), in % of the "
                "clips that have a second of speech.",
                ["Asked", "Clips", *asked, *others],
                rows,
                tuple(range(1, 2 + len(asked) + len(others))),
            )
        )
    return tables


def _synthetic(runs: Sequence[RunResults]) -> list[Part]:
    """What the same recogniser gets wrong of sentences that a program reads."""
    record: Mapping[str, Any] = read_yaml(FLOOR)[0]
    rows = [(item, row) for run in runs for item, row in run.of(WORD_ERROR)]
    if record["recogniser"] not in {row.details.get("recogniser") for _, row in rows}:
        return []
    asked = sorted({base_language(item.language) for item, _ in rows} & set(record["languages"]))
    table = Table(
        f"Words wrong when {record['recogniser']} listens to {record['source']}. A synthetic voice "
        "is harder to understand than people, so nothing of it is taken off above: where it is "
        "far from 0, an error says little of the model.",
        ["Language", "Wrong", "Lines with speech", "Lines"],
        [
            [
                tag,
                ""
                if (found := record["languages"][tag])["error"] is None
                else f"{found['error']:.0%}",
                str(found["lines"]),
                str(found["of"]),
            ]
            for tag in asked
        ],
        (1, 2, 3),
    )
    return [Folded("The recogniser and a synthetic voice", [table])] if asked else []


def _share_cell(count: int, total: int, *, is_right: bool) -> Cell:
    share = count / total if total else 0.0
    if not count:
        return Cell("")
    return Cell(f"{share:.0%}", "good" if is_right else "bad", share, f"{count} of {total}")


def _gaps(run: RunResults, gaps: Sequence[LanguageGap]) -> Spans:
    rows = [
        SpanRow(
            gap.language,
            Span(100 * gap.gap, 100 * gap.low, 100 * gap.high),
            [str(gap.num_clips)],
            [
                f"{100 * gap.gap:+.0f}",
                f"{100 * gap.low:+.0f} to {100 * gap.high:+.0f}",
                "" if gap.p_value is None else f"{gap.p_value:.3f}",
            ],
        )
        for gap in gaps
        if gap.gap is not None and gap.low is not None and gap.high is not None
    ]
    return Spans(
        f"{run.name}: gap to English after the recogniser's own errors are taken off, in points.",
        "points",
        rows,
        reference=0.0,
        heads_before=["Clips"],
        heads_after=["Gap", "95 %", "p (Holm)"],
        name_head="Language",
        legend="Above 0: spoken worse than English.",
    )


def _scores(run: RunResults) -> list[Score]:
    return [
        # The group is the line said in all languages.
        Score(item.language, item.group or item.item, float(row.value or 0.0))
        for item, row in run.of(WORD_ERROR)
        if row.status == "ok"
    ]


def _floor(control: RunResults | None) -> Mapping[str, float]:
    if control is None:
        return {}
    by_language: dict[str, list[tuple[str, float]]] = {}
    for item, row in control.of(WORD_ERROR):
        if row.status == "ok":
            by_language.setdefault(item.language, []).append((item.item, float(row.value or 0.0)))
    found = {tag: share_of(values) for tag, values in by_language.items()}
    return {tag: estimate.value for tag, estimate in found.items() if estimate is not None}


def _cautions(runs: Sequence[RunResults], floor: Mapping[str, float]) -> list[str]:
    recognisers = sorted(
        {
            str(row.details["recogniser"])
            for run in runs
            for _, row in run.of(WORD_ERROR, MATCH)
            if "recogniser" in row.details
        }
    )
    cautions = [f"Words are read by one recogniser: {', '.join(recognisers) or 'not recorded'}."]
    if not floor:
        cautions.append(
            "The recogniser's own errors are not taken off, so languages that it knows less look "
            "worse than they are: compare models within a language, not languages. A scored run "
            "over recordings of people (--control) gives the gaps to English."
        )
    if any(item.expected.is_cartoon for run in runs for item, _ in run.of(WORD_ERROR)):
        cautions.append(
            "Puppets are read by the recogniser of their own world, the nearest of its 64 words, "
            "which flatters; Whisper base reads 18 of 50 rendered words, that one all of them."
        )
    return cautions
