from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ltx2.serving.turns import Waiting, in_turn


def waiting(text):
    """Jobs "a1 a2 b1" of the visitors a and b, asked one after another."""
    return [Waiting(name, name[0], float(at)) for at, name in enumerate(text.split())]


def test_one_visitor_is_served_in_the_order_of_asking():
    assert in_turn(waiting("a1 a2 a3"), {}) == ["a1", "a2", "a3"]


def test_visitors_take_turns():
    jobs = waiting("a1 a2 a3 b1 b2 c1")
    assert in_turn(jobs, {}) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_whoever_is_being_served_stands_behind_the_others():
    assert in_turn(waiting("a2 a3 b1"), {"a": float("inf")}) == ["b1", "a2", "a3"]


def test_a_newcomer_stands_behind_those_who_wait_since_their_last_clip():
    jobs = [Waiting("a2", "a", 1.0), Waiting("n1", "n", 20.0)]
    assert in_turn(jobs, {"a": 10.0}) == ["a2", "n1"]


def test_waiting_since_an_old_clip_does_not_help_who_asks_only_now():
    jobs = [Waiting("b1", "b", 5.0), Waiting("a2", "a", 6.0)]
    assert in_turn(jobs, {"a": 1.0}) == ["b1", "a2"]


@given(st.lists(st.sampled_from("abcd"), max_size=30))
def test_between_two_jobs_of_a_visitor_is_at_most_one_of_each_other(owners):
    jobs = [Waiting(f"{owner}{at}", owner, float(at)) for at, owner in enumerate(owners)]
    order = in_turn(jobs, {})
    assert sorted(order) == sorted(job.id for job in jobs)
    for owner in "abcd":
        own = [at for at, job in enumerate(order) if job[0] == owner]
        assert [order[at] for at in own] == [job.id for job in jobs if job.owner == owner]
        for left, right in pairwise(own):
            between = [job[0] for job in order[left + 1 : right]]
            assert len(between) == len(set(between))
