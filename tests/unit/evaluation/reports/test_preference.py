"""The report of a study: what it says is what was voted."""

import re

import numpy as np
import pytest

from evaluation.preference.anytime import pair_evidence
from evaluation.preference.coverage import World, simulate
from evaluation.preference.findings import find
from evaluation.preference.ranking import Options, rank_votes
from evaluation.preference.session import Sessions
from evaluation.preference.store import Store
from evaluation.reports.preference import study_report, votes_report
from tests.unit.evaluation.preference.studies import NO_LIMITS, Clock, Rater, a_plan, open_study

HOSTILE = "<b>bob</b>"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    clock = Clock()
    folder = tmp_path_factory.mktemp("report")
    store = Store(f"sqlite:///{folder / 'studies.db'}", clock=clock)
    plan = a_plan(raters=4, models=("ann", HOSTILE), name="<i>Which</i>")
    study_id = open_study(store, folder, plan)
    sessions = Sessions(store, limits=NO_LIMITS, clock=clock)
    for answer in ("left", "right", "tie"):
        rater = Rater(sessions, study_id, clock)
        rater.begin()
        rater.finish(answer)
    half = Rater(sessions, study_id, clock)
    half.begin()
    half.vote("left")
    half.vote("left")
    yield store, study_id
    store.close()


@pytest.fixture(scope="module")
def found(store):
    return find(*store, resamples=0)


def words(html):
    return " ".join(
        re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.S)).split()
    )


def test_findings_count_what_counts(store, found):
    main = found.votes.axis.names.index("overall")
    assert int((found.votes.axis.codes == main).sum()) >= 12
    assert found.finished == ("r0001", "r0002", "r0003")
    assert found.planned_votes == 16
    assert found.counts["joined"] == 4
    assert found.head == store[0].head(store[1])
    assert all(pair.raters == 3 for pair in found.evidence)


def test_the_report_says_where_the_study_stands_and_escapes_names(store, found):
    html = study_report(found)
    assert HOSTILE not in html
    assert "<i>Which" not in html
    text = words(html)
    assert "Raters who joined 4" in text
    assert "Raters who are done 3" in text
    assert found.head in text
    assert found.plan_sha256 in text
    for heading in ("Leaderboard", "Pair by pair", "Question by question", "Raters", "Blinding"):
        assert f">{heading}</h2>" in html


def test_a_study_without_votes_has_a_report_too(store, tmp_path):
    study_id = open_study(store[0], tmp_path)
    text = words(study_report(find(store[0], study_id)))
    assert "Nobody has voted yet." in text
    draft = store[0].create(a_plan()).id
    assert "Opened not yet" in words(study_report(find(store[0], draft)))


def test_a_model_that_wins_is_said_to_and_one_that_does_not_is_not():
    sure = simulate(World(strengths=(1.5, -1.5), raters=40), np.random.default_rng(1))
    board = rank_votes(sure, options=Options(resamples=0))
    best = board.overall.models[0].name
    assert f"{best} is preferred: with 95 % confidence" in words(votes_report("x", sure, board))
    none = simulate(World(strengths=(0.0, 0.0), raters=16), np.random.default_rng(3))
    text = words(votes_report("x", none, rank_votes(none, options=Options(resamples=0))))
    assert "No model can be told from any other" in text


def test_evidence_counts_each_rater_once_and_names_the_better_model():
    votes = simulate(World(strengths=(1.0, -1.0), raters=30), np.random.default_rng(2))
    (pair,) = pair_evidence(votes)
    assert (pair.better, pair.worse) == (votes.models[0], votes.models[1])
    assert pair.raters == len(votes.rater)
    assert pair.enough_after is not None
    assert pair.log_e[pair.enough_after - 1] >= np.log(20)
    assert pair_evidence(votes, finished=()) == ()


def test_evidence_of_equal_models_seldom_suffices():
    worlds = [
        World(strengths=(0.0, 0.0), raters=20, votes_each=6, prompt_sd=0.0) for _ in range(60)
    ]
    alarms = sum(
        pair_evidence(simulate(world, np.random.default_rng(seed)))[0].enough_after is not None
        for seed, world in enumerate(worlds)
    )
    assert alarms <= 7
