"""Whether raters could tell which model made a clip (Bang, Ni and Davis 2004)."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from evaluation.preference.intervals import LEVEL, Interval


@dataclass(frozen=True)
class Guess:
    """One answer to "which model made this clip?".

    Attributes:
        model: that made it.
        guessed: what the rater said; None for "don't know".
    """

    model: str
    guessed: str | None


def blinding_index(guesses: list[Guess], *, choices: int) -> dict[str, Interval]:
    """Bang's index of each model: 0 is what chance gives, 1 everybody knew, below 0 misled.

    (right - wrong / (choices - 1)) / all, which for two choices is Bang's; the interval is that of
    a multinomial.

    Args:
        choices: how many models could be named.
    """
    quantile = float(norm.ppf((1 + LEVEL) / 2))
    found = {}
    for model in sorted({guess.model for guess in guesses}):
        answers = [guess.guessed for guess in guesses if guess.model == model]
        right = answers.count(model) / len(answers)
        wrong = 1 - right - answers.count(None) / len(answers)
        index = right - wrong / (choices - 1)
        variance = right + wrong / (choices - 1) ** 2 - index**2
        spread = quantile * float(np.sqrt(max(variance, 0) / len(answers)))
        found[model] = Interval(index, max(index - spread, -1.0), min(index + spread, 1.0))
    return found
