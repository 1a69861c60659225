"""Pairs chosen when they are shown: by what votes left open, logged, and fair all the same."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from evaluation.preference.coverage import World, simulate
from evaluation.preference.export import rows
from evaluation.preference.pairing import PROMPT_RATIO, PROMPT_SLACK, Tally, pair_propensities
from evaluation.preference.ranking import Options, rank_votes
from evaluation.preference.session import Pair, Sessions
from evaluation.preference.store import Entry, Store
from evaluation.preference.votes import VoteTable
from tests.unit.evaluation.preference.studies import NO_LIMITS, Clock, Rater, a_plan, open_study

STRENGTH = {"ann": 3.0, "bob": 0.2, "cat": 0.0, "dan": -3.0}


def answered(rater, store, rng):
    """Goes through a session; models win by their strengths."""
    rater.begin()
    while isinstance(rater.state, Pair):
        trials = {trial.id: trial for trial in store.trials(rater.state.session)}
        trial = trials[rater.state.trial]
        gap = STRENGTH[trial.left] - STRENGTH[trial.right]
        rater.vote("left" if rng.random() < 1 / (1 + np.exp(-gap)) else "right")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder, clock = tmp_path_factory.mktemp("active"), Clock()
    store = Store(f"sqlite:///{folder / 'studies.db'}", clock=clock)
    session = {"pairs": 8, "repeats": 1, "break_after": 0, "blinding_guesses": 0}
    plan = a_plan(
        raters=24, prompts=11, models=tuple(STRENGTH), session=session, pair_choice="active"
    )
    study_id = open_study(store, folder, plan)
    sessions = Sessions(store, limits=NO_LIMITS, clock=clock)
    rng = np.random.default_rng(0)
    raters = [Rater(sessions, study_id, clock) for _ in range(24)]
    for rater in raters:
        answered(rater, store, rng)
    yield store, study_id
    store.close()


def test_every_vote_says_with_which_probability_its_pair_was_chosen(study):
    store, study_id = study
    table = [row for row in rows(store, study_id) if row["axis"] == "overall"]
    assert len(table) == 24 * 8
    even = 0.25 / 6
    assert all(even < row["propensity"] <= 1 for row in table)
    assert store.verify(study_id)


def test_pairs_whose_order_is_open_are_shown_more_often_than_those_that_are_clear():
    rng, tally, shown = np.random.default_rng(0), Tally(tuple(STRENGTH), "overall"), Counter()
    for number in range(1, 1_501):
        prompt = f"p{number % 20}"
        left, right, _ = tally.choose(prompt, rng)
        shown[frozenset((left, right))] += 1
        won = rng.random() < 1 / (1 + np.exp(STRENGTH[right] - STRENGTH[left]))
        content = {"kind": "test", "prompt": prompt, "left": left, "right": right}
        content["answers"] = {"overall": "left" if won else "right_much"}
        tally.add([Entry("s", number, "vote", f"t{number}", 1, "k", content, 0.0, "")])
    assert shown[frozenset(("bob", "cat"))] > 1.4 * shown[frozenset(("ann", "dan"))]
    assert min(shown.values()) > 0.25 * 1_500 / 6


def test_sides_and_prompts_stay_balanced(study):
    store, study_id = study
    table = [row for row in rows(store, study_id) if row["axis"] == "overall"]
    sides = Counter((row["left"], row["right"]) for row in table)
    for left, right in sides:
        assert abs(sides[left, right] - sides[right, left]) <= 1
    for prompt in {row["prompt"] for row in table}:
        own = Counter(
            frozenset((row["left"], row["right"])) for row in table if row["prompt"] == prompt
        )
        least = min(own.values()) if len(own) == 6 else 0
        assert max(own.values()) <= PROMPT_RATIO * least + PROMPT_SLACK + 1


def test_a_repeat_shows_the_pair_that_was_chosen_with_the_sides_swapped(study):
    store, study_id = study
    table = [row for row in rows(store, study_id, every_kind=True) if row["axis"] == "overall"]
    repeats = [row for row in table if row["kind"] == "repeat"]
    assert len(repeats) == 24
    for row in repeats:
        (first,) = (
            other
            for other in table
            if (other["rater"], other["prompt"], other["kind"])
            == (row["rater"], row["prompt"], "test")
        )
        assert (row["left"], row["right"]) == (first["right"], first["left"])


def test_a_reload_shows_the_pair_that_was_chosen_first(sqlite_store, tmp_path, clock):
    plan = a_plan(models=tuple(STRENGTH), session={"training": 0}, pair_choice="active")
    study_id = open_study(sqlite_store, tmp_path, plan)
    sessions = Sessions(sqlite_store, limits=NO_LIMITS, clock=clock)
    rater, other = (Rater(sessions, study_id, clock) for _ in range(2))
    first = rater.begin()
    other.begin()
    other.vote()
    assert sessions.state(rater.token) == first
    # Also a server that has just started knows it.
    again = Sessions(sqlite_store, limits=NO_LIMITS, clock=clock)
    assert again.state(rater.token) == first


def test_weighing_by_propensity_undoes_the_choice(study):
    store, study_id = study
    frame = pd.DataFrame(rows(store, study_id))
    frame = frame[frame.axis == "overall"].drop(columns="axis")
    votes = VoteTable.from_frame(frame, propensity="propensity")
    found = rank_votes(votes, options=Options(resamples=0)).overall
    assert [row.name for row in found.models][0::3] == ["ann", "dan"]
    for row, again in zip(found.models, found.reweighted, strict=True):
        assert row.strength.low < again < row.strength.high
    assert not [note for note in found.notes if "propensities" in note]


def test_a_choice_that_had_a_say_is_said():
    votes = simulate(World(), np.random.default_rng(0))
    # As if votes that m0 won had been shown rarely: weighed up, they lift it.
    lucky = np.where((votes.left == 0) & (votes.outcome == 1), 0.02, 0.9)
    table = VoteTable(**{**vars(votes), "propensity": lucky})
    found = rank_votes(table, options=Options(resamples=0)).overall
    assert any(note.startswith("m0 has +") for note in found.notes)


def test_only_allowed_pairs_have_a_chance():
    allowed = np.ones((4, 4), dtype=bool)
    allowed[0, 1] = allowed[1, 0] = False
    nothing = np.zeros((4, 4), dtype=int)
    chances = pair_propensities(nothing, nothing, allowed)
    assert chances[0, 1] == chances[1, 0] == 0
    assert chances[np.triu_indices(4, 1)].sum() == pytest.approx(1)
