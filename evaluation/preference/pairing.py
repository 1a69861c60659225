"""Which pair to show next where votes are dear: the one whose vote tells the most.

A pair's weight is what one more vote takes off its standard error, sqrt(S / n) - sqrt(S / (n + 1))
(Chiang et al. 2024), mixed with an even choice. On each prompt no pair may get far ahead of the one
shown least on it; sides keep both orders equally often. The probability of the pair shown is stored
with the vote, so that an analysis can weigh by its inverse.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.preference.davidson import Cells, fit_davidson
from evaluation.preference.store import Entry
from evaluation.preference.study import SIGNS
from evaluation.preference.votes import VoteTable

EVEN_SHARE = 0.25
"""Least share of pairs chosen evenly, so that no pair is ever given up."""

PROMPT_RATIO, PROMPT_SLACK = 3, 2
"""On one prompt a pair is shown at most so many times as often as the one shown least, plus so
many: whatever is chosen, every pair is judged on every prompt."""


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


def pair_propensities(
    wins: np.ndarray, ties: np.ndarray, allowed: np.ndarray | None = None
) -> np.ndarray:
    """[M, M] symmetric, 0 on the diagonal; the upper triangle sums to 1.

    Args:
        wins: [M, M] int, how often row beat column.
        ties: [M, M] int, symmetric.
        allowed: [M, M] bool, symmetric, at least one pair; None allows all.
    """
    first, second = np.triu_indices(len(wins), 1)
    if allowed is not None:
        first, second = (places[allowed[first, second]] for places in (first, second))
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
    wins: np.ndarray,
    ties: np.ndarray,
    shown_left: np.ndarray,
    rng: np.random.Generator,
    allowed: np.ndarray | None = None,
) -> ChosenPair:
    """The next pair, with sides that keep both orders equally often.

    Args:
        wins, ties, allowed: as for `pair_propensities`.
        shown_left: [M, M] int, how often row was shown left of column.
    """
    chances = pair_propensities(wins, ties, allowed)
    first, second = np.triu_indices(len(wins), 1)
    chosen = rng.choice(len(first), p=chances[first, second])
    one, other = int(first[chosen]), int(second[chosen])
    ahead = shown_left[one, other] - shown_left[other, one]
    if ahead > 0 or (ahead == 0 and rng.random() < 0.5):
        one, other = other, one
    return ChosenPair(one, other, float(chances[one, other]))


class Tally:
    """What the votes of a study say so far, kept up to date from its log.

    Args:
        models: names.
        axis: key of the question that counts.
    """

    def __init__(self, models: Sequence[str], axis: str) -> None:
        count = len(models)
        self._place = {name: place for place, name in enumerate(models)}
        self._names = tuple(models)
        self._axis = axis
        self._votes: dict[str, tuple[int, int, int]] = {}
        self._wins = np.zeros((count, count), dtype=int)
        self._ties = np.zeros((count, count), dtype=int)
        self._shown_left = np.zeros((count, count), dtype=int)
        self._on_prompt: dict[str, np.ndarray] = {}
        self.last_entry = 0

    def add(self, entries: Iterable[Entry]) -> None:
        """Counts entries that follow those counted; a changed vote replaces the first one."""
        for entry in entries:
            self.last_entry = entry.number
            vote = entry.content
            if entry.kind != "vote" or entry.trial is None or vote["kind"] != "test":
                continue
            left, right = self._place[vote["left"]], self._place[vote["right"]]
            sign = SIGNS[vote["answers"][self._axis]]
            before = self._votes.get(entry.trial)
            self._votes[entry.trial] = (left, right, sign)
            if before is not None:
                self._count(*before, -1)
            self._count(left, right, sign, 1)
            if before is None:
                self._shown_left[left, right] += 1
                nothing = np.zeros_like(self._wins)
                shown = self._on_prompt.setdefault(vote["prompt"], nothing)
                shown[left, right] += 1
                shown[right, left] += 1

    def choose(self, prompt: str, rng: np.random.Generator) -> tuple[str, str, float]:
        """Left model, right model, and the probability with which the pair was chosen."""
        shown = self._on_prompt.get(prompt, np.zeros_like(self._wins))
        least = shown[np.triu_indices(len(shown), 1)].min()
        allowed = shown <= PROMPT_RATIO * least + PROMPT_SLACK
        found = choose_pair(self._wins, self._ties, self._shown_left, rng, allowed)
        return self._names[found.left], self._names[found.right], found.propensity

    def _count(self, left: int, right: int, sign: int, by: int) -> None:
        if sign == 0:
            self._ties[left, right] += by
            self._ties[right, left] += by
        elif sign > 0:
            self._wins[left, right] += by
        else:
            self._wins[right, left] += by


def reweighted_strengths(votes: VoteTable) -> np.ndarray:
    """[M] strengths with each vote weighed by the inverse of its pair's propensity.

    Where they are far from the plain ones, the model fits some pairs badly, and the choice of
    pairs had a say in the result.

    Args:
        votes: with `propensity`.
    """
    assert votes.propensity is not None
    cells, cell = Cells.of(votes)
    weight = 1 / votes.propensity
    summed = np.bincount(cell, weight * len(votes) / weight.sum(), minlength=len(cells.weight))
    return fit_davidson(cells.weighted(summed)).theta
