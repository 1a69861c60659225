import numpy as np
import pytest

from evaluation.measurement import Curve, NotMeasurable
from evaluation.metrics.lip_sync.pooled import PooledOffset, pooled_offset
from evaluation.metrics.lip_sync.preference import preferred_in_step

OFFSETS = np.arange(-400.0, 401, 10)


def curves(number, offset_ms, noise, seed=0):
    rng = np.random.default_rng(seed)
    peak = 0.3 * np.exp(-0.5 * ((OFFSETS - offset_ms) / 40) ** 2)
    return [
        Curve("a", OFFSETS, peak + rng.normal(0, noise, OFFSETS.size), "ms", "r")
        for _ in range(number)
    ]


def test_clips_that_say_little_each_say_it_together():
    pooled = pooled_offset(curves(40, -60, noise=0.3))
    assert isinstance(pooled, PooledOffset)
    assert pooled.offset_ms == pytest.approx(-60, abs=30)
    assert pooled.low_ms <= pooled.offset_ms <= pooled.high_ms


def test_noise_has_no_pooled_offset():
    assert isinstance(pooled_offset(curves(40, -60, noise=20.0)), NotMeasurable)
    assert isinstance(pooled_offset(curves(3, 0, noise=0.0)), NotMeasurable)


def test_early_sound_costs_more_than_late_sound_and_none_costs_nothing():
    assert preferred_in_step(0) == 0.5
    assert preferred_in_step(500) > preferred_in_step(-500) > preferred_in_step(-125)
    assert preferred_in_step(-5000) == preferred_in_step(-2000) < 1
