"""How many votes a question needs, and what a number of votes can show.

For a win rate p among decisive votes, tested against one half by the normal approximation:

    n = ((z_(alpha/2) / 2 + z_power sqrt(p (1 - p))) / (p - 1/2))^2,   votes = n D / (1 - ties),

D the design effect: how much larger the variance is because votes of a rater, and on a prompt, go
together (about 2.5 at 24 raters x 40 votes).
"""

import math
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.stats import norm

from ltx2.errors import RequestError

ALPHA = 0.05


@dataclass(frozen=True)
class Circumstances:
    """What else decides the number of votes.

    Attributes:
        ties: share of ties, 0 to below 1.
        design_effect: 1 for independent votes.
        power: chance to show the difference if it is there.
    """

    ties: float = 0.0
    design_effect: float = 1.0
    power: float = 0.8

    def __post_init__(self) -> None:
        if not 0 <= self.ties < 1:
            raise RequestError(f"A tie rate of {self.ties:g} cannot be.", next_step="Give 0 to 1.")
        if not self.design_effect > 0:
            raise RequestError(
                f"A design effect of {self.design_effect:g} cannot be.",
                next_step="Give 1 for independent votes, about 2.5 where raters vote often.",
            )
        if not ALPHA < self.power < 1:
            raise RequestError(
                f"A power of {self.power:g} cannot be planned.", next_step="Give 0.8 or 0.9."
            )


INDEPENDENT = Circumstances()


def votes_needed(win_rate: float, circumstances: Circumstances = INDEPENDENT) -> int:
    """Votes on one pair of models that show a win rate to differ from one half.

    Decisive votes are rounded up; what ties and the design effect make of them is cut to a
    whole number.

    Args:
        win_rate: among votes that are no ties.

    Raises:
        RequestError: the win rate is one half, or none at all.
    """
    if not 0 < win_rate < 1 or win_rate == 0.5:
        raise RequestError(
            f"No number of votes shows a win rate of {win_rate:g}.",
            next_step="Give one between 0 and 1 other than 0.5, such as 0.6.",
        )
    decisive = math.ceil(_decisive(win_rate, circumstances.power))
    return max(1, int(decisive * circumstances.design_effect / (1 - circumstances.ties)))


def detectable_win_rate(votes: float, circumstances: Circumstances = INDEPENDENT) -> float:
    """Smallest win rate above one half that so many votes on a pair show; 1 if none."""
    decisive, power = (
        votes * (1 - circumstances.ties) / circumstances.design_effect,
        circumstances.power,
    )
    if _decisive(1 - 1e-9, power) >= decisive:
        return 1.0
    return float(brentq(lambda p: _decisive(p, power) - decisive, 0.5 + 1e-7, 1 - 1e-9))


def _decisive(win_rate: float, power: float) -> float:
    spread = (win_rate * (1 - win_rate)) ** 0.5
    needed = norm.ppf(1 - ALPHA / 2) / 2 + norm.ppf(power) * spread
    return float((needed / (win_rate - 0.5)) ** 2)
