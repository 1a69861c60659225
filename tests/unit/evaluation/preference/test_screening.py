"""Raters who do not judge are found; raters who judge in their own way are left alone."""

import numpy as np
import pandas as pd
import pytest

from evaluation.preference.coverage import World, simulate
from evaluation.preference.davidson import Cells, fit_davidson
from evaluation.preference.ranking import Options, rank_votes
from evaluation.preference.screening import RaterEvidence, screen
from evaluation.preference.study import ScreeningRules
from evaluation.preference.votes import VoteTable
from tests.unit.evaluation.preference.test_statistics import peavs  # noqa: F401

WORLD = World(raters=40, votes_each=40, strengths=(1.5, 0.5, -0.5, -1.5))


def with_votes_of(votes, rater, outcome):
    """The votes with those of one rater replaced."""
    own = votes.rater.codes == rater
    preference = votes.preference.copy()
    preference[own] = outcome(votes, own)
    return VoteTable(**{**vars(votes), "preference": preference})


def screened(votes, **changes):
    cells, cell = Cells.of(votes)
    return screen(fit_davidson(cells), votes, cell, **changes)


def honest(seed=1):
    return simulate(WORLD, np.random.default_rng(seed))


def test_raters_with_tastes_of_their_own_are_hardly_ever_left_out():
    out = sum(len(screened(honest(seed))) for seed in range(5))
    assert out <= 0.02 * 5 * WORLD.raters


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (lambda votes, own: -votes.preference[own], "likelihood"),
        (lambda votes, own: np.ones(own.sum(), dtype=int), "side: 40 of 40"),
    ],
    ids=["reads the scale the other way round", "always says left"],
)
def test_who_does_not_judge_is_left_out_with_the_reason(outcome, reason):
    found = screened(with_votes_of(honest(), 7, outcome))
    assert [out.rater for out in found] == ["7"]
    assert any(why.startswith(reason) for why in found[0].reasons)


def test_a_slight_liking_of_one_side_is_no_reason_however_many_votes_show_it():
    rng = np.random.default_rng(0)
    world = World(raters=4, votes_each=2_000, prompts=2_000, strengths=(0.2, -0.2))
    votes = with_votes_of(
        simulate(world, rng), 1, lambda votes, own: np.where(rng.random(own.sum()) < 0.58, 1, -1)
    )
    assert not [why for out in screened(votes) for why in out.reasons if why.startswith("side")]
    strict = ScreeningRules(min_same_side_share=0.5)
    assert "1" in [out.rater for out in screened(votes, rules=strict)]


@pytest.mark.slow
def test_of_fifty_four_paid_raters_one_is_left_out_and_not_for_a_habit(peavs):  # noqa: F811
    frame = pd.DataFrame(
        {
            "rater": peavs._worker_id,
            "prompt": peavs._unit_id,
            "left": peavs.video1_fname.str.extract(r"_output_(\d+_\d+)\.mp4")[0],
            "right": peavs.video2_fname.str.extract(r"_output_(\d+_\d+)\.mp4")[0],
            "answer": peavs.sign.map({1: "left", 0: "tie", -1: "right"}),
        }
    ).dropna()
    votes = VoteTable.from_frame(frame)
    (out,) = screened(votes)
    assert (len(votes.rater), out.rater) == (54, "47278508")
    assert "guessing tells the votes better" in out.reasons[0]


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ({"attention_passed": 1, "attention_shown": 2}, None),
        ({"attention_passed": 0, "attention_shown": 2}, "attention: 0 of 2 passed"),
        ({"attention_passed": 4, "attention_shown": 8}, "attention: 4 of 8 passed"),
        ({"repeats_same": 1, "repeats_shown": 2}, None),
        ({"repeats_same": 0, "repeats_shown": 2}, "repeats: 0 of 2 answered alike"),
        ({"median_trial_s": 9.0, "median_clip_s": 8.0}, None),
        ({"median_trial_s": 7.0, "median_clip_s": 8.0}, "time: voted after 7.0 s on clips of 8.0"),
        ({}, None),
    ],
)
def test_what_the_session_saw_counts_where_it_cannot_be_bad_luck(seen, reason):
    found = screened(honest(), evidence=[RaterEvidence("3", **seen), RaterEvidence("nobody")])
    reasons = [why for out in found if out.rater == "3" for why in out.reasons]
    assert (reasons == []) if reason is None else reasons[0].startswith(reason)


def test_the_rules_of_the_plan_are_the_ones_that_screen():
    votes = honest()
    hasty = [RaterEvidence("3", median_trial_s=7.0, median_clip_s=8.0)]
    strict = rank_votes(votes, evidence=hasty, options=Options(resamples=0))
    lenient = rank_votes(
        votes,
        evidence=hasty,
        options=Options(resamples=0, screening=ScreeningRules(min_time_share=0.5)),
    )
    assert ([out.rater for out in strict.exclusions], lenient.exclusions) == (["3"], ())
    # Both readings are there: with all of them, and without.
    assert strict.overall.raters == strict.screened.raters + 1 == WORLD.raters
    assert lenient.screened is lenient.overall
