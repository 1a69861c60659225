"""How long clips hold before they fail, with those that never did counted as such."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, norm


@dataclass(frozen=True)
class Lifetime:
    """One clip.

    Attributes:
        time_s: of its first failure, or until when it is known to hold.
        failed: whether it did.
        prompt: clips of one prompt are no independent evidence; None stands alone.
    """

    time_s: float
    failed: bool
    prompt: str | None = None


@dataclass(frozen=True)
class SurvivalCurve:
    """Share of clips that still hold, from each time on.

    Attributes:
        times_s: 0 and the moments at which clips failed, rising.
        share, low, high: with a 95 % interval.
    """

    times_s: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray


def first_failure(
    times_s: Sequence[float] | np.ndarray,
    values: Sequence[float] | np.ndarray,
    band: tuple[float, float],
    prompt: str | None = None,
) -> Lifetime:
    """When the median of three windows first leaves a band; nothing is known past the last value.

    Args:
        times_s: of the windows, rising.
        values: one a window; NaN where nothing could be measured, which is no failure.
        band: lowest and highest value that is still good.
        prompt: of the clip.
    """
    known = [(t, v) for t, v in zip(times_s, values, strict=True) if np.isfinite(v)]
    for (_, before), (time_s, value), (_, after) in zip(known, known[1:], known[2:], strict=False):
        middle = float(np.median([before, value, after]))
        if not band[0] <= middle <= band[1]:
            return Lifetime(float(time_s), True, prompt)
    return Lifetime(float(known[-1][0]) if known else 0.0, False, prompt)


def kaplan_meier(lifetimes: Sequence[Lifetime]) -> SurvivalCurve:
    """Product-limit estimate (Kaplan and Meier, 1958), interval on the log-log scale.

    The interval is that of as many clips as there are prompts, as if all clips of one were alike.

    Args:
        lifetimes: one a clip; at least one.
    """
    times = np.array([lifetime.time_s for lifetime in lifetimes])
    failed = np.array([lifetime.failed for lifetime in lifetimes])
    moments = np.unique(times[failed])
    at_risk = np.array([(times >= moment).sum() for moment in moments], float)
    fails = np.array([(failed & (times == moment)).sum() for moment in moments], float)
    share = np.cumprod(1 - fails / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = clips_per_prompt(lifetimes) * np.cumsum(fails / (at_risk * (at_risk - fails)))
        spread = np.sqrt(variance) / np.abs(np.log(share))
        low, high = (share ** np.exp(sign * norm.ppf(0.975) * spread) for sign in (1.0, -1.0))
    # All clips have failed: the formula has no interval there.
    low, high = np.where(share > 0, low, 0.0), np.where(share > 0, high, 0.0)
    ones = np.ones(1)
    return SurvivalCurve(
        np.concatenate([np.zeros(1), moments]),
        *(np.concatenate([ones, part]) for part in (share, low, high)),
    )


def log_rank(groups: Sequence[Sequence[Lifetime]]) -> float:
    """P-value that clips of all groups fail alike (Mantel, 1966; Peto and Peto, 1972).

    Clips of one prompt count as one, as in `kaplan_meier`.

    Args:
        groups: lifetimes by model; two or more, none empty.
    """
    times = [np.array([lifetime.time_s for lifetime in group]) for group in groups]
    failed = [np.array([lifetime.failed for lifetime in group]) for group in groups]
    size = len(groups)
    excess, variance = np.zeros(size), np.zeros((size, size))
    for moment in np.unique(np.concatenate([t[f] for t, f in zip(times, failed, strict=True)])):
        at_risk = np.array([(t >= moment).sum() for t in times], float)
        fails = np.array([(f & (t == moment)).sum() for t, f in zip(times, failed, strict=True)])
        total, deaths = at_risk.sum(), fails.sum()
        share = at_risk / total
        excess += fails - deaths * share
        if total > 1:
            factor = deaths * (total - deaths) / (total - 1)
            variance += factor * (np.diag(share) - np.outer(share, share))
    if not variance.any():
        return 1.0
    statistic = float(excess[:-1] @ np.linalg.pinv(variance[:-1, :-1]) @ excess[:-1])
    repeats = float(np.mean([clips_per_prompt(group) for group in groups]))
    return float(chi2.sf(statistic / repeats, size - 1))


def clips_per_prompt(lifetimes: Sequence[Lifetime]) -> float:
    """By how much the clips outnumber the independent pieces of evidence, 1 or more."""
    prompts = {lifetime.prompt for lifetime in lifetimes if lifetime.prompt is not None}
    alone = sum(lifetime.prompt is None for lifetime in lifetimes)
    return len(lifetimes) / (len(prompts) + alone)
