"""Everything that a leaderboard shows, from votes, as data that turns into JSON."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evaluation.preference.agreement import Agreement, agreement
from evaluation.preference.davidson import Cells, DavidsonFit, fit_davidson
from evaluation.preference.intervals import (
    LEVEL,
    Covariance,
    Interval,
    elo,
    naive_covariance,
    parameter_interval,
    pigeonhole,
    rank_intervals,
    theta_intervals,
    two_way_covariance,
    win_intervals,
)
from evaluation.preference.pairing import reweighted_strengths
from evaluation.preference.planning import Circumstances, detectable_win_rate
from evaluation.preference.screening import (
    DEFAULTS,
    Exclusion,
    RaterEvidence,
    screen,
)
from evaluation.preference.study import ScreeningRules
from evaluation.preference.votes import VoteTable
from ltx2.errors import RequestError

FEW = 15
"""Raters, or prompts, below which intervals are called rough (ITU-R BT.500 asks for 15 people)."""


@dataclass(frozen=True)
class ModelRow:
    """One model.

    Attributes:
        name, votes: and how many votes it was in.
        strength: ln of its odds against the average model, two-way clustered.
        naive, bootstrap: the same as if votes were independent, and by the pigeonhole bootstrap
            (None where it was not asked for).
        elo, naive_elo: on the scale of chess about 1000.
        best_rank, worst_rank: right for all models together with 95 % confidence.
    """

    name: str
    votes: int
    strength: Interval
    naive: Interval
    bootstrap: Interval | None
    elo: Interval
    naive_elo: Interval
    best_rank: int
    worst_rank: int


@dataclass(frozen=True)
class Ranking:
    """Of one set of votes; models strongest first, in the rows and in the matrices.

    Attributes:
        votes, raters, prompts: how many.
        win, better: [M][M], P(win) and P(win) + P(tie) / 2 of row against column.
        separated: [M][M], row surely better than column, all pairs together.
        side: effect of standing left, ln of odds.
        naive_side: as if votes were independent.
        tie: parameter nu; None where nobody tied.
        style: covariate to its effect, per standard deviation.
        tie_rate, both_bad_rate: shares of votes.
        design_effect: mean of (clustered / naive standard error) squared.
        detectable: win rate that this many votes a pair show with 80 % power.
        agreement: of raters; None for parts of a ranking that were not asked for it.
        reweighted: strengths with every vote weighed by the inverse of its pair's propensity, to
            be held against `models`; None where pairs were not chosen by what votes had left open.
        notes: what to know before believing it.
    """

    votes: int
    raters: int
    prompts: int
    models: tuple[ModelRow, ...]
    win: tuple[tuple[Interval, ...], ...]
    better: tuple[tuple[Interval, ...], ...]
    separated: tuple[tuple[bool, ...], ...]
    side: Interval
    naive_side: Interval
    tie: Interval | None
    style: dict[str, Interval]
    tie_rate: float
    both_bad_rate: float
    design_effect: float
    detectable: float
    agreement: Agreement
    reweighted: tuple[float, ...] | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class NotRanked:
    """Votes of which no ranking can be made."""

    reason: str


@dataclass(frozen=True)
class Leaderboard:
    """What a study found.

    Attributes:
        axis: the question that `overall` answers; None where there was only one.
        overall: with the votes of all raters.
        screened: without excluded raters; `overall` itself where nobody is.
        exclusions: who, and why.
        axes: a ranking for each question.
        slices: column to its values, each a ranking of the main question.
    """

    axis: str | None
    overall: Ranking
    screened: Ranking | NotRanked
    exclusions: tuple[Exclusion, ...]
    axes: dict[str, Ranking | NotRanked]
    slices: dict[str, dict[str, Ranking | NotRanked]]

    def as_json(self) -> dict[str, Any]:
        """Dicts, lists, numbers and texts only; numbers that are not finite are null."""
        return _plain(asdict(self))


@dataclass(frozen=True)
class Options:
    """How to rank.

    Attributes:
        axis: the main question; "overall" or the first by name where none is said.
        resamples: of the pigeonhole bootstrap; 0 leaves it out.
        seed: of everything drawn.
        screening: the rules of the study's plan.
    """

    axis: str | None = None
    resamples: int = 200
    seed: int = 0
    screening: ScreeningRules = DEFAULTS


USUAL = Options()


def rank_votes(
    votes: VoteTable, *, evidence: Sequence[RaterEvidence] = (), options: Options = USUAL
) -> Leaderboard:
    """The leaderboard of votes.

    Args:
        evidence: what sessions saw of raters, for screening.

    Raises:
        RequestError: there is no such axis, fewer than two models, or models that were never
            compared with each other.
    """
    axis = _main_axis(votes, options.axis)
    main = votes if axis is None else _on_axis(votes, axis)
    overall, exclusions = _rank(main, options, evidence=evidence)
    kept = set(main.rater.names) - {out.rater for out in exclusions}
    quick = Options(axis, 0, options.seed, options.screening)
    screened: Ranking | NotRanked = overall
    if exclusions:
        inside = np.array([name in kept for name in main.rater.names])[main.rater.codes]
        screened = _try(main, inside, quick)
    names = () if votes.axis is None else votes.axis.names
    return Leaderboard(
        axis=axis,
        overall=overall,
        screened=screened,
        exclusions=exclusions,
        axes={
            name: overall if name == axis else _try(_on_axis(votes, name), None, quick)
            for name in names
        },
        slices={
            column: {
                name: _try(main, factor.codes == place, quick)
                for place, name in enumerate(factor.names)
            }
            for column, factor in main.slices.items()
        },
    )


def _try(votes: VoteTable, inside: np.ndarray | None, options: Options) -> Ranking | NotRanked:
    if inside is not None and not inside.any():
        return NotRanked("No vote is left.")
    try:
        return _rank(votes if inside is None else votes.where(inside), options)[0]
    except RequestError as error:
        return NotRanked(error.message)


def _main_axis(votes: VoteTable, wanted: str | None) -> str | None:
    names = () if votes.axis is None else votes.axis.names
    if wanted is not None and wanted not in names:
        raise RequestError(
            f"There are no votes on {wanted!r}.",
            next_step=f"Choose one of {', '.join(names) or 'none: the votes name no axis'}.",
        )
    if not names:
        return None
    return wanted or ("overall" if "overall" in names else names[0])


def _on_axis(votes: VoteTable, name: str) -> VoteTable:
    assert votes.axis is not None
    return votes.where(votes.axis.codes == votes.axis.names.index(name))


def _rank(
    votes: VoteTable, options: Options, *, evidence: Sequence[RaterEvidence] = ()
) -> tuple[Ranking, tuple[Exclusion, ...]]:
    for factor, name in ((votes.rater, "rater"), (votes.prompt, "prompt")):
        if len(factor) < 2:
            raise RequestError(
                f"All votes are of one {name}, which tells nothing about others.",
                next_step=f"Collect votes of another {name}.",
            )
    cells, cell = Cells.of(votes)
    fit = fit_davidson(cells)
    naive, clustered = naive_covariance(fit), two_way_covariance(fit, votes, cell)
    exclusions = screen(fit, votes, cell, evidence=evidence, rules=options.screening)
    order = np.argsort(-fit.theta, kind="stable")
    win, better = win_intervals(fit, clustered)
    ranks, separated = rank_intervals(fit, clustered, seed=options.seed)
    count, ties = len(votes.models), float(np.mean(votes.outcome == 0))
    wide, narrow = theta_intervals(fit, clustered), theta_intervals(fit, naive)
    effect = _design_effect(fit, clustered, naive)
    drawn = _bootstrap(fit, votes, cell, options)
    again = None if votes.propensity is None else reweighted_strengths(votes)
    voted = np.bincount(votes.left, minlength=count) + np.bincount(votes.right, minlength=count)
    side = count - 1
    a_pair = len(votes) / (count * (count - 1) / 2)
    ranking = Ranking(
        votes=len(votes),
        raters=len(votes.rater),
        prompts=len(votes.prompt),
        models=tuple(
            ModelRow(
                name=votes.models[i],
                votes=int(voted[i]),
                strength=wide[i],
                naive=narrow[i],
                bootstrap=drawn[i] if drawn else None,
                elo=elo(wide[i]),
                naive_elo=elo(narrow[i]),
                best_rank=ranks[i][0],
                worst_rank=ranks[i][1],
            )
            for i in order
        ),
        win=tuple(tuple(win[i][j] for j in order) for i in order),
        better=tuple(tuple(better[i][j] for j in order) for i in order),
        separated=tuple(tuple(bool(separated[i, j]) for j in order) for i in order),
        side=parameter_interval(fit, clustered, side),
        naive_side=parameter_interval(fit, naive, side),
        tie=_tie(fit, clustered),
        style={
            name: parameter_interval(fit, clustered, count + place)
            for place, name in enumerate(cells.covariate_names)
        },
        tie_rate=ties,
        both_bad_rate=float(np.mean(votes.both_bad)),
        design_effect=effect,
        detectable=detectable_win_rate(a_pair, Circumstances(min(ties, 0.999), max(effect, 1.0))),
        agreement=agreement(votes, seed=options.seed, resamples=options.resamples or 100),
        reweighted=None if again is None else tuple(float(again[i]) for i in order),
        notes=(*_notes(votes), *_moved(votes.models, wide, again)),
    )
    return ranking, exclusions


def _moved(
    models: Sequence[str], plain: Sequence[Interval], again: np.ndarray | None
) -> tuple[str, ...]:
    if again is None:
        return ()
    return tuple(
        f"{name} has {again[i]:+.2f} where votes are weighed by the inverse of their pairs' "
        "propensities, outside its interval: the choice of pairs had a say in its rank."
        for i, name in enumerate(models)
        if not plain[i].low <= again[i] <= plain[i].high
    )


def _design_effect(fit: DavidsonFit, clustered: Covariance, naive: Covariance) -> float:
    strengths = len(fit.cells.models) - 1
    wide, narrow = (np.trace(v.matrix[:strengths, :strengths]) for v in (clustered, naive))
    return float(wide / narrow)


def _bootstrap(
    fit: DavidsonFit, votes: VoteTable, cell: np.ndarray, options: Options
) -> list[Interval]:
    if not options.resamples:
        return []
    drawn = pigeonhole(fit, votes, cell, resamples=options.resamples, seed=options.seed)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [Interval(*map(float, row)) for row in zip(fit.theta, low, high, strict=True)]


def _tie(fit: DavidsonFit, covariance: Covariance) -> Interval | None:
    if not fit.cells.has_ties:
        return None
    found = parameter_interval(fit, covariance, len(fit.parameters) - 1)
    return Interval(*(math.exp(value) for value in (found.value, found.low, found.high)))


def _notes(votes: VoteTable) -> tuple[str, ...]:
    notes = []
    for factor, name in ((votes.rater, "rater"), (votes.prompt, "prompt")):
        if len(factor) < FEW:
            notes.append(f"Only {len(factor)} {name}(s): the intervals are rough.")
    outcome = votes.outcome
    for place, name in enumerate(votes.models):
        own = np.concatenate([outcome[votes.left == place], -outcome[votes.right == place]])
        if np.all(own == 1) or np.all(own == -1):
            verb = "won" if own[0] == 1 else "lost"
            notes.append(f"{name} {verb} every vote: its strength has no finite estimate.")
    return tuple(notes)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
