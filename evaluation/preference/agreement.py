"""Whether raters agree: Krippendorff's alpha and plain percent, with a bootstrap over pairs.

Written out rather than taken from evalica, whose table of all raters by all pairs would not fit
into memory for a million votes; the two give the same numbers.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluation.preference.intervals import LEVEL, Interval
from evaluation.preference.votes import VoteTable

Distance = Literal["nominal", "ordinal"]


@dataclass(frozen=True)
class Agreement:
    """Of raters who judged the same pair on the same prompt.

    Attributes:
        alpha: Krippendorff's, 1 is full agreement and 0 chance; None where no pair was judged twice
            or everybody always said the same.
        percent: share of pairs of raters who said the same; None where no pair was judged twice.
        distance: of answers.
        units: how many pairs were judged at least twice.
    """

    alpha: Interval | None
    percent: float | None
    distance: Distance
    units: int


def agreement(
    votes: VoteTable, *, distance: Distance = "ordinal", resamples: int = 500, seed: int = 0
) -> Agreement:
    """Agreement on which clip is better, whatever side it was shown on."""
    count = len(votes.models)
    low, high = np.minimum(votes.left, votes.right), np.maximum(votes.left, votes.right)
    unit = (votes.prompt.codes * count + low) * count + high
    value = np.where(votes.left < votes.right, votes.preference, -votes.preference)
    return agreement_on(
        unit, value, votes.rater.codes, distance=distance, resamples=resamples, seed=seed
    )


def agreement_on(
    unit: np.ndarray,
    value: np.ndarray,
    rater: np.ndarray,
    *,
    distance: Distance,
    resamples: int = 500,
    seed: int = 0,
) -> Agreement:
    """Agreement of answers on units.

    Args:
        unit, value, rater: [N] of each answer; values are whole numbers in order. Of a rater's
            answers on one unit the first counts: nobody is compared with themselves.
    """
    by_rater = rater.astype(np.int64) * (int(unit.max(initial=0)) + 1) + unit
    first = np.unique(by_rater, return_index=True)[1]
    unit, value = unit[first], value[first]
    units, unit = np.unique(unit, return_inverse=True)
    values, value = np.unique(value, return_inverse=True)
    size = len(values)
    counts = np.bincount(unit * size + value, minlength=len(units) * size).reshape(-1, size)
    counts = counts[counts.sum(axis=1) > 1].astype(float)
    if not len(counts):
        return Agreement(None, None, distance, 0)
    total = counts.sum(axis=1)
    same = (counts * (counts - 1)).sum() / (total * (total - 1)).sum()
    # Pairable answers within a unit, each unit weighing as much as it has answers.
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs -= counts[:, :, None] * np.eye(size)
    pairs = (pairs / (total - 1)[:, None, None]).reshape(len(counts), -1)
    rng = np.random.default_rng(seed)
    chance = np.full(len(counts), 1 / len(counts))
    drawn = np.array(
        [
            _alpha(rng.multinomial(len(counts), chance).astype(float) @ pairs, distance)
            for _ in range(resamples)
        ]
    )
    alpha = _alpha(pairs.sum(axis=0), distance)
    if np.isnan(alpha):
        return Agreement(None, float(same), distance, len(counts))
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    interval = Interval(float(alpha), float(low), float(high))
    return Agreement(interval, float(same), distance, len(counts))


def _alpha(pairs: np.ndarray, distance: Distance) -> float:
    """1 - observed / expected disagreement, of coincidences [V * V]; NaN where all are equal."""
    size = round(len(pairs) ** 0.5)
    coincidences = pairs.reshape(size, size)
    often = coincidences.sum(axis=1)
    if distance == "nominal":
        apart = 1.0 - np.eye(size)
    else:
        # Answers from one to the other, both ends counted half.
        middle = often.cumsum() - often / 2
        apart = (middle[:, None] - middle[None]) ** 2
    expected = (np.outer(often, often) * apart).sum() / (often.sum() - 1)
    return float(1 - (coincidences * apart).sum() / expected) if expected else float("nan")
