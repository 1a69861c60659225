"""The report of a preference study, or of any file of votes."""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import numpy as np

from evaluation.preference.anytime import PairEvidence, pair_evidence
from evaluation.preference.findings import Findings, on_main_axis
from evaluation.preference.intervals import Interval
from evaluation.preference.planning import Circumstances, detectable_win_rate, votes_needed
from evaluation.preference.ranking import Leaderboard, NotRanked, Ranking
from evaluation.preference.style import Styled
from evaluation.preference.votes import VoteTable
from evaluation.reports.document import render_document
from evaluation.reports.parts import (
    Cell,
    Facts,
    Folded,
    Notes,
    Part,
    Plot,
    Section,
    Share,
    Shares,
    Span,
    SpanRow,
    Spans,
    Table,
    Text,
)
from evaluation.reports.plots import Curve, curves

MAX_MATRIX = 12
"""Models in the table of pairs; a larger one nobody reads."""

MAX_PAIRS = 15
"""Pairs whose answers are drawn one by one."""

MAX_CURVES = 6

WIN_RATES = (0.55, 0.6, 0.65, 0.7)

STYLE_NAMES = {
    "d_log_duration": "length as it came",
    "d_lufs": "loudness as it came",
    "d_log_pixels": "size of the picture as it came",
    "d_log_sharpness": "sharpness of the picture as it came",
}

LEGEND = (
    "Thin line: 95 % interval that knows that votes of one rater, and on one prompt, go together. "
    "Thick line: as if every vote were independent, which is too narrow."
)


def study_report(found: Findings) -> str:
    """A study as one file of HTML."""
    plan = found.study.plan
    return render_document(
        plan.name,
        study_sections(found),
        lead=f"Blind side-by-side ratings of {len(plan.models)} models: "
        + ", ".join(model.name for model in plan.models),
        foot=f"Log of {found.entries} entries, checked; last hash {found.head}.",
    )


def votes_report(name: str, votes: VoteTable, board: Leaderboard) -> str:
    """A file of votes as one file of HTML."""
    lead = "Votes that were collected elsewhere: how they were collected is not known here."
    return render_document(f"Ranking of {name}", ranking_sections(votes, board), lead=lead)


def study_sections(found: Findings) -> list[Section]:
    """A study: what was planned and where it stands, then what its votes say."""
    sections = [_standing(found)]
    if found.votes is None:
        return [*sections, Section("Results", [Text(["Nobody has voted yet."])])]
    if isinstance(found.board, NotRanked):
        answers = _answers(on_main_axis(found.votes, found.study.plan.axes[-1].key))
        parts: list[Part] = [Text([found.board.reason]), *([answers] if answers else [])]
        return [*sections, Section("Results", parts)]
    alpha = found.study.plan.stopping.alpha
    sections += _results(found.votes, found.board)
    if found.styled is not None and (found.styled.used or found.styled.confounded):
        sections.append(_style(found.styled))
    sections.append(_power(found.board.overall, found.evidence, alpha, found.planned_votes))
    sections.append(_blinding(found))
    return [*sections, _methods()]


def ranking_sections(votes: VoteTable, board: Leaderboard) -> list[Section]:
    """What any votes say."""
    main = on_main_axis(votes, board.axis or "")
    return [
        *_results(votes, board),
        _power(board.overall, pair_evidence(main), 0.05, None),
        _methods(),
    ]


def _standing(found: Findings) -> Section:
    study, counts = found.study, found.counts
    plan = study.plan
    opened = "not yet" if found.opened_at is None else _date(found.opened_at)
    done = len(found.finished)
    main = 0 if found.votes is None else len(on_main_axis(found.votes, plan.axes[-1].key))
    facts = [
        ("State", study.status),
        ("Opened", opened),
        ("Raters planned", str(plan.raters)),
        ("Raters who joined", str(counts["joined"])),
        ("Raters who are done", str(done)),
        ("Prompts", str(len(plan.prompts))),
        ("Pairs per rater that count", str(plan.session.pairs)),
    ]
    parts: list[Part] = [Facts(facts)]
    if found.planned_votes and found.opened_at is not None:
        parts.append(
            Shares(
                "Progress toward the plan. Only pairs that count: no training, attention or "
                "repeated ones.",
                [
                    _progress("Votes", main, found.planned_votes),
                    _progress("Raters who are done", done, plan.raters),
                ],
            )
        )
    rules = plan.screening
    registered = [
        ("SHA-256 of the plan", found.plan_sha256 or plan.digest),
        ("SHA-256 of the design", found.design_sha256 or "drawn when it opens"),
        ("Entries of the log, checked", str(found.entries)),
        ("Last hash of the log", found.head),
        ("Stops", _stopping(found)),
        (
            "Second reading leaves out",
            f"attention below {rules.min_attention:.0%} or repeats below "
            f"{rules.min_repeat_consistency:.0%} (unless bad luck has a chance above "
            f"{rules.max_luck:.0%}), median time below {rules.min_time_share:g} of the clip, "
            f"likelihood z below {rules.min_log_likelihood_z:g}, one side in "
            f"{rules.min_same_side_share:.0%} of decisive votes at p below "
            f"{rules.max_same_side_p:g}, unlikely votes at p below {rules.max_anomaly_p:g}",
        ),
    ]
    parts.append(
        Folded(
            "What was fixed before the first vote",
            [
                Text(
                    [
                        "The plan (question, models, prompts, number of raters, rules) and the "
                        "sessions were hashed into the log when the study opened. Every vote is a "
                        "later entry that holds the hash of the one before it."
                    ]
                ),
                Facts(registered),
            ],
        )
    )
    return Section("The study", parts)


def _progress(name: str, done: int, planned: int) -> tuple[str, str, list[Share]]:
    share = min(done / planned, 1.0)
    pieces = [Share("collected", share, 0), Share("to come", 1 - share, 2)]
    return name, f"{done} of {planned}", pieces


def _stopping(found: Findings) -> str:
    rule = found.study.plan.stopping
    return {
        "planned": "when every planned rater is done",
        "e_value": f"when every planned rater is done, or E-values allow it (alpha {rule.alpha:g})",
        "width": f"when standard errors of all strengths are at most {rule.standard_error:g}",
    }[rule.kind]


def _results(votes: VoteTable, board: Leaderboard) -> list[Section]:
    main = on_main_axis(votes, board.axis or "")
    sections = [_leaderboard(board), _pairs(board.overall, main)]
    others = {name: found for name, found in board.axes.items() if name != board.axis}
    if others:
        sections.append(
            _split(
                "Question by question",
                {f"{board.axis}": board.overall, **others},
                "Each question ranked on its own.",
            )
        )
    for column, parts in board.slices.items():
        sections.append(
            _split(
                f"By {column}",
                parts,
                f"Votes of each {column} ranked on their own. Of many groups some stand out by "
                "chance: nothing here is corrected for that.",
            )
        )
    sections.append(_raters(board))
    return sections


def _leaderboard(board: Leaderboard) -> Section:
    overall = board.overall
    rows = [
        SpanRow(
            row.name,
            Span(row.elo.value, row.elo.low, row.elo.high, (row.naive_elo.low, row.naive_elo.high)),
            [_ranks(row.best_rank, row.worst_rank), f"{row.elo.value:.0f}"],
            [_range(row.elo), _range(row.naive_elo), f"{row.votes:,}"],
        )
        for row in overall.models
    ]
    question = f" on the question {board.axis!r}" if board.axis else ""
    return Section(
        "Leaderboard",
        [
            Text([_verdict(overall)]),
            Spans(
                f"Strength of each model{question}, all raters.",
                "Elo",
                rows,
                reference=1000.0,
                heads_before=["Rank", "Elo"],
                heads_after=["95 % interval", "if independent", "Votes"],
                name_head="Model",
                legend=LEGEND,
            ),
            Facts(
                [
                    ("Votes", f"{overall.votes:,}"),
                    ("Raters", f"{overall.raters:,}"),
                    ("Prompts", f"{overall.prompts:,}"),
                    ("No difference", f"{overall.tie_rate:.1%}"),
                    ("of them both bad", f"{overall.both_bad_rate:.1%}"),
                    ("Design effect", f"{overall.design_effect:.2f}"),
                ]
            ),
            Notes(overall.notes),
        ],
    )


def _verdict(overall: Ranking) -> str:
    """What may be claimed, in one sentence."""
    count = len(overall.models)
    pairs = count * (count - 1) // 2
    apart = sum(map(sum, overall.separated))
    if not apart:
        return (
            "No model can be told from any other: with 95 % confidence for all comparisons "
            "together, every order is possible."
        )
    if count == 2:
        best = overall.models[0].name
        return f"{best} is preferred: with 95 % confidence the order is not chance."
    if apart == pairs:
        return "Every model can be told from every other, all comparisons together at 95 %."
    return (
        f"{apart} of {pairs} pairs of models can be told apart, all comparisons together at 95 %. "
        "Ranks are given as ranges: a model may stand anywhere in its range."
    )


def _pairs(overall: Ranking, main: VoteTable) -> Section:
    names = [row.name for row in overall.models]
    shown = names[:MAX_MATRIX]
    matrix: list[list[str | Cell]] = [
        [
            name,
            *(
                Cell("-")
                if i == j
                else _better_cell(overall.better[i][j], overall.win[i][j], _told(overall, i, j))
                for j in range(len(shown))
            ),
        ]
        for i, name in enumerate(shown)
    ]
    more = "" if len(names) == len(shown) else f" The first {len(shown)} of {len(names)} models."
    parts: list[Part] = [
        Table(
            "How often the model of the row is preferred to that of the column: P(better) = P(win) "
            "+ P(tie) / 2, with its 95 % interval for the pair alone. Marked + or - where the pair "
            f"is told apart with all comparisons together.{more}",
            ["", *shown],
            matrix,
            numbers=range(1, len(shown) + 1),
        )
    ]
    answers = _answers(main)
    if answers is not None:
        parts.append(answers)
    return Section("Pair by pair", parts)


def _told(overall: Ranking, i: int, j: int) -> int:
    return int(overall.separated[i][j]) - int(overall.separated[j][i])


def _better_cell(better: Interval, win: Interval, told: int) -> Cell:
    mark = {1: " +", -1: " -", 0: ""}[told]
    return Cell(
        f"{better.value:.0%} ({100 * better.low:.0f} to {100 * better.high:.0f}){mark}",
        "good" if told > 0 else "bad" if told < 0 else "unsure",
        1.0 if told else 0.4,
        f"P(win) {win.value:.0%}, {100 * win.low:.0f} to {100 * win.high:.0f}",
    )


def _answers(main: VoteTable) -> Shares | None:
    """What was answered about each pair; None where there are too many pairs."""
    rows = []
    low, high = np.minimum(main.left, main.right), np.maximum(main.left, main.right)
    pairs = sorted(set(zip(low.tolist(), high.tolist(), strict=True)))
    if len(pairs) > MAX_PAIRS:
        return None
    for one, other in pairs:
        inside = (low == one) & (high == other)
        value = np.where(main.left == one, main.preference, -main.preference)[inside]
        bad, total = main.both_bad[inside], int(inside.sum())
        first, second = main.models[one], main.models[other]
        pieces = [
            Share(f"{first} much", float(np.mean(value == 2)), 0),
            Share(first, float(np.mean(value == 1)), 1),
            Share("same", float(np.mean((value == 0) & ~bad)), 2),
            Share("both bad", float(np.mean(bad)), 5),
            Share(second, float(np.mean(value == -1)), 3),
            Share(f"{second} much", float(np.mean(value == -2)), 4),
        ]
        rows.append((f"{first} / {second}", f"{total:,} votes", pieces))
    return Shares("What was answered, whatever side a clip was shown on.", rows)


def _split(title: str, parts: dict[str, Ranking | NotRanked], lead: str) -> Section:
    rows = []
    for name, found in parts.items():
        if isinstance(found, NotRanked):
            rows.append(SpanRow("", None, ["", ""], [found.reason, ""], group=name))
            continue
        for row in found.models:
            inner = row.naive_elo.low, row.naive_elo.high
            rows.append(
                SpanRow(
                    row.name,
                    Span(row.elo.value, row.elo.low, row.elo.high, inner),
                    [_ranks(row.best_rank, row.worst_rank), f"{row.elo.value:.0f}"],
                    [_range(row.elo), f"{row.votes:,}"],
                    group=f"{name} ({found.votes:,} votes, {found.raters} raters)",
                )
            )
    spans = Spans(
        lead,
        "Elo",
        rows,
        reference=1000.0,
        heads_before=["Rank", "Elo"],
        heads_after=["95 % interval", "Votes"],
        name_head="Model",
        legend=LEGEND,
    )
    return Section(title, [spans])


def _raters(board: Leaderboard) -> Section:
    overall, agreed, side = board.overall, board.overall.agreement, board.overall.side
    alpha = agreed.alpha
    facts = [
        (
            "Krippendorff's alpha",
            "no pair was judged twice"
            if alpha is None
            else f"{alpha.value:.2f} ({alpha.low:.2f} to {alpha.high:.2f})",
        ),
        ("Same answer", "-" if agreed.percent is None else f"{agreed.percent:.0%}"),
        ("Pairs judged at least twice", f"{agreed.units:,}"),
        ("Left side", f"{side.value:+.3f} ({side.low:+.3f} to {side.high:+.3f})"),
        ("if independent", f"({board.overall.naive_side.low:+.3f} to "
                           f"{board.overall.naive_side.high:+.3f})"),
        ("Raters left out below", f"{len(board.exclusions)} of {overall.raters}"),
    ]  # fmt: skip
    parts: list[Part] = [
        Facts(facts),
        Text(
            [
                f"Alpha is {agreed.distance}: 1 is full agreement, 0 what chance gives. Where "
                "clips differ little it is low, however careful raters are. The left side is the "
                "effect, in ln of odds, of standing left; it is fitted, so it moves no model."
            ]
        ),
    ]
    if not board.exclusions:
        return Section("Raters", [*parts, Text(["Nobody fails the screening."])])
    parts.append(_with_and_without(board))
    parts.append(
        Folded(
            f"Who fails the screening, and why ({len(board.exclusions)})",
            [
                Table(
                    "Raters whose votes the second reading leaves out; the first has them all.",
                    ["Rater", "Reasons"],
                    [[out.rater, "; ".join(out.reasons)] for out in board.exclusions],
                )
            ],
        )
    )
    return Section("Raters", parts)


def _style(styled: Styled) -> Section:
    parts: list[Part] = []
    if isinstance(styled.ranking, Ranking):
        rows = [
            SpanRow(
                row.name,
                Span(row.elo.value, row.elo.low, row.elo.high),
                [_ranks(row.best_rank, row.worst_rank), f"{row.elo.value:.0f}"],
                [_range(row.elo)],
            )
            for row in styled.ranking.models
        ]
        parts.append(
            Spans(
                "The ranking with these held equal, as if both clips had come alike in them.",
                "Elo",
                rows,
                reference=1000.0,
                heads_before=["Rank", "Elo"],
                heads_after=["95 % interval"],
                name_head="Model",
            )
        )
        parts.append(
            Facts(
                [
                    (STYLE_NAMES[name], f"{effect.value:+.3f} ({_signed(effect)})")
                    for name, effect in styled.ranking.style.items()
                ]
            )
        )
        parts.append(
            Text(["Effects are in ln of odds per standard deviation of the difference of a pair."])
        )
    elif styled.ranking is not None:
        parts.append(Text([styled.ranking.reason]))
    if styled.confounded:
        named = ", ".join(STYLE_NAMES[name] for name in styled.confounded)
        parts.append(
            Text(
                [
                    f"Not held equal: {named}. One model always has more of it than another, so "
                    "votes cannot tell it from the model itself."
                ]
            )
        )
    return Section("With style held equal", parts)


def _signed(interval: Interval) -> str:
    return f"{interval.low:+.3f} to {interval.high:+.3f}"


def _with_and_without(board: Leaderboard) -> Part:
    if isinstance(board.screened, NotRanked):
        return Text([f"Without those who fail the screening: {board.screened.reason}"])
    kept = {row.name: row for row in board.screened.models}
    rows = []
    for row in board.overall.models:
        for label, one in (("all raters", row), ("without", kept.get(row.name))):
            rows.append(
                SpanRow(
                    label,
                    None if one is None else Span(one.elo.value, one.elo.low, one.elo.high),
                    ["", ""]
                    if one is None
                    else [_ranks(one.best_rank, one.worst_rank), f"{one.elo.value:.0f}"],
                    ["no votes left", ""] if one is None else [_range(one.elo), f"{one.votes:,}"],
                    group=row.name,
                )
            )
    return Spans(
        "The same ranking with all raters, and without those who fail the screening.",
        "Elo",
        rows,
        reference=1000.0,
        heads_before=["Rank", "Elo"],
        heads_after=["95 % interval", "Votes"],
    )


def _power(
    overall: Ranking, evidence: Sequence[PairEvidence], alpha: float, planned: int | None
) -> Section:
    count = len(overall.models)
    pairs = count * (count - 1) // 2
    have = overall.votes / pairs
    around = Circumstances(min(overall.tie_rate, 0.999), max(overall.design_effect, 1.0))
    facts = [
        ("Votes per pair so far", f"{have:.0f}"),
        ("show a win rate of", _rate(overall.detectable)),
    ]
    if planned:
        facts += [
            ("Votes per pair as planned", f"{planned / pairs:.0f}"),
            ("will show a win rate of", _rate(detectable_win_rate(planned / pairs, around))),
        ]
    needed = [[f"{rate:.0%}", f"{votes_needed(rate, around):,}"] for rate in WIN_RATES]
    parts: list[Part] = [
        Facts(facts),
        Text(
            [
                f"For one pair, with 80 % power at the 5 % level, with {overall.tie_rate:.0%} ties "
                f"and a design effect of {around.design_effect:.2f} as seen here. A smaller "
                "difference may well be there and not show."
            ]
        ),
        Table(
            "Votes that one pair needs to show a win rate among decisive votes.",
            ["Win rate", "Votes"],
            needed,
            numbers=[1],
        ),
    ]
    if evidence:
        parts += _evidence(evidence, alpha, pairs)
    return Section("What this many votes can show", parts)


def _evidence(evidence: Sequence[PairEvidence], alpha: float, pairs: int) -> Iterable[Part]:
    threshold = pairs / alpha
    shown = evidence[:MAX_PAIRS]
    rows: list[list[str | Cell]] = [
        [
            f"{pair.better} over {pair.worse}",
            f"{pair.share:.0%}",
            f"{pair.raters}",
            _e_value(pair.log_e[-1]),
            Cell(f"enough, after {pair.enough_after} raters", "good")
            if pair.enough_after
            else Cell("not yet", "unsure"),
        ]
        for pair in shown
    ]
    table = Table(
        f"Evidence that may be looked at after every rater: stop where E reaches {threshold:.0f} "
        f"({pairs} pairs / alpha {alpha:g}). Raters count as one each, in the order in which they "
        "finished; it speaks of raters at large, on the prompts of this study."
        + ("" if len(evidence) == len(shown) else f" The {len(shown)} pairs with most evidence."),
        ["Pair", "Raters' mean share", "Raters", "E-value", "State"],
        rows,
        numbers=[1, 2, 3],
    )
    long = [pair for pair in shown if pair.raters > 1][:MAX_CURVES]
    if not long:
        return [table]
    svg = curves(
        [
            Curve(
                f"{pair.better} over {pair.worse}",
                range(1, pair.raters + 1),
                [10 ** min(max(value / math.log(10), -12), 300) for value in pair.log_e],
            )
            for pair in long
        ],
        x="raters who finished",
        y="E-value",
        levels=[(threshold, "enough")],
        log_y=True,
    )
    steps = sorted({1, *(round(n) for n in np.geomspace(1, max(p.raters for p in long), 8))})
    numbers = Table(
        "E-value after so many raters.",
        ["Raters", *(f"{pair.better} over {pair.worse}" for pair in long)],
        [
            [f"{n}", *(_e_value(p.log_e[n - 1]) if n <= p.raters else "-" for p in long)]
            for n in steps
        ],
        numbers=range(1, len(long) + 1),
    )
    return [table, Plot(svg, "How the evidence grew with every rater who finished.", numbers)]


def _blinding(found: Findings) -> Section:
    lead = Text(
        [
            "At the end raters guess who made some of the clips. Bang's index is 0 where guesses "
            "are as good as chance, 1 where everybody knew, below 0 where they were misled."
        ]
    )
    if not found.blinding:
        return Section("Blinding", [lead, Text(["Nobody has guessed yet."])])
    rows = [
        SpanRow(
            name,
            Span(index.value, index.low, index.high),
            [f"{index.value:+.2f}"],
            [f"{index.low:+.2f} to {index.high:+.2f}"],
        )
        for name, index in found.blinding.items()
    ]
    spans = Spans(
        f"Blinding index of each model, from {found.guesses} guesses.",
        "index",
        rows,
        scale=(-1.0, 1.0),
        reference=0.0,
        heads_before=["Index"],
        heads_after=["95 % interval"],
        name_head="Model",
    )
    return Section("Blinding", [lead, spans])


def _methods() -> Section:
    return Section(
        "How the numbers are made",
        [
            Text(
                [
                    "Strengths are those of Davidson's model of paired comparisons with ties, with "
                    "an effect of the side fitted beside them. They are relative to the mean of "
                    "the models compared here, whose Elo is 1000; 400 points are odds of ten to "
                    "one. Numbers of different studies cannot be compared.",
                    "Intervals are 95 %, from the two-way cluster-robust covariance (raters and "
                    "prompts, each left out in turn), with Student's t. Overlapping intervals do "
                    "not mean that two models are equal: read the pair. Ranks and the marks in the "
                    "table of pairs hold for all comparisons together (studentised maximum).",
                    "Both bad counts as a tie and is counted apart. Training, attention and "
                    "repeated pairs enter no ranking.",
                ]
            )
        ],
    )


def _ranks(best: int, worst: int) -> str:
    return f"{best}" if best == worst else f"{best} to {worst}"


def _range(interval: Interval) -> str:
    return f"{interval.low:.0f} to {interval.high:.0f}"


def _rate(rate: float) -> str:
    return "none, however large" if rate >= 1 else f"{rate:.0%} or more"


def _e_value(log_e: float) -> str:
    return f"{math.exp(log_e):,.2f}" if log_e < math.log(1e4) else f"10^{log_e / math.log(10):.0f}"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
