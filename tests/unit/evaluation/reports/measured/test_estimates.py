import math

import numpy as np
import pytest

from evaluation.reports.measured.estimates import (
    crossed_mean_of,
    mean_of,
    pooled_share_of,
    share_of,
    wilson,
)


def test_the_interval_of_a_share_is_wilsons():
    # Newcombe (1998), table I: 81 of 263 and 0 of 20.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-4)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-4)


def test_seeds_of_one_item_are_one_piece_of_evidence():
    once = share_of([("a", 1.0), ("b", 0.0)])
    often = share_of([("a", 1.0)] * 50 + [("b", 0.0)] * 2)
    assert (often.value, often.low, often.high) == (once.value, once.low, once.high)
    assert (often.num_clips, often.num_items) == (52, 2)


def test_the_interval_of_a_mean_is_students():
    found = mean_of([("a", 1.0), ("b", 2.0), ("c", 3.0)])
    assert found.value == 2.0
    assert found.high - found.value == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)


def test_one_item_has_no_interval_and_none_has_no_mean():
    assert math.isnan(mean_of([("a", 1.0)]).low)
    assert mean_of([]) is None
    assert share_of([]) is None


def test_every_line_of_a_clip_counts_but_is_no_independent_evidence():
    found = pooled_share_of([("a", 1.0), ("a", 0.0), ("b", 1.0)])
    assert found.value == 2 / 3
    assert (found.low, found.high) == wilson(2 / 3, 2)


def crossed(rng, *, prompts=12, seeds=4, of_prompt=0.0, of_seed=0.0, rest=1.0):
    """Numbers whose true mean is 0, with a part of the prompt's and one of the noise's."""
    by_prompt, by_seed = rng.normal(0, of_prompt, prompts), rng.normal(0, of_seed, seeds)
    return [
        (str(p), str(s), by_prompt[p] + by_seed[s] + rng.normal(0, rest))
        for p in range(prompts)
        for s in range(seeds)
    ]


def test_noise_that_prompts_share_is_in_the_interval():
    rng = np.random.default_rng(0)
    draws = [crossed(rng, of_seed=1.0, rest=0.5) for _ in range(400)]
    holds = [(m := crossed_mean_of(values)).low < 0 < m.high for values in draws]
    assert np.mean(holds) >= 0.92
    by_prompt = [mean_of((prompt, value) for prompt, _, value in values) for values in draws]
    assert np.mean([m.low < 0 < m.high for m in by_prompt]) < 0.6


def test_prompts_that_differ_are_in_the_interval():
    rng = np.random.default_rng(1)
    draws = [crossed_mean_of(crossed(rng, of_prompt=1.0, rest=0.5)) for _ in range(400)]
    assert np.mean([m.low < 0 < m.high for m in draws]) >= 0.92


def test_clips_with_noise_of_their_own_have_the_interval_of_their_prompts():
    values = [("a", "1", 1.0), ("b", "2", 2.0), ("c", "3", 3.0)]
    found = crossed_mean_of(values)
    plain = mean_of((prompt, value) for prompt, _, value in values)
    assert (found.value, found.low) == pytest.approx((plain.value, plain.low))


def test_intervals_of_several_questions_are_wider():
    values = crossed(np.random.default_rng(2))
    one, eight = crossed_mean_of(values), crossed_mean_of(values, questions=8)
    assert eight.high - eight.value > 1.5 * (one.high - one.value)


def test_one_seed_has_no_interval():
    found = crossed_mean_of([("a", "1", 1.0), ("b", "1", 2.0)])
    assert (found.value, found.num_clips, found.num_items) == (1.5, 2, 2)
    assert math.isnan(found.low)
    assert crossed_mean_of([]) is None
