"""One offset of a whole model, from the curves of its clips, where single clips say too little."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from evaluation.measurement import Curve, NotMeasurable

LEAST_ITEMS = 5
NUM_DRAWS = 1000
WIDEST_MS = 160.0
"""Interval beyond which the clips do not agree on one offset."""


@dataclass(frozen=True)
class PooledOffset:
    """What all clips together say.

    Attributes:
        offset_ms: positive = sound early.
        low_ms, high_ms: 95 % interval by a bootstrap over items.
        num_clips, num_items: that had a curve.
        curve: mean agreement at each offset.
    """

    offset_ms: float
    low_ms: float
    high_ms: float
    num_clips: int
    num_items: int
    curve: Curve


def pooled_offset(found: Iterable[tuple[str, Curve]]) -> PooledOffset | NotMeasurable:
    """The offset at which the mean of all curves is largest; every item counts once.

    Args:
        found: item of a suite and "agreement of lips and sound" of each clip, measurable by itself
            or not: choosing the measurable ones would flatter models that hide mouths. Clips of
            one item differ by seed and are no independent evidence.
    """
    by_item: dict[str, list[Curve]] = {}
    for item, curve in found:
        by_item.setdefault(item, []).append(curve)
    if len(by_item) < LEAST_ITEMS:
        return NotMeasurable(f"Only {len(by_item)} items have a curve; {LEAST_ITEMS} are needed.")
    curves = [curve for of_item in by_item.values() for curve in of_item]
    low = max(float(curve.x.min()) for curve in curves)
    high = min(float(curve.x.max()) for curve in curves)
    if high <= low:
        return NotMeasurable("The clips' curves have no offset in common.")
    offsets = np.arange(low, high + 1e-9, 5.0)
    table = np.stack([_mean_curve(of_item, offsets) for of_item in by_item.values()])
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(table), np.full(len(table), 1 / len(table)), NUM_DRAWS)
    bests = offsets[(drawn @ table).argmax(axis=1)]
    mean = table.mean(axis=0)
    first, last = (float(edge) for edge in np.quantile(bests, (0.025, 0.975)))
    name = "mean agreement of lips and sound"
    curve = Curve(name, offsets, mean, "sound early by (ms)", "correlation")
    if last - first > WIDEST_MS:
        reason = f"The clips do not agree on an offset (95 % from {first:+.0f} to {last:+.0f} ms)."
        return NotMeasurable(reason, "Measure more clips.", evidence=(curve,))
    best = float(offsets[mean.argmax()])
    return PooledOffset(best, min(first, best), max(last, best), len(curves), len(by_item), curve)


def _mean_curve(curves: list[Curve], offsets: np.ndarray) -> np.ndarray:
    """Mean of the curves of one item at each offset."""
    return np.mean([np.interp(offsets, c.x, np.nan_to_num(c.y)) for c in curves], axis=0)
