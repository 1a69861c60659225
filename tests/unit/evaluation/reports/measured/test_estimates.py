import math

import pytest

from evaluation.reports.measured.estimates import mean_of, pooled_share_of, share_of, wilson


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
