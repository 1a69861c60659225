"""Which pair to show next where votes are dear: the one whose vote tells the most.

A pair's weight is what one more vote takes off its standard error, sqrt(S / n) - sqrt(S / (n + 1))
(Chiang et al. 2024), mixed with an even choice; the probability of the pair shown is handed back to
be stored with the vote, so that an analysis can weigh by its inverse.
"""

from dataclasses import dataclass

import numpy as np

EVEN_SHARE = 0.25
"""Least share of pairs chosen evenly, so that no pair is ever given up."""


@dataclass(frozen=True)
class ChosenPair:
    """What to show.

    Attributes:
        left, right: index of the models.
        propensity: probability with which this pair, whatever its sides, was chosen.
    """

    left: int
    right: int
    propensity: float


def pair_propensities(wins: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """[M, M] symmetric, 0 on the diagonal; the upper triangle sums to 1.

    Args:
        wins: [M, M] int, how often row beat column.
        ties: [M, M] int, symmetric.
    """
    first, second = np.triu_indices(len(wins), 1)
    won, lost, tied = wins[first, second], wins[second, first], ties[first, second]
    votes = won + lost + tied
    # One vote of each kind beforehand: pairs not shown yet have a variance, and a large gain.
    mean = (won + 1.0 + (tied + 1.0) / 2) / (votes + 3.0)
    variance = (won + 1.0 + (tied + 1.0) / 4) / (votes + 3.0) - mean**2
    gain = np.sqrt(variance / (votes + 1.0)) - np.sqrt(variance / (votes + 2.0))
    chance = EVEN_SHARE / len(first) + (1 - EVEN_SHARE) * gain / gain.sum()
    found = np.zeros(wins.shape)
    found[first, second] = found[second, first] = chance
    return found


def choose_pair(
    wins: np.ndarray, ties: np.ndarray, shown_left: np.ndarray, rng: np.random.Generator
) -> ChosenPair:
    """The next pair, with sides that keep both orders equally often.

    Args:
        wins, ties: as for `pair_propensities`.
        shown_left: [M, M] int, how often row was shown left of column.
    """
    chances = pair_propensities(wins, ties)
    first, second = np.triu_indices(len(wins), 1)
    chosen = rng.choice(len(first), p=chances[first, second])
    one, other = int(first[chosen]), int(second[chosen])
    ahead = shown_left[one, other] - shown_left[other, one]
    if ahead > 0 or (ahead == 0 and rng.random() < 0.5):
        one, other = other, one
    return ChosenPair(one, other, float(chances[one, other]))
