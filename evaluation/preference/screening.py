"""Which raters did not judge, each with the reason; the rules are set before the first vote.

Attention, repeats and time come from the session; likelihood, side and anomaly from the votes. The
ranking is always given with and without exclusions.

A rater with a thousand votes fails a test of significance for a taste or a habit that changes
nothing. So beside each p-value stands the size of what it found. For likelihood and anomaly that is
what guessing would have explained: a rater whose votes the others' fit tells less well than shares
of answers alone do (so many left, so many ties) pays no heed to what is shown, or reads the scale
the other way round; one whose votes it tells better judges, if noisily.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, chi2

from evaluation.preference.davidson import DavidsonFit, probabilities
from evaluation.preference.intervals import leave_one_out
from evaluation.preference.study import ScreeningRules
from evaluation.preference.votes import VoteTable


@dataclass(frozen=True)
class RaterEvidence:
    """What a session saw of a rater beside the votes.

    Attributes:
        rater: as in the votes.
        attention_passed, attention_shown: trials with a known answer.
        repeats_same, repeats_shown: pairs shown again with sides swapped, answered alike.
        median_trial_s, median_clip_s: seconds from the start of a trial to the vote, and seconds
            that a clip lasts; None where it was not recorded.
    """

    rater: str
    attention_passed: int = 0
    attention_shown: int = 0
    repeats_same: int = 0
    repeats_shown: int = 0
    median_trial_s: float | None = None
    median_clip_s: float | None = None


@dataclass(frozen=True)
class Exclusion:
    """A rater left out, and every reason for it."""

    rater: str
    reasons: tuple[str, ...]


DEFAULTS = ScreeningRules()


def screen(
    fit: DavidsonFit,
    votes: VoteTable,
    cell: np.ndarray,
    *,
    evidence: Sequence[RaterEvidence] = (),
    rules: ScreeningRules = DEFAULTS,
) -> tuple[Exclusion, ...]:
    """Raters to leave out, by name.

    Args:
        fit: of all `votes`.
        cell: [N], each vote's cell, as from `Cells.of`.
        evidence: what sessions saw; raters without votes are passed over.
        rules: of the study's plan.
    """
    reasons: dict[str, list[str]] = {name: [] for name in votes.rater.names}
    for seen in evidence:
        reasons.get(seen.rater, []).extend(_session_reasons(seen, rules))
    for found in (
        _unlikely(fit, votes, cell, rules),
        _one_sided(votes, rules),
    ):
        for rater, reason in found:
            reasons[votes.rater.names[rater]].append(reason)
    return tuple(Exclusion(name, tuple(why)) for name, why in reasons.items() if why)


def _session_reasons(seen: RaterEvidence, rules: ScreeningRules) -> list[str]:
    reasons = []
    if _failed(seen.attention_passed, seen.attention_shown, rules.min_attention, rules.max_luck):
        reasons.append(f"attention: {seen.attention_passed} of {seen.attention_shown} passed")
    if _failed(seen.repeats_same, seen.repeats_shown, rules.min_repeat_consistency, rules.max_luck):
        reasons.append(f"repeats: {seen.repeats_same} of {seen.repeats_shown} answered alike")
    trial, clip = seen.median_trial_s, seen.median_clip_s
    if trial is not None and clip is not None and trial < rules.min_time_share * clip:
        reasons.append(f"time: voted after {trial:.1f} s on clips of {clip:.1f} s")
    return reasons


def _failed(passed: int, shown: int, share: float, luck: float) -> bool:
    """Whether fewer than the share were passed, and that is no bad luck."""
    return passed < share * shown and float(binom.cdf(passed, shown, share)) <= luck


def _unlikely(
    fit: DavidsonFit, votes: VoteTable, cell: np.ndarray, rules: ScreeningRules
) -> list[tuple[int, str]]:
    """By likelihood and by Fisher's test, under the fit without the rater."""
    rater, raters = votes.rater.codes, len(votes.rater)
    moved = fit.parameters + leave_one_out(fit, cell, rater, raters)
    width = fit.cells.design.shape[1]
    d = np.einsum("np,np->n", fit.cells.design[cell], moved[rater, :width])
    log_nu = moved[rater, width] if fit.cells.has_ties else np.full(len(votes), -np.inf)
    chances = np.stack(probabilities(d, log_nu), axis=1)
    with np.errstate(divide="ignore"):
        logs = np.where(chances > 0, np.log(np.maximum(chances, 1e-300)), 0.0)
    rows = np.arange(len(votes))
    mean = (chances * logs).sum(axis=1)
    variance = (chances * logs**2).sum(axis=1) - mean**2
    place = 1 - votes.outcome
    surprise = _sums(logs[rows, place] - mean, rater, raters)
    z = surprise / np.sqrt(np.maximum(_sums(variance, rater, raters), 1e-12))
    guessed = np.log((np.bincount(place, minlength=3) / len(votes))[place])
    gain = _sums(logs[rows, place] - guessed, rater, raters) / np.bincount(rater, minlength=raters)
    size = "guessing tells the votes better, by {:.2f} nats each"
    found = [
        (int(r), f"likelihood: z = {z[r]:.1f}, {size.format(-gain[r])}")
        for r in np.flatnonzero((z < rules.min_log_likelihood_z) & (gain < 0))
    ]
    # Chance of an answer as unlikely as the one given, or more.
    own = chances[rows, place][:, None]
    p = (chances * (chances <= own * (1 + 1e-12))).sum(axis=1)
    order = np.argsort(rater, kind="stable")
    begin = np.searchsorted(rater[order], np.arange(raters))
    many = np.diff(np.append(begin, len(votes)))
    total = np.append(0, np.cumsum(-2 * np.log(np.maximum(p[order], 1e-300))))
    told = set()
    for after in rules.anomaly_after:
        able = np.flatnonzero((many >= after) & (gain < 0))
        statistic = total[begin[able] + after] - total[begin[able]]
        limit = chi2.isf(rules.max_anomaly_p / len(rules.anomaly_after), 2 * after)
        for r in able[statistic > limit]:
            if r not in told:
                told.add(r)
                reason = f"anomaly: the first {after} votes are unlikely together"
                found.append((int(r), f"{reason}, {size.format(-gain[r])}"))
    return found


def _one_sided(votes: VoteTable, rules: ScreeningRules) -> list[tuple[int, str]]:
    raters = len(votes.rater)
    left = _sums(votes.outcome == 1, votes.rater.codes, raters)
    decided = _sums(votes.outcome != 0, votes.rater.codes, raters)
    more = np.maximum(left, decided - left)
    p = np.minimum(2 * binom.sf(more - 1, decided, 0.5), 1.0)
    return [
        (
            int(r),
            f"side: {int(more[r])} of {int(decided[r])} decisive votes for the "
            f"{'left' if left[r] == more[r] else 'right'}",
        )
        for r in np.flatnonzero(
            (p < rules.max_same_side_p) & (more >= rules.min_same_side_share * decided)
        )
    ]


def _sums(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    return np.bincount(group, values, minlength=groups)
