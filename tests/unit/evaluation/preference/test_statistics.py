import json

import evalica
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from evaluation.__main__ import app
from evaluation.preference.agreement import agreement_on
from evaluation.preference.blinding import Guess, blinding_index
from evaluation.preference.coverage import World, coverage, simulate
from evaluation.preference.davidson import Cells, fit_davidson, fit_rao_kupper
from evaluation.preference.intervals import two_way_covariance
from evaluation.preference.pairing import EVEN_SHARE, choose_pair, pair_propensities
from evaluation.preference.planning import Circumstances, detectable_win_rate, votes_needed
from evaluation.preference.ranking import rank_votes
from evaluation.preference.stopping import MIX, log_e_of_means, log_e_of_votes, stopping_place
from evaluation.preference.votes import VoteTable
from ltx2.errors import RequestError

STIGLER = np.array(
    [[714, 730, 498, 221], [33, 425, 68, 17], [320, 813, 1072, 142], [284, 276, 325, 188]]
)


def stigler_cells():
    i, j = np.nonzero(1 - np.eye(4, dtype=int))
    won = STIGLER[i, j].astype(float)
    one = np.ones(12, dtype=int)
    return Cells(tuple("ABCD"), i, j, one, won, np.zeros((12, 0)), with_side=False)


def test_citations_between_journals_give_the_published_strengths_and_errors():
    cells = stigler_cells()
    fit = fit_davidson(cells, ridge=1e-9)
    assert np.allclose(fit.theta - fit.theta[0], [0, -2.9491, -0.4796, 0.2690], atol=1e-4)
    v = cells.basis @ np.linalg.inv(fit.information) @ cells.basis.T
    errors = [np.sqrt(v[i, i] + v[0, 0] - 2 * v[0, i]) for i in (1, 2, 3)]
    assert np.allclose(errors, [0.1025, 0.0606, 0.0708], atol=1e-4)
    assert np.allclose(fit_rao_kupper(cells, ridge=1e-9).theta, fit.theta, atol=1e-3)


@pytest.fixture(scope="module")
def peavs(data_folder):
    path = data_folder / "peavs" / "batch1_cleaned.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    frame = pd.read_csv(path)
    frame["sign"] = np.sign(
        frame.video1_score.str[-1].astype(int) - frame.video2_score.str[-1].astype(int)
    )
    return frame


def test_thirty_thousand_votes_on_distortions_give_the_known_ties_side_and_likelihood(peavs):
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
    fit = fit_davidson(Cells.of(votes)[0])
    assert (len(votes), len(votes.models)) == (29_865, 90)
    assert fit.nu == pytest.approx(1.4123, abs=1e-4)
    assert fit.gamma == pytest.approx(0.0634, abs=1e-4)
    assert fit.loss == pytest.approx(28_085.94, abs=0.01)


@pytest.mark.parametrize(("distance", "known"), [("nominal", 0.3732), ("ordinal", 0.5263)])
def test_alpha_is_evalicas_and_the_known_one(peavs, distance, known):
    found = agreement_on(
        peavs._unit_id.to_numpy(),
        peavs.sign.to_numpy(),
        peavs._worker_id.to_numpy(),
        distance=distance,
        resamples=5,
    )
    wide = peavs.pivot_table(index="_worker_id", columns="_unit_id", values="sign", aggfunc="first")
    assert found.alpha.value == pytest.approx(known, abs=1e-4)
    assert found.alpha.value == pytest.approx(evalica.alpha(wide, distance=distance).alpha)


@pytest.mark.parametrize(
    ("power", "needed"),
    [(0.8, [2178, 783, 347, 194, 85, 47, 20]), (0.9, [2915, 1047, 463, 259, 113, 62, 25])],
)
def test_votes_needed_are_those_of_the_table(power, needed):
    rates = (0.53, 0.55, 0.575, 0.6, 0.65, 0.7, 0.8)
    assert [votes_needed(p, Circumstances(power=power)) for p in rates] == needed


def test_ties_and_clusters_raise_the_votes_needed():
    assert votes_needed(0.6, Circumstances(0.15, 2.5)) == 570
    assert detectable_win_rate(280, Circumstances(0.15, 2.5)) == pytest.approx(0.64, abs=0.005)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_order_of_rows_changes_nothing_and_swapped_sides_negate_the_side_effect(seed):
    rng = np.random.default_rng(seed)
    votes = simulate(World(raters=10), rng)
    shuffled = votes.where(rng.permutation(len(votes)))
    swapped = VoteTable(
        votes.rater, votes.prompt, votes.models, votes.right, votes.left, -votes.preference,
        votes.both_bad,
    )  # fmt: skip
    fit, again, other = (fit_davidson(Cells.of(v)[0]) for v in (votes, shuffled, swapped))
    assert np.allclose(fit.theta, again.theta, atol=1e-7)
    assert np.allclose(fit.theta, other.theta, atol=1e-7)
    assert fit.gamma == pytest.approx(-other.gamma, abs=1e-7)


def test_intervals_that_know_of_clusters_hold_the_truth_and_naive_ones_do_not():
    found = coverage(World(), studies=150)
    assert 0.93 <= found["two-way"].share <= 0.97
    assert found["naive"].share < 0.90


def test_betting_on_single_votes_is_the_closed_form():
    x = np.array([1.0, 0, 1, 1] * 20)
    closed = log_e_of_votes(x.cumsum(), np.arange(1, 81))
    assert np.allclose(log_e_of_means(x, mix=MIX), closed)


def test_equal_models_rarely_stop_a_study_however_often_one_looks():
    rng = np.random.default_rng(0)
    n = np.arange(1, 2001)
    stops = [
        stopping_place(log_e_of_votes(rng.integers(0, 2, 2000).cumsum(), n)) for _ in range(600)
    ]
    assert np.mean([place is not None for place in stops]) <= 0.06


def test_the_blinding_index_is_one_when_known_and_zero_by_chance():
    known = blinding_index([Guess("a", "a")] * 20, choices=2)
    chance = blinding_index([Guess("a", "a"), Guess("a", "b")] * 10, choices=2)
    assert (known["a"].value, chance["a"].value) == (1.0, 0.0)


def test_pairs_seen_rarely_are_chosen_more_often_and_none_is_given_up():
    wins = np.full((3, 3), 50)
    wins[0, 1] = wins[1, 0] = 0
    chances = pair_propensities(wins, np.zeros((3, 3), dtype=int))
    upper = chances[np.triu_indices(3, 1)]
    assert upper.sum() == pytest.approx(1)
    assert upper.min() >= EVEN_SHARE / 3
    chosen = choose_pair(wins, wins * 0, wins * 0, np.random.default_rng(0))
    assert chosen.propensity == chances[chosen.left, chosen.right] < 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("r", "p", "x", "y", "left"), ("r", "p", "x", "y", "maybe")], "Row 2.*'maybe'"),
        ([("r", "p", "x", "x", "left")], "Row 1.*both 'x'"),
        ([("", "p", "x", "y", "left")], "Row 1, column 'rater'"),
        ([("r", "p", "x", "y", "1"), ("r", "q", "x", "y", "2")], "do not tell"),
    ],
)
def test_a_wrong_row_is_named(rows, message):
    frame = pd.DataFrame(rows, columns=["rater", "prompt", "left", "right", "answer"])
    with pytest.raises(RequestError, match=message):
        VoteTable.from_frame(frame)


def test_the_commands_rank_a_file_and_plan_a_study(tmp_path):
    votes = simulate(World(raters=20), np.random.default_rng(0))
    names = np.array(votes.models)
    frame = pd.DataFrame(
        {
            "who": votes.rater.codes,
            "what": votes.prompt.codes,
            "l": names[votes.left],
            "r": names[votes.right],
            "said": 3 - votes.outcome,
        }
    )
    path = tmp_path / "votes.csv"
    frame.to_csv(path, index=False)
    run = CliRunner().invoke
    found = run(app, ["rank", str(path), "--columns", "who,what,l,r,said", "--json"])
    board = json.loads(found.output)
    assert board["overall"]["models"][0]["name"] == "m0"
    expected = {row.name: row.strength.value for row in rank_votes(votes).overall.models}
    found = {row["name"]: row["strength"]["value"] for row in board["overall"]["models"]}
    assert found == pytest.approx(expected)
    assert board["overall"]["votes"] == 400
    missing = run(app, ["rank", str(path)])
    assert missing.exit_code == 2
    assert "--columns" in missing.output
    planned = run(app, ["plan", "--win-rate", "0.6", "--ties", "0.15", "--design-effect", "2.5"])
    assert planned.output.startswith("570 ")
    assert len(two_way_covariance(*_fit(votes)).matrix) == 5


def _fit(votes):
    cells, cell = Cells.of(votes)
    return fit_davidson(cells), votes, cell
