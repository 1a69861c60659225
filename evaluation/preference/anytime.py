"""Whether a pair of models can be told apart already, however often somebody looked."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from evaluation.preference.stopping import log_e_of_means, stopping_place
from evaluation.preference.votes import VoteTable


@dataclass(frozen=True)
class PairEvidence:
    """Of one pair of models, in the order in which raters finished.

    Attributes:
        better, worse: the models; `better` has the larger share.
        share: mean over raters of the share of votes for `better`, ties counted half.
        log_e: ln of the e-value after each rater; it bets that the share is not one half.
        enough_after: raters after which it reached its threshold; None while it has not.
    """

    better: str
    worse: str
    share: float
    log_e: tuple[float, ...]
    enough_after: int | None

    @property
    def raters(self) -> int:
        """Who judged the pair."""
        return len(self.log_e)


def pair_evidence(
    votes: VoteTable, *, alpha: float = 0.05, finished: Collection[str] | None = None
) -> tuple[PairEvidence, ...]:
    """Every pair that was judged, most evidence first.

    The threshold is the number of pairs over alpha, so that the chance of any false alarm in the
    whole study is at most alpha.

    Args:
        votes: of one question, in the order in which they were given.
        finished: raters whose votes are complete; None for all. A rater in the middle of a session
            would change a value that was looked at before.
    """
    done = np.array([finished is None or name in finished for name in votes.rater.names])
    place = np.arange(len(votes))
    last = np.zeros(len(votes.rater), dtype=np.int64)
    np.maximum.at(last, votes.rater.codes, place)
    pairs = list(combinations(range(len(votes.models)), 2))
    found = []
    for one, other in pairs:
        forward = (votes.left == one) & (votes.right == other)
        back = (votes.left == other) & (votes.right == one)
        inside = np.flatnonzero((forward | back) & done[votes.rater.codes])
        if not len(inside):
            continue
        value = np.where(forward, votes.outcome, -votes.outcome)[inside] / 2 + 0.5
        raters, code = np.unique(votes.rater.codes[inside], return_inverse=True)
        mean = np.bincount(code, value) / np.bincount(code)
        mean = mean[np.argsort(last[raters], kind="stable")]
        log_e = log_e_of_means(mean)
        names = votes.models[one], votes.models[other]
        share = float(mean.mean())
        if share < 0.5:
            names, share = names[::-1], 1 - share
        enough = stopping_place(log_e, alpha=alpha / len(pairs))
        found.append(PairEvidence(*names, share, tuple(map(float, log_e)), enough))
    return tuple(sorted(found, key=lambda pair: -pair.log_e[-1]))
