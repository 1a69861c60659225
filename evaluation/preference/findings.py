"""What a study has found so far: its ranking, and all that is needed to believe or doubt it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from evaluation.preference import export
from evaluation.preference.anytime import PairEvidence, pair_evidence
from evaluation.preference.blinding import blinding_index
from evaluation.preference.intervals import Interval
from evaluation.preference.ranking import Leaderboard, NotRanked, Options, rank_votes
from evaluation.preference.store import Store, StudyRow
from evaluation.preference.style import STYLE, Styled, style_controlled
from evaluation.preference.votes import VoteTable
from ltx2.errors import RequestError

UNKNOWN = "not given"
"""Group of the votes whose prompt has no such label."""

LENGTHS = ((5.0, "up to 5 s"), (10.0, "5 to 10 s"), (20.0, "10 to 20 s"), (float("inf"), "longer"))
"""Groups by the length of the clips as shown."""


@dataclass(frozen=True)
class Findings:
    """A study at one moment.

    Attributes:
        study: the plan and its state.
        counts: sessions planned and joined, votes.
        finished: raters who judged every pair that counts.
        planned_votes: that count, of all planned raters.
        opened_at: seconds since 1970; None for a draft.
        plan_sha256, design_sha256: as the log's first entry has them; empty for a draft.
        entries, head: of the log, all checked; number and hash of the last.
        votes: of all questions; None while there are none.
        board: the ranking, or why there is none.
        styled: the ranking with loudness, length and size held equal; None without votes.
        evidence: whether pairs can be told apart, at any time.
        blinding: Bang's index by model.
        guesses: answers behind it.
    """

    study: StudyRow
    counts: dict[str, int]
    finished: tuple[str, ...]
    planned_votes: int
    opened_at: float | None
    plan_sha256: str
    design_sha256: str
    entries: int
    head: str
    votes: VoteTable | None
    board: Leaderboard | NotRanked
    styled: Styled | None
    evidence: tuple[PairEvidence, ...]
    blinding: dict[str, Interval]
    guesses: int


def find(store: Store, study_id: str, *, resamples: int = 200) -> Findings:
    """All of it, from the votes that the store holds now.

    Args:
        resamples: of the pigeonhole bootstrap.

    Raises:
        UnknownStudyError: there is no such study.
        LogBrokenError: the log is not what was written.
    """
    row = store.study(study_id)
    plan = row.plan
    entries = store.verify(study_id)
    first = next(iter(store.entries(study_id)), None)
    opened = {} if first is None else first.content
    table = export.rows(store, study_id)
    finished = _finished(table, plan.session.pairs)
    votes = _votes(table)
    board: Leaderboard | NotRanked = NotRanked("Nobody has voted yet.")
    styled = None
    evidence: tuple[PairEvidence, ...] = ()
    if votes is not None:
        styled = style_controlled(votes, plan.axes[-1].key, seed=plan.seed)
        try:
            board = rank_votes(
                replace(votes, covariates={}),
                evidence=export.evidence(store, study_id),
                options=Options(resamples=resamples, seed=plan.seed, screening=plan.screening),
            )
        except RequestError as error:
            board = NotRanked(f"{error.message} {error.next_step}")
        evidence = pair_evidence(
            on_main_axis(votes, plan.axes[-1].key), alpha=plan.stopping.alpha, finished=finished
        )
    guesses = export.guesses(store, study_id)
    return Findings(
        study=row,
        counts=store.counts(study_id),
        finished=finished,
        planned_votes=plan.raters * plan.session.pairs,
        opened_at=None if first is None else first.at,
        plan_sha256=opened.get("plan_sha256", ""),
        design_sha256=opened.get("design_sha256", ""),
        entries=entries,
        head=store.head(study_id),
        votes=votes,
        board=board,
        styled=styled,
        evidence=evidence,
        blinding=blinding_index(guesses, choices=len(plan.models)) if guesses else {},
        guesses=len(guesses),
    )


def on_main_axis(votes: VoteTable, axis: str) -> VoteTable:
    """The votes on one question; all of them where no question is named."""
    if votes.axis is None or axis not in votes.axis.names:
        return votes
    return votes.where(votes.axis.codes == votes.axis.names.index(axis))


def _finished(table: Sequence[dict[str, Any]], pairs: int) -> tuple[str, ...]:
    judged: dict[str, set[int]] = {}
    for row in table:
        judged.setdefault(row["rater"], set()).add(row["position"])
    return tuple(sorted(rater for rater, positions in judged.items() if len(positions) >= pairs))


def _votes(table: Sequence[dict[str, Any]]) -> VoteTable | None:
    if not table:
        return None
    frame = pd.DataFrame(table)
    for column in ("language", "suite"):
        frame[column] = frame[column].replace("", UNKNOWN)
    frame["length"] = [_length(seconds) for seconds in frame["duration_s"]]
    cuts = ("language", "suite", "length", "unblinded")
    return VoteTable.from_frame(
        frame,
        axis="axis",
        covariates=[name for name in STYLE if name in frame.columns],
        slices=[name for name in cuts if frame[name].nunique() > 1],
        propensity="propensity" if frame["propensity"].notna().all() else None,
    )


def _length(seconds: float) -> str:
    return next(name for most, name in LENGTHS if seconds <= most)
