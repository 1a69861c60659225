"""What of the ranking remains when loudness, length, size and sharpness are held equal.

Raters like louder, longer and larger clips, whoever made them. A covariate can only be held equal
where it varies within pairs of models: if one model's clips are always the larger ones, votes
cannot tell whether it wins by being larger or by being better, and no statistics can.
"""

from dataclasses import dataclass, replace

import numpy as np

from evaluation.preference.ranking import NotRanked, Options, Ranking, rank_votes
from evaluation.preference.votes import VoteTable
from ltx2.errors import RequestError

STYLE = ("d_log_duration", "d_lufs", "d_log_pixels", "d_log_sharpness")
"""Columns of exported votes: of the clips as they came, left minus right."""

MIN_FREE_SHARE = 0.1
"""Least share of a covariate's variance that the models do not explain."""


@dataclass(frozen=True)
class Styled:
    """The second reading with style held equal.

    Attributes:
        ranking: of the main question, by all raters; its `style` has the effects, per standard
            deviation. None where nothing can be held equal.
        used: covariates held equal.
        confounded: covariates that votes cannot tell from the models themselves.
    """

    ranking: Ranking | NotRanked | None
    used: tuple[str, ...]
    confounded: tuple[str, ...]


def style_controlled(votes: VoteTable, axis: str, *, seed: int = 0) -> Styled:
    """The ranking with those of the votes' covariates held equal that can be.

    Args:
        votes: with covariates.
        axis: the main question.
        seed: of everything drawn.
    """
    differing = [name for name, values in votes.covariates.items() if np.any(values)]
    used = tuple(name for name in differing if free_share(votes, name) >= MIN_FREE_SHARE)
    confounded = tuple(name for name in differing if name not in used)
    if not used:
        return Styled(None, (), confounded)
    table = replace(votes, covariates={name: votes.covariates[name] for name in used}, slices={})
    if table.axis is not None:
        table = table.where(table.axis.codes == table.axis.names.index(axis))
        table = replace(table, axis=None)
    try:
        ranking = rank_votes(table, options=Options(resamples=0, seed=seed)).overall
    except RequestError as error:
        return Styled(NotRanked(error.message), used, confounded)
    return Styled(ranking, used, confounded)


def free_share(votes: VoteTable, name: str) -> float:
    """Share of a covariate's variance that is left when every pair of models has its own mean.

    The mean is of the first model minus the second, whatever their sides.
    """
    values, count = votes.covariates[name], len(votes.models)
    sign = np.where(votes.left < votes.right, 1.0, -1.0)
    pair = np.minimum(votes.left, votes.right) * count + np.maximum(votes.left, votes.right)
    _, pair = np.unique(pair, return_inverse=True)
    size = np.bincount(pair)
    mean = np.bincount(pair, sign * values) / size
    total = float(np.mean(values**2))
    return float(np.mean((sign * values - mean[pair]) ** 2)) / total if total else 0.0
