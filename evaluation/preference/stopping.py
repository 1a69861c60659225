"""When to stop collecting votes, looking after every one, without more false alarms.

A test martingale bets on the mean of values in [0, 1] being one half: with a share q of the
stake on each side the capital is multiplied by 2 (q x + (1 - q) (1 - x)), and q is mixed over
Beta(a, a). Under the null the capital is expected never to grow, so by Ville's inequality it ever
reaches 1 / alpha with a chance of at most alpha (Waudby-Smith and Ramdas 2024). For votes the mix
has a closed form, 2^n B(a + w, a + n - w) / B(a, a).

Votes of one rater go together: for several votes a rater, bet on raters' means.
"""

import numpy as np
from scipy.special import betaln, logsumexp, roots_jacobi

from evaluation.preference.davidson import DavidsonFit
from evaluation.preference.intervals import Covariance, strength_rows

ALPHA = 0.05
MIX = 10.0
"""Parameter a of the mixing Beta(a, a): the sharpest near a win rate of 0.6."""

MIX_OF_MEANS = 1.0
"""The same for raters' means, which lie nearer to one half than votes do, so that bets may be
bolder: at 25 votes a rater and a share of 0.6 it stops after half as many raters as `MIX` does."""

NODES = 128
WIDTH = 0.15
"""Standard error of a strength at which an estimate is good enough."""


def log_e_of_votes(wins: np.ndarray, votes: np.ndarray, *, mix: float = MIX) -> np.ndarray:
    """Ln E after so many decisive, independent votes; arrays or numbers."""
    return votes * np.log(2.0) + betaln(mix + wins, mix + votes - wins) - betaln(mix, mix)


def log_e_of_means(means: np.ndarray, *, mix: float = MIX_OF_MEANS) -> np.ndarray:
    """Ln E after each of the values [G] in [0, 1], in the order in which raters finished.

    Args:
        means: a rater's share of wins, ties counted half; one half is no preference.
    """
    # Gauss-Jacobi nodes integrate against Beta(a, a) on [-1, 1].
    points, weights = roots_jacobi(NODES, mix - 1, mix - 1)
    share = (points + 1) / 2
    growth = np.log(2 * (share * means[:, None] + (1 - share) * (1 - means[:, None])))
    return logsumexp(growth.cumsum(axis=0), b=weights / weights.sum(), axis=1)


def stopping_place(log_e: np.ndarray, *, alpha: float = ALPHA) -> int | None:
    """How many values were needed until E reached 1 / alpha; None if it never did."""
    reached = np.flatnonzero(log_e >= -np.log(alpha))
    return int(reached[0]) + 1 if len(reached) else None


def narrow_enough(fit: DavidsonFit, covariance: Covariance, *, width: float = WIDTH) -> bool:
    """Whether the standard error of every strength is at most `width`."""
    rows = strength_rows(fit)
    variance = np.einsum("ip,pq,iq->i", rows, covariance.matrix, rows)
    return bool(np.sqrt(max(variance.max(), 0.0)) <= width)
