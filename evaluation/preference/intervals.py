"""How sure the strengths are, when votes of one rater, and votes on one prompt, go together.

Arenas count every vote as independent (the inverse information), which makes intervals too narrow.
Here the covariance is the two-way cluster-robust sandwich of Cameron, Gelbach and Miller (2011),

    V = V_rater + V_prompt - V_both,    V_g = sum over clusters of u u',  u = (H - H_g)^-1 s_g,

s_g the score of a cluster, H_g its share of the information H: each cluster is left out in one
Newton step (CR3, the jackknife of Bell and McCaffrey 2002), as few raters need. V_both are the
rater's votes on one prompt. Quantiles are Student's t with (smaller number of clusters - 1)
degrees of freedom. The second method is the pigeonhole bootstrap of Owen (2007).
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse, stats
from scipy.special import expit, logit

from evaluation.preference.davidson import Cells, DavidsonFit, fit_davidson, probabilities
from evaluation.preference.votes import VoteTable

LEVEL = 0.95
ELO_SCALE = 400 / np.log(10)
ELO_CENTRE = 1000.0
CHUNK = 4096
"""Clusters left out at a time."""


@dataclass(frozen=True)
class Interval:
    """A number with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Covariance:
    """Of the fitted parameters.

    Attributes:
        matrix: [P, P].
        degrees: of freedom of Student's t; infinite for the normal distribution.
    """

    matrix: np.ndarray
    degrees: float

    def quantile(self, level: float = LEVEL) -> float:
        """Of |t|."""
        return float(stats.t.ppf((1 + level) / 2, self.degrees))


def naive_covariance(fit: DavidsonFit) -> Covariance:
    """As if every vote were independent of all others."""
    return Covariance(np.linalg.inv(fit.information), np.inf)


def two_way_covariance(fit: DavidsonFit, votes: VoteTable, cell: np.ndarray) -> Covariance:
    """Votes of one rater, and votes on one prompt, may go together.

    Args:
        fit: of all `votes`.
        cell: [N], each vote's cell, as from `Cells.of`.
    """
    by_rater = _left_out_spread(fit, cell, votes.rater.codes, len(votes.rater))
    by_prompt = _left_out_spread(fit, cell, votes.prompt.codes, len(votes.prompt))
    both = votes.rater.codes * len(votes.prompt) + votes.prompt.codes
    pairs, both = np.unique(both, return_inverse=True)
    matrix = by_rater + by_prompt - _spread(fit, cell, both, len(pairs))
    degrees = min(len(votes.rater), len(votes.prompt)) - 1
    return Covariance(_without_negative(matrix), max(degrees, 1))


def leave_one_out(fit: DavidsonFit, cell: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """[G, P]: how far the parameters move when a group is left out, in one Newton step.

    Args:
        cell, group: [N], of each vote.
        groups: how many there are.
    """
    counts = _counts(cell, group, groups, len(fit.scores))
    design = np.column_stack([fit.cells.design, np.ones(len(fit.scores))])
    size, full = len(fit.parameters), design.shape[1]
    moved = np.empty((groups, size))
    # Information of a vote about (d, d), (d, ln nu), (ln nu, ln nu), spread over the parameters.
    kinds = np.where(np.arange(full) == full - 1, 1, 0)
    curvature = fit.curvatures[:, (kinds[:, None] + kinds[None])[:size, :size]]
    pieces = curvature * design[:, :size, None] * design[:, None, :size]
    scores = counts @ fit.scores
    for first in range(0, groups, CHUNK):
        part = slice(first, min(first + CHUNK, groups))
        inside = (counts[part] @ pieces.reshape(len(pieces), -1)).reshape(-1, size, size)
        moved[part] = -_solved(fit.information - inside, scores[part, :, None])[..., 0]
    return moved


def _solved(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.solve(matrices, right)
    except np.linalg.LinAlgError:  # without the group nothing is left of some parameter
        return np.linalg.pinv(matrices, hermitian=True) @ right


def _left_out_spread(
    fit: DavidsonFit, cell: np.ndarray, group: np.ndarray, groups: int
) -> np.ndarray:
    moved = leave_one_out(fit, cell, group, groups)
    return (groups - 1) / groups * moved.T @ moved


def _spread(fit: DavidsonFit, cell: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """[P, P], of many small clusters, whose leverage does not matter."""
    scores = _counts(cell, group, groups, len(fit.scores)) @ fit.scores
    half = np.linalg.solve(fit.information, scores.T)
    return half @ half.T


def _counts(cell: np.ndarray, group: np.ndarray, groups: int, cells: int) -> sparse.csr_matrix:
    """[G, C], votes of each group in each cell."""
    return sparse.csr_matrix((np.ones(len(cell)), (group, cell)), shape=(groups, cells))


def _without_negative(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.maximum(values, 0)) @ vectors.T


def pigeonhole(
    fit: DavidsonFit, votes: VoteTable, cell: np.ndarray, *, resamples: int, seed: int
) -> np.ndarray:
    """[R, M] strengths, raters and prompts drawn anew with replacement, each time both."""
    rng = np.random.default_rng(seed)
    drawn = np.empty((resamples, len(votes.models)))
    raters, prompts = len(votes.rater), len(votes.prompt)
    for i in range(resamples):
        by_rater = rng.multinomial(raters, np.full(raters, 1 / raters)).astype(float)
        by_prompt = rng.multinomial(prompts, np.full(prompts, 1 / prompts)).astype(float)
        weight = by_rater[votes.rater.codes] * by_prompt[votes.prompt.codes]
        again = fit.cells.weighted(np.bincount(cell, weight, minlength=len(fit.scores)))
        drawn[i] = _refit(again, fit).theta
    return drawn


def _refit(cells: Cells, fit: DavidsonFit) -> DavidsonFit:
    return fit_davidson(cells, start=fit.parameters, require_connected=False)


def theta_intervals(fit: DavidsonFit, covariance: Covariance) -> list[Interval]:
    """Strengths about their mean, one a model."""
    spread = covariance.quantile() * _standard_errors(strength_rows(fit), covariance)
    return [
        Interval(float(t), float(t - s), float(t + s))
        for t, s in zip(fit.theta, spread, strict=True)
    ]


def parameter_interval(fit: DavidsonFit, covariance: Covariance, place: int) -> Interval:
    """Of one of the fitted parameters."""
    value = float(fit.parameters[place])
    spread = covariance.quantile() * float(np.sqrt(covariance.matrix[place, place]))
    return Interval(value, value - spread, value + spread)


def elo(interval: Interval) -> Interval:
    """On the scale of chess: 400 points are odds of ten to one."""
    value, low, high = (
        ELO_CENTRE + ELO_SCALE * x for x in (interval.value, interval.low, interval.high)
    )
    return Interval(value, low, high)


def strength_rows(fit: DavidsonFit) -> np.ndarray:
    """[M, P], theta = rows @ parameters."""
    basis = fit.cells.basis
    return np.pad(basis, ((0, 0), (0, len(fit.parameters) - basis.shape[1])))


def win_intervals(
    fit: DavidsonFit, covariance: Covariance
) -> tuple[list[list[Interval]], list[list[Interval]]]:
    """P(win) and P(better) = P(win) + P(tie) / 2 of each model against each, sides even.

    Delta method on the logit. Of a model with itself P(better) is one half, and certain.
    """
    rows, theta, count = strength_rows(fit), fit.theta, len(fit.theta)
    first, second = (a.ravel() for a in np.meshgrid(*[np.arange(count)] * 2, indexing="ij"))
    d = theta[first] - theta[second]
    win, tie, loss = probabilities(d, fit.log_nu)
    by_d = rows[first] - rows[second]
    by_nu = np.zeros_like(by_d)
    if fit.cells.has_ties:
        by_nu[:, -1] = 1.0
    slope_win = win * (1 - (win - loss)) / 2
    slope_tie = -tie * (win - loss) / 2
    wins = slope_win[:, None] * by_d - (win * tie)[:, None] * by_nu
    ties = slope_tie[:, None] * by_d + (tie * (1 - tie))[:, None] * by_nu
    return (
        _on_logit(win, wins, covariance, count),
        _on_logit(win + tie / 2, wins + ties / 2, covariance, count),
    )


def _on_logit(
    p: np.ndarray, gradient: np.ndarray, covariance: Covariance, count: int
) -> list[list[Interval]]:
    p = np.clip(p, 1e-12, 1 - 1e-12)
    spread = covariance.quantile() * _standard_errors(gradient, covariance) / (p * (1 - p))
    low, high = expit(logit(p) - spread), expit(logit(p) + spread)
    found = [Interval(*map(float, row)) for row in zip(p, low, high, strict=True)]
    return [found[i * count : (i + 1) * count] for i in range(count)]


def _standard_errors(rows: np.ndarray, covariance: Covariance) -> np.ndarray:
    squared = np.einsum("ip,pq,iq->i", rows, covariance.matrix, rows)
    return np.sqrt(np.maximum(squared, 0))


def rank_intervals(
    fit: DavidsonFit, covariance: Covariance, *, draws: int = 20_000, seed: int = 0
) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Best and worst rank of each model, all of them right together with 95 % confidence.

    All pairs are compared at the quantile of the largest |t| among them (studentised max-t), drawn
    from the multivariate t distribution: a pair that separates there separates in its rank.

    Returns:
        (best, worst) a model, 1 is first; and [M, M] bool, row surely better than column.
    """
    rows, count = strength_rows(fit), len(fit.theta)
    first, second = np.triu_indices(count, 1)
    contrasts = rows[first] - rows[second]
    error = np.maximum(_standard_errors(contrasts, covariance), 1e-12)
    rng = np.random.default_rng(seed)
    values, vectors = np.linalg.eigh(covariance.matrix)
    normal = rng.standard_normal((draws, len(values))) * np.sqrt(np.maximum(values, 0))
    largest = np.abs(normal @ (vectors.T @ contrasts.T) / error).max(axis=1)
    if np.isfinite(covariance.degrees):
        largest /= np.sqrt(rng.chisquare(covariance.degrees, draws) / covariance.degrees)
    t = (fit.theta[first] - fit.theta[second]) / error
    sure = np.abs(t) > np.quantile(largest, LEVEL)
    better = np.zeros((count, count), dtype=bool)
    better[first, second] = sure & (t > 0)
    better[second, first] = sure & (t < 0)
    best = 1 + better.sum(axis=0)
    worst = count - better.sum(axis=1)
    return [(int(b), int(w)) for b, w in zip(best, worst, strict=True)], better
