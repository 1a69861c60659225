"""Strengths of models from pairwise votes with ties: Davidson's model, and Rao and Kupper's.

With d = theta_left - theta_right + gamma + s . x (gamma the side effect, x covariates, left minus
right), Davidson (1970) has

    P(left) : P(tie) : P(right) = exp(d / 2) : nu : exp(-d / 2).

This is an exponential family in (theta, gamma, s, ln nu), so the observed information is the
expected one and Newton's method finds the maximum in a few steps. Rao and Kupper (1967) have
P(left) = 1 / (1 + t exp(-d)), P(right) = 1 / (1 + t exp(d)). Without ties both are Bradley-Terry.

Strengths sum to zero: they are expressed in an orthonormal basis of the contrasts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components
from scipy.special import log_expit

from evaluation.preference.votes import VoteTable
from ltx2.errors import RequestError

RIDGE = 1e-4
"""Keeps the maximum finite where a model won or lost every vote, or all votes are ties; too weak to
matter elsewhere."""

STEPS = 60
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Cells:
    """Votes with equal sides, outcome and covariates, counted together.

    Attributes:
        models: names of the M models.
        left, right: [C] int, index into `models`.
        outcome: [C] int: 1 left preferred, 0 tie, -1 right preferred.
        weight: [C], how many votes.
        covariates: [C, K], left minus right.
        covariate_names: of the K columns.
        with_side: whether the side effect is fitted.
    """

    models: tuple[str, ...]
    left: np.ndarray
    right: np.ndarray
    outcome: np.ndarray
    weight: np.ndarray
    covariates: np.ndarray
    covariate_names: tuple[str, ...] = ()
    with_side: bool = True

    @classmethod
    def of(cls, votes: VoteTable, *, with_side: bool = True) -> tuple["Cells", np.ndarray]:
        """Cells of votes, and [N] int, which cell each vote is in."""
        models = len(votes.models)
        key = (votes.left * models + votes.right) * 3 + votes.outcome + 1
        names = tuple(votes.covariates)
        if names:
            used, cell = np.arange(len(votes)), np.arange(len(votes))
        else:
            _, used, cell = np.unique(key, return_index=True, return_inverse=True)
        columns = [_standardised(votes.covariates[name]) for name in names]
        x = np.column_stack(columns or [np.empty(0)])
        cells = cls(
            models=votes.models,
            left=votes.left[used],
            right=votes.right[used],
            outcome=votes.outcome[used],
            weight=np.bincount(cell, minlength=len(used)).astype(float),
            covariates=x.reshape(len(used), len(names)),
            covariate_names=names,
            with_side=with_side,
        )
        return cells, cell

    def weighted(self, weight: np.ndarray) -> "Cells":
        """The same cells with other weights [C]."""
        return replace(self, weight=weight)

    @cached_property
    def basis(self) -> np.ndarray:
        """[M, M - 1], orthonormal contrasts: theta = basis @ b sums to zero."""
        count = len(self.models)
        columns = np.tril(np.ones((count, count - 1)), -1) * -1.0
        columns[np.arange(count - 1), np.arange(count - 1)] = np.arange(count - 1, 0, -1)
        return columns / np.linalg.norm(columns, axis=0)

    @cached_property
    def design(self) -> np.ndarray:
        """[C, Q]: d = design @ beta; contrasts, then the side, then covariates."""
        side = np.ones((len(self.left), int(self.with_side)))
        return np.hstack([self.basis[self.left] - self.basis[self.right], side, self.covariates])

    @cached_property
    def has_ties(self) -> bool:
        """Whether anybody ever answered that there is no difference."""
        return bool((self.outcome == 0).any())


@dataclass(frozen=True)
class DavidsonFit:
    """The maximum of the penalised likelihood.

    Attributes:
        cells: what was fitted.
        beta: [Q] coefficients of `cells.design`.
        log_nu: ln of the tie parameter; minus infinity where nobody ever tied.
        loss: negative log-likelihood of the votes, without the ridge.
        information: [P, P] second derivative of the penalised loss at the maximum; P is Q, and
            one more for ln nu where there are ties.
    """

    cells: Cells
    beta: np.ndarray
    log_nu: float
    loss: float
    information: np.ndarray

    @property
    def theta(self) -> np.ndarray:
        """[M] strengths, natural logarithm, their sum 0."""
        return self.cells.basis @ self.beta[: len(self.cells.models) - 1]

    @property
    def nu(self) -> float:
        """Tie parameter: among equals P(tie) = nu / (2 + nu)."""
        return float(np.exp(self.log_nu))

    @property
    def gamma(self) -> float:
        """Side effect, positive where the left is favoured; 0 where it was not fitted."""
        return float(self.beta[len(self.cells.models) - 1]) if self.cells.with_side else 0.0

    @property
    def style(self) -> dict[str, float]:
        """Coefficient of each covariate, per standard deviation of it."""
        names = self.cells.covariate_names
        return dict(zip(names, self.beta[len(self.beta) - len(names) :].tolist(), strict=True))

    @property
    def parameters(self) -> np.ndarray:
        """[P]: beta, and ln nu where there are ties."""
        return np.append(self.beta, self.log_nu) if self.cells.has_ties else self.beta

    @cached_property
    def scores(self) -> np.ndarray:
        """[C, P] derivative of one vote's log-likelihood in each cell."""
        p_left, p_tie, p_right = probabilities(self.cells.design @ self.beta, self.log_nu)
        slope = (self.cells.outcome - (p_left - p_right)) / 2
        scores = slope[:, None] * self.cells.design
        if not self.cells.has_ties:
            return scores
        return np.column_stack([scores, (self.cells.outcome == 0) - p_tie])

    @cached_property
    def curvatures(self) -> np.ndarray:
        """[C, 3] information of one vote about (d, d), (d, ln nu) and (ln nu, ln nu)."""
        return _curvatures(*probabilities(self.cells.design @ self.beta, self.log_nu))


def probabilities(
    d: np.ndarray, log_nu: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P(left), P(tie), P(right) of Davidson's model, each of the shape of `d`."""
    top = np.maximum(np.abs(d) / 2, log_nu)
    left, tie, right = np.exp(d / 2 - top), np.exp(log_nu - top), np.exp(-d / 2 - top)
    total = left + tie + right
    return left / total, tie / total, right / total


def fit_davidson(
    cells: Cells,
    *,
    ridge: float = RIDGE,
    start: np.ndarray | None = None,
    require_connected: bool = True,
) -> DavidsonFit:
    """Davidson's model fitted by Newton's method.

    Args:
        cells: votes; cells of weight 0 are allowed.
        ridge: added half as often as the squared parameters.
        start: [P] parameters to begin at.
        require_connected: without it the ridge decides between models that never met, as a
            resample may need.

    Raises:
        RequestError: fewer than two models, or models that no chain of votes connects.
    """
    if require_connected:
        require_comparable(cells)
    size = cells.design.shape[1] + cells.has_ties
    point = np.zeros(size) if start is None else start.copy()
    loss, gradient, hessian = _loss(cells, point, ridge)
    for _ in range(STEPS):
        step = np.linalg.solve(hessian, gradient)
        if gradient @ step < TOLERANCE:
            break
        length = 1.0
        while length > 1e-6:
            candidate = _loss(cells, point - length * step, ridge)
            if candidate[0] <= loss:
                break
            length /= 2
        point = point - length * step
        loss, gradient, hessian = candidate
    width = cells.design.shape[1]
    beta = point[:width]
    log_nu = float(point[width]) if cells.has_ties else -np.inf
    return DavidsonFit(
        cells=cells,
        beta=beta,
        log_nu=log_nu,
        loss=float(loss - ridge / 2 * point @ point),
        information=hessian,
    )


@dataclass(frozen=True)
class RaoKupperFit:
    """Rao and Kupper's model.

    Attributes:
        theta: [M] strengths, their sum 0.
        gamma: side effect; 0 where it was not fitted.
        threshold: t >= 1; 1 where there are no ties.
        loss: negative log-likelihood.
    """

    theta: np.ndarray
    gamma: float
    threshold: float
    loss: float


def fit_rao_kupper(cells: Cells, *, ridge: float = RIDGE) -> RaoKupperFit:
    """Rao and Kupper's model, another view of ties, as a check of Davidson's.

    Raises:
        RequestError: as `fit_davidson`.
    """
    require_comparable(cells)
    y, design = cells.outcome, cells.design

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        log_t = np.logaddexp(0, point[-1])  # positive
        d = design @ point[:-1]
        left, right = log_expit(d - log_t), log_expit(-d - log_t)
        # P(tie) = P(left) P(right) (t^2 - 1)
        ties = left + right + np.log(np.expm1(2 * log_t))
        value = np.where(y == 1, left, np.where(y == -1, right, ties))
        to_left, to_right = (y >= 0) * -np.expm1(left), (y <= 0) * -np.expm1(right)
        by_d = cells.weight * (to_left - to_right)
        extra = (y == 0) * 2 / -np.expm1(-2 * log_t)
        by_t = (cells.weight * (extra - to_left - to_right)).sum()
        gradient = np.append(design.T @ by_d, by_t / (1 + np.exp(-point[-1])))
        penalty = ridge / 2 * point[:-1] @ point[:-1]
        gradient[:-1] -= ridge * point[:-1]
        return float(penalty - cells.weight @ value), -gradient

    start = np.zeros(design.shape[1] + 1)
    if not cells.has_ties:
        start[-1] = -40.0  # t is 1, and stays: its gradient is scaled by expit(-40)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    beta, count = found.x[:-1], len(cells.models)
    return RaoKupperFit(
        theta=cells.basis @ beta[: count - 1],
        gamma=float(beta[count - 1]) if cells.with_side else 0.0,
        threshold=float(1 + np.exp(found.x[-1])),
        loss=float(found.fun - ridge / 2 * beta @ beta),
    )


def require_comparable(cells: Cells) -> None:
    """Refuses votes from which no common scale can be made.

    Raises:
        RequestError: fewer than two models, or models that no chain of votes connects.
    """
    count = len(cells.models)
    if count < 2:
        raise RequestError(
            f"There are votes on {count} model(s) only.", next_step="Compare at least two."
        )
    voted = cells.weight > 0
    met = np.zeros((count, count))
    met[cells.left[voted], cells.right[voted]] = 1
    groups, member = connected_components(met, directed=False)
    if groups > 1:
        listed = "; ".join(_listed(cells.models, member == group) for group in range(groups))
        raise RequestError(
            f"The models fall into {groups} groups that were never compared: {listed}.",
            next_step="Collect votes between the groups, or rank each alone.",
        )


def _listed(models: Sequence[str], chosen: np.ndarray) -> str:
    return ", ".join(models[i] for i in np.flatnonzero(chosen).tolist())


def _standardised(values: np.ndarray) -> np.ndarray:
    """In standard deviations about zero, which stays zero: no difference is no effect."""
    spread = float(np.sqrt(np.mean(values**2)))
    return values / spread if spread else values


def _curvatures(p_left: np.ndarray, p_tie: np.ndarray, p_right: np.ndarray) -> np.ndarray:
    lead = p_left - p_right
    return np.stack(
        [(p_left + p_right - lead**2) / 4, -lead * p_tie / 2, p_tie * (1 - p_tie)], axis=-1
    )


def _loss(cells: Cells, point: np.ndarray, ridge: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Penalised loss, its gradient [P] and its Hessian [P, P]."""
    design, width = cells.design, cells.design.shape[1]
    log_nu = point[width] if cells.has_ties else -np.inf
    p_left, p_tie, p_right = probabilities(design @ point[:width], log_nu)
    chosen = np.choose(cells.outcome + 1, (p_right, p_tie, p_left))
    loss = -(cells.weight @ np.log(np.maximum(chosen, 1e-300)))
    loss += ridge / 2 * point @ point
    curved = cells.weight[:, None] * _curvatures(p_left, p_tie, p_right)
    slope = cells.weight * (cells.outcome - (p_left - p_right)) / 2
    gradient = -(slope @ design) + ridge * point[:width]
    hessian = design.T @ (curved[:, :1] * design) + ridge * np.eye(width)
    if cells.has_ties:
        cross = curved[:, 1] @ design
        last = curved[:, 2].sum() + ridge
        hessian = np.block([[hessian, cross[:, None]], [cross[None], last]])
        missing = cells.weight @ ((cells.outcome == 0) - p_tie)
        gradient = np.append(gradient, ridge * log_nu - missing)
    return float(loss), gradient, hessian
