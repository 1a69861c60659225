"""Means and shares with intervals that know which clips are no independent evidence."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes:
        value: mean over the items, each of which counts once however many seeds it has.
        low, high: NaN where one item alone tells nothing about the spread.
        num_clips, num_items: what it rests on.
    """

    value: float
    low: float
    high: float
    num_clips: int
    num_items: int


def mean_of(values: Iterable[tuple[str, float]]) -> Estimate | None:
    """Mean of any numbers, by item; Student's interval over the items' means.

    Args:
        values: item and number of each clip; clips of one item differ by seed and are no
            independent evidence.

    Returns:
        None where there is no value.
    """
    clips, means = _by_item(values)
    if not clips:
        return None
    mean = float(means.mean())
    if len(means) < 2:
        return Estimate(mean, math.nan, math.nan, clips, len(means))
    half = float(t.ppf((1 + LEVEL) / 2, len(means) - 1) * means.std(ddof=1) / len(means) ** 0.5)
    return Estimate(mean, mean - half, mean + half, clips, len(means))


def crossed_mean_of(
    values: Iterable[tuple[str, str, float]], *, questions: int = 1
) -> Estimate | None:
    """Mean over clips that share prompts and noise, by intervals that know both.

    Clips of one seed begin with the same noise, whatever their prompts: what it does at a moment,
    it does in all of them. The variance is that of two crossed clusters (Cameron, Gelbach and
    Miller, 2011), never less than that of one; Student's quantile has the degrees of the fewer
    clusters.

    Args:
        values: prompt, noise and number of each clip.
        questions: asked in all; so many intervals hold together (Bonferroni).

    Returns:
        None where there is no value; an interval of NaN where there is one prompt or one noise.
    """
    found = list(values)
    if not found:
        return None
    numbers = np.array([value for _, _, value in found])
    rest = (numbers - numbers.mean()) / len(numbers)
    prompts, noises = [clip[0] for clip in found], [clip[1] for clip in found]
    both = [f"{prompt}\0{noise}" for prompt, noise in zip(prompts, noises, strict=True)]
    fewer = min(len(set(prompts)), len(set(noises)))
    mean = float(numbers.mean())
    if fewer < 2:
        return Estimate(mean, math.nan, math.nan, len(found), len(set(prompts)))
    by_prompt, by_noise, by_both = (_spread(rest, keys) for keys in (prompts, noises, both))
    variance = max(by_prompt, by_noise, by_prompt + by_noise - by_both)
    half = float(t.ppf(1 - (1 - LEVEL) / questions / 2, fewer - 1)) * math.sqrt(variance)
    return Estimate(mean, mean - half, mean + half, len(found), len(set(prompts)))


def share_of(values: Iterable[tuple[str, float]]) -> Estimate | None:
    """Mean of numbers from 0 to 1, by item; Wilson's interval (1927) over the items.

    Nothing between 0 and 1 with this mean can vary more than a yes or no does, so the interval also
    holds for error rates, where it is wider than need be; it stays honest at 0 and at 1.
    """
    clips, means = _by_item((item, min(max(value, 0.0), 1.0)) for item, value in values)
    if not clips:
        return None
    low, high = wilson(float(means.mean()), len(means))
    return Estimate(float(means.mean()), low, high, clips, len(means))


def pooled_share_of(values: Iterable[tuple[str, float]]) -> Estimate | None:
    """Share of all values, each of which counts once; Wilson's interval as if every item were one.

    For several yes or no of one clip, such as its lines: an item with more lines weighs more, and
    the interval is that of the fewer independent items.
    """
    found = list(values)
    clips, means = _by_item(found)
    if not clips:
        return None
    share = sum(value for _, value in found) / clips
    return Estimate(share, *wilson(share, len(means)), clips, len(means))


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share of `count` independent cases."""
    z = float(norm.ppf((1 + LEVEL) / 2))
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count**2)) / (1 + z * z / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def _spread(rest: np.ndarray, keys: list[str]) -> float:
    """Variance of a mean by clusters: sums of what is left of the numbers, squared."""
    sums: dict[str, float] = {}
    for key, value in zip(keys, rest, strict=True):
        sums[key] = sums.get(key, 0.0) + float(value)
    return sum(value**2 for value in sums.values()) * len(sums) / (len(sums) - 1)


def _by_item(values: Iterable[tuple[str, float]]) -> tuple[int, np.ndarray]:
    by_item: dict[str, list[float]] = {}
    for item, value in values:
        by_item.setdefault(item, []).append(value)
    means = np.array([float(np.mean(found)) for found in by_item.values()])
    return sum(map(len, by_item.values())), means
