import numpy as np
import pytest

from evaluation.metrics.survival import Lifetime, first_failure, kaplan_meier, log_rank

# Freireich et al. (1963): weeks of remission with 6-MP (+ is censored) and with placebo.
TREATED = "6 6 6 7 10 13 16 22 23 6+ 9+ 10+ 11+ 17+ 19+ 20+ 25+ 32+ 32+ 34+ 35+".split()  # noqa: SIM905
PLACEBO = "1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23".split()  # noqa: SIM905


def lifetimes(texts):
    return [Lifetime(float(text.rstrip("+")), not text.endswith("+")) for text in texts]


def test_the_curve_is_the_published_one():
    curve = kaplan_meier(lifetimes(TREATED))
    assert curve.times_s.tolist() == [0, 6, 7, 10, 13, 16, 22, 23]
    published = [1, 0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    np.testing.assert_allclose(curve.share, published, atol=5e-4)
    assert (curve.low[1:] < curve.share[1:]).all()
    assert (curve.high[1:] > curve.share[1:]).all()


def test_the_log_rank_test_is_the_published_one():
    assert log_rank([lifetimes(TREATED), lifetimes(PLACEBO)]) == pytest.approx(4.17e-5, rel=0.02)
    assert log_rank([lifetimes(PLACEBO), lifetimes(PLACEBO)]) == pytest.approx(1.0)


def test_clips_that_never_fail_stay_alive():
    curve = kaplan_meier([Lifetime(20.0, False)] * 4)
    assert curve.share.tolist() == [1.0]
    assert log_rank([[Lifetime(20.0, False)], [Lifetime(10.0, False)]]) == 1.0


def test_clips_of_one_prompt_are_no_more_evidence_than_one():
    fails = [Lifetime(10.0, True, "a"), Lifetime(20.0, False, "b"), Lifetime(20.0, False, "c")]
    once, often = kaplan_meier(fails), kaplan_meier(fails * 5)
    np.testing.assert_allclose(often.share, once.share)
    np.testing.assert_allclose(often.low, once.low)
    np.testing.assert_allclose(often.high, once.high)
    others = [Lifetime(20.0, False, name) for name in "abc"]
    assert log_rank([fails * 5, others * 5]) == pytest.approx(log_rank([fails, others]), abs=0.1)


def test_one_odd_window_is_no_failure_but_two_are():
    times = np.arange(6) * 2.0
    band = (-125.0, 45.0)
    assert not first_failure(times, [0, 0, 300, 0, 0, 0], band).failed
    found = first_failure(times, [0, 0, np.nan, 300, 310, 320], band, "a prompt")
    assert found == Lifetime(6.0, True, "a prompt")


def test_nothing_is_known_past_the_last_value():
    times = np.arange(6) * 2.0
    found = first_failure(times, [0, 0, 0, 0, np.nan, np.nan], (-125.0, 45.0))
    assert found == Lifetime(6.0, False)
    assert first_failure(times, [np.nan] * 6, (-125.0, 45.0)) == Lifetime(0.0, False)
