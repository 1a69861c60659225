import numpy as np
import pytest

from evaluation.measurement import Curve, NotMeasurable
from evaluation.metrics.lip_sync.cartoons import cartoon_reading, word_levels
from evaluation.metrics.lip_sync.landmarks import LEAST_CARTOON_CONFIDENCE
from evaluation.metrics.lip_sync.pooled import PooledOffset, pooled_offset
from evaluation.metrics.lip_sync.preference import preferred_in_step

OFFSETS = np.arange(-400.0, 401, 10)


def curves(number, offset_ms, noise, seed=0):
    rng = np.random.default_rng(seed)
    peak = 0.3 * np.exp(-0.5 * ((OFFSETS - offset_ms) / 40) ** 2)
    return [
        (f"item {n}", Curve("a", OFFSETS, peak + rng.normal(0, noise, OFFSETS.size), "ms", "r"))
        for n in range(number)
    ]


def test_clips_that_say_little_each_say_it_together():
    pooled = pooled_offset(curves(40, -60, noise=0.3))
    assert isinstance(pooled, PooledOffset)
    assert pooled.offset_ms == pytest.approx(-60, abs=30)
    assert pooled.low_ms <= pooled.offset_ms <= pooled.high_ms


def test_noise_has_no_pooled_offset():
    assert isinstance(pooled_offset(curves(40, -60, noise=20.0)), NotMeasurable)
    assert isinstance(pooled_offset(curves(3, 0, noise=0.0)), NotMeasurable)


def test_seeds_of_one_item_are_no_more_items():
    one = [("same", curve) for _, curve in curves(40, -60, noise=0.0)]
    assert isinstance(pooled_offset(one), NotMeasurable)
    pooled = pooled_offset(one + curves(5, 100, noise=0.0, seed=1))
    assert isinstance(pooled, PooledOffset)
    assert (pooled.num_clips, pooled.num_items) == (45, 6)
    assert pooled.offset_ms == pytest.approx(100, abs=5)


def test_early_sound_costs_more_than_late_sound_and_none_costs_nothing():
    assert preferred_in_step(0) == 0.5
    assert preferred_in_step(500) > preferred_in_step(-500) > preferred_in_step(-125)
    assert preferred_in_step(-5000) == preferred_in_step(-2000) < 1


def test_a_puppet_with_the_sound_of_another_word_is_not_believed() -> None:
    bank = word_levels()
    frames, rate = 49, 25.0
    sound = np.zeros(32_000, np.float32)
    other = np.zeros(32_000, np.float32)
    for target, word in ((sound, bank[0]), (other, bank[20])):
        level = np.interp(np.arange(len(word) * 80) / 80, np.arange(len(word)), word)
        target[9600 : 9600 + len(level)] = 0.5 * level * np.sin(np.arange(len(level)) / 3)
    envelope = np.abs(sound)[: frames * 640].reshape(frames, 640).mean(axis=1)
    opening = (envelope / envelope.max()) ** 0.8
    own, swapped = (cartoon_reading(opening, heard, rate) for heard in (sound, other))
    assert own is not None
    assert swapped is not None
    assert own.lag.offset_ms == pytest.approx(0, abs=10)
    assert own.chance <= 1 - LEAST_CARTOON_CONFIDENCE < swapped.chance
