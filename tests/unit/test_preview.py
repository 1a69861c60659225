"""When there is time to decode a whole clip before it is finished."""

import pytest

from ltx2.preview import SHARE, PreviewPlan


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def plan_that_decoded(clock, *, seconds, num_voxels):
    plan = PreviewPlan(clock).start(num_voxels=num_voxels)
    with plan.measured():
        clock.now += seconds
    return plan


def test_nothing_is_decoded_whole_before_it_is_known_how_long_that_takes(clock):
    plan = PreviewPlan(clock).start(num_voxels=10)
    clock.now += 1000
    assert not plan.affords_all()


def test_decoding_keeps_within_its_share_of_the_time(clock):
    plan = plan_that_decoded(clock, seconds=2.0, num_voxels=10).start(num_voxels=10)
    clock.now += 2.0 / SHARE - 0.1
    assert not plan.affords_all()
    clock.now += 0.2
    assert plan.affords_all()


def test_a_larger_clip_waits_longer(clock):
    plan = plan_that_decoded(clock, seconds=2.0, num_voxels=10).start(num_voxels=30)
    clock.now += 2.0 / SHARE + 0.1
    assert not plan.affords_all()
    clock.now += 4.0 / SHARE
    assert plan.affords_all()


def test_what_was_spent_counts(clock):
    plan = plan_that_decoded(clock, seconds=2.0, num_voxels=10).start(num_voxels=10)
    clock.now += 2.0 / SHARE + 0.1
    with plan.spent():
        clock.now += 2.0
    assert not plan.affords_all()
    clock.now += 2.0 / SHARE
    assert plan.affords_all()


def test_a_preview_that_failed_teaches_nothing(clock):
    plan = PreviewPlan(clock).start(num_voxels=1)
    with pytest.raises(RuntimeError), plan.measured():
        raise RuntimeError
    clock.now += 1000
    assert not plan.affords_all()
