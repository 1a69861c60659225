import pytest

from ltx2.rates import MAX_NAMES, Limiter, Rate
from tests.unit.serving.stand_ins import Clock


def test_so_many_at_once_and_then_one_has_to_wait():
    clock = Clock()
    limiter = Limiter(Rate.per_minute(3), clock=clock)
    assert [limiter.wait_s("a") for _ in range(3)] == [0.0, 0.0, 0.0]
    clock.now += 5
    assert limiter.wait_s("a") == pytest.approx(15.0)
    assert limiter.wait_s("b") == 0.0
    clock.now += 15
    assert limiter.wait_s("a") == 0.0
    assert limiter.wait_s("a") == pytest.approx(20.0)


def test_memory_does_not_grow_with_names_that_somebody_invents():
    limiter = Limiter(Rate.per_minute(1), clock=Clock())
    for number in range(MAX_NAMES + 50):
        limiter.wait_s(str(number))
    assert len(limiter._left) == MAX_NAMES
