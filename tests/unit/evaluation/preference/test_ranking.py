"""What a leaderboard shows beside strengths: ranks, slices, style, bootstrap, stopping."""

import contextlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from evaluation.preference.coverage import World, simulate, stops_early
from evaluation.preference.davidson import Cells, fit_davidson, probabilities
from evaluation.preference.intervals import rank_intervals, two_way_covariance
from evaluation.preference.ranking import NotRanked, Options, rank_votes
from evaluation.preference.votes import Factor, VoteTable
from ltx2.errors import RequestError

QUICK = Options(resamples=0)


@pytest.fixture(scope="module")
def votes():
    return simulate(World(), np.random.default_rng(4))


def test_ranks_of_equal_models_are_all_open_in_nineteen_of_twenty_studies():
    world = World(raters=30, strengths=(0.0, 0.0, 0.0, 0.0), rater_sd=0.4, prompt_sd=0.4)
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(120):
        table = simulate(world, rng)
        cells, cell = Cells.of(table)
        fit = fit_davidson(cells)
        ranks, better = rank_intervals(fit, two_way_covariance(fit, table, cell), draws=2_000)
        wrong += bool(better.any())
        assert bool(better.any()) == any(rank != (1, 4) for rank in ranks)
    # Of 120, 6 are expected; more than 13 have a chance of 0.2 %.
    assert wrong <= 13


def test_models_far_apart_have_one_rank_each():
    world = World(raters=60, votes_each=40, strengths=(2.0, 0.7, -0.7, -2.0))
    board = rank_votes(simulate(world, np.random.default_rng(0)), options=QUICK).overall
    assert [(row.best_rank, row.worst_rank) for row in board.models] == [
        (place, place) for place in (1, 2, 3, 4)
    ]
    assert all(board.separated[i][j] == (i < j) for i in range(4) for j in range(4))


def test_the_bootstrap_agrees_with_the_formula_and_both_are_wider_than_naive(votes):
    rows = rank_votes(votes, options=Options(resamples=300)).overall.models

    def width(kind):
        return np.array([getattr(row, kind).high - getattr(row, kind).low for row in rows])

    # The pigeonhole bootstrap errs on the wide side (Owen 2007).
    assert np.all(width("bootstrap") / width("strength") > 0.9)
    assert np.mean(width("bootstrap") / width("strength")) < 1.4
    assert np.all(width("strength") > 1.1 * width("naive"))


def test_a_slice_is_ranked_as_if_it_were_all_there_is(votes):
    language = Factor(votes.prompt.codes % 2, ("de", "en"))
    found = rank_votes(replace(votes, slices={"language": language}), options=QUICK)
    assert set(found.slices["language"]) == {"de", "en"}
    alone = rank_votes(votes.where(language.codes == 1), options=QUICK).overall
    assert found.slices["language"]["en"] == alone
    assert alone.votes + found.slices["language"]["de"].votes == found.overall.votes


def test_a_slice_that_cannot_be_ranked_says_why(votes):
    lonely = np.where((votes.left < 2) & (votes.right < 2), 0, 1)
    lonely[np.flatnonzero(lonely == 1)[0]] = 2
    sliced = replace(votes, slices={"x": Factor(lonely, ("a", "b", "c"))})
    found = rank_votes(sliced, options=QUICK).slices["x"]
    assert isinstance(found["b"], NotRanked) or found["b"].votes > 0
    assert len(found["a"].models) == 2


@pytest.mark.parametrize("seed", range(60))
def test_a_handful_of_votes_is_ranked_or_refused_with_a_reason(seed):
    rng = np.random.default_rng(seed)
    count, models = int(rng.integers(1, 9)), int(rng.integers(2, 4))
    left = rng.integers(models, size=count)
    frame = pd.DataFrame(
        {
            "rater": rng.integers(3, size=count),
            "prompt": rng.integers(3, size=count),
            "left": left,
            "right": (left + rng.integers(1, models, size=count)) % models,
            "answer": rng.choice(["left", "tie", "right", "both_bad", "left_much"], count),
        }
    )
    with contextlib.suppress(RequestError):
        board = rank_votes(VoteTable.from_frame(frame), options=Options(resamples=20))
        json.dumps(board.as_json(), allow_nan=False)
        for row in board.overall.models:
            assert row.strength.low <= row.strength.value <= row.strength.high


def test_a_covariate_takes_the_credit_that_is_due_to_it():
    """Equal models, of which one is always louder: loudness wins, not the model."""
    rng = np.random.default_rng(0)
    count = 6_000
    left = rng.integers(2, size=count)
    louder = np.array([1.5, -1.5])
    loudness = rng.normal(louder[left], 1.0) - rng.normal(louder[1 - left], 1.0)
    effect = 0.8
    p_left, p_tie, _ = probabilities(effect * loudness / loudness.std(), np.log(0.7))
    drawn = rng.random(count)
    outcome = np.where(drawn < p_left, 1, np.where(drawn < p_left + p_tie, 0, -1))
    table = VoteTable(
        rater=Factor(np.arange(count) % 60, tuple(map(str, range(60)))),
        prompt=Factor(np.arange(count) % 100, tuple(map(str, range(100)))),
        models=("loud", "soft"),
        left=left,
        right=1 - left,
        preference=outcome,
        both_bad=np.zeros(count, dtype=bool),
    )
    plain = rank_votes(table, options=QUICK).overall
    fair = rank_votes(replace(table, covariates={"lufs": loudness}), options=QUICK).overall
    assert plain.models[0].name == "loud"
    assert plain.models[0].strength.low > 0.2
    strength = fair.models[0].strength
    assert strength.low < 0 < strength.high
    assert fair.style["lufs"].low < effect < fair.style["lufs"].high


def test_raters_who_vote_often_need_bets_on_their_means():
    """Equal models, raters with tastes: single votes stop falsely, raters' means do not."""
    found = stops_early(studies=300)
    assert found.by_means <= 0.05
    assert found.by_votes > 0.25


def test_bets_on_raters_means_find_a_difference_that_is_there():
    assert stops_early(studies=100, taste=0.5, difference=0.45).by_means > 0.9
