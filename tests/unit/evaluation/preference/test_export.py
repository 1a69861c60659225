"""Votes leave in the columns that rankings and screening read."""

import csv
import json

import pandas as pd
import pytest

from evaluation.preference import export
from evaluation.preference.votes import read_votes
from ltx2.errors import LTX2Error, RequestError
from tests.unit.evaluation.preference.studies import Rater, a_plan, open_study


@pytest.fixture
def study_id(sqlite_store, sessions, tmp_path, clock):
    study_id = open_study(sqlite_store, tmp_path)
    for overall in ("left_much", "tie", "right"):
        rater = Rater(sessions, study_id, clock)
        rater.begin()
        rater.finish(overall)
    return study_id


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_what_is_exported_can_be_ranked(sqlite_store, study_id, tmp_path, ending):
    path = tmp_path / f"votes.{ending}"
    export.write_rows(export.rows(sqlite_store, study_id), path)
    votes = read_votes(path, axis="axis", covariates=["d_lufs"], slices=["language"])
    assert len(votes) == 3 * 4 * 5
    assert votes.models == ("ann", "bob")
    overall = votes.where(votes.axis.codes == votes.axis.names.index("overall"))
    by_rater = {
        name: set(overall.preference[overall.rater.codes == i])
        for i, name in enumerate(overall.rater.names)
    }
    assert by_rater == {"r0001": {2}, "r0002": {0}, "r0003": {-1}}
    # The first of the two names was 6 dB louder, whatever its side.
    left_is_ann = overall.left == 0
    assert set(overall.covariates["d_lufs"][left_is_ann]) == {6.0}
    assert set(overall.covariates["d_lufs"][~left_is_ann]) == {-6.0}


def test_training_attention_and_repeats_are_left_out_unless_asked_for(sqlite_store, study_id):
    kinds = {row["kind"] for row in export.rows(sqlite_store, study_id)}
    assert kinds == {"test"}
    rows = export.rows(sqlite_store, study_id, every_kind=True)
    assert len(rows) == 3 * 8 * 5
    assert {row["kind"] for row in rows} == {
        "test",
        "training",
        "repeat",
        "attention_same",
        "attention_late",
    }


def test_screening_gets_what_the_sessions_saw(sqlite_store, study_id):
    one_sided, tied, _ = export.evidence(sqlite_store, study_id)
    assert (one_sided.rater, one_sided.repeats_same, one_sided.repeats_shown) == ("r0001", 0, 1)
    assert one_sided.attention_shown == tied.attention_shown == 2
    assert (tied.repeats_same, tied.attention_passed) == (1, 1)
    assert tied.median_clip_s == 2.0
    assert tied.median_trial_s == 4.0


@pytest.mark.parametrize(
    ("late_side", "overall", "passed"),
    [("left", "right", True), ("left", "left", False), ("right", "left_much", True)],
)
def test_the_side_whose_sound_is_late_loses(late_side, overall, passed):
    vote = {"kind": "attention_late", "late_side": late_side, "answers": {"overall": overall}}
    assert export._passed(vote) == passed


def test_formulas_in_names_do_not_run_in_a_spreadsheet():
    sent = {"left": "=cmd|' /C calc'!A0", "right": "-1+cmd", "answer": "-2", "n": -1}
    (row,) = csv.DictReader(export.as_text([sent], "csv").splitlines())
    assert row == {"left": "'=cmd|' /C calc'!A0", "right": "'-1+cmd", "answer": "-2", "n": "-1"}


def test_pairs_of_a_recognisable_model_are_marked(sqlite_store, sessions, tmp_path, clock):
    plan = a_plan(raters=1)
    marked = plan.models[0].model_copy(update={"recognisable": True})
    plan = plan.model_copy(update={"models": (marked, plan.models[1])})
    study_id = open_study(sqlite_store, tmp_path, plan)
    rater = Rater(sessions, study_id, clock)
    rater.begin()
    rater.finish()
    assert {row["unblinded"] for row in export.rows(sqlite_store, study_id)} == {"yes"}


def test_the_log_can_be_checked_from_its_lines_alone(sqlite_store, study_id):
    from evaluation.preference.store import FIRST_HASH, Entry

    before = FIRST_HASH
    for line in export.log_lines(sqlite_store, study_id).splitlines():
        entry = Entry(**json.loads(line))
        assert entry.previous_hash == before
        assert entry.computed_hash() == entry.hash
        before = entry.hash
    assert before == sqlite_store.head(study_id)


def test_parquet_keeps_numbers(sqlite_store, study_id, tmp_path):
    path = export.write_rows(export.rows(sqlite_store, study_id), tmp_path / "v.parquet")
    assert pd.read_parquet(path)["trial_s"].mean() == 4.0


def test_nothing_to_export_and_unknown_endings_are_said(tmp_path):
    with pytest.raises(RequestError, match="no votes yet"):
        export.write_rows([], tmp_path / "v.csv")
    with pytest.raises(RequestError, match="ending"):
        export.write_rows([{"a": 1}], tmp_path / "v.xls")


def test_a_study_can_be_ranked_while_all_answers_are_on_one_side(
    sqlite_store, sessions, clock, tmp_path
):
    """Numbers of so few answers would not tell which scale they are on."""
    study_id = open_study(sqlite_store, tmp_path)
    rater = Rater(sessions, study_id, clock)
    rater.begin()
    rater.finish("left")
    path = export.write_rows(export.rows(sqlite_store, study_id), tmp_path / "votes.csv")
    votes = read_votes(path, axis="axis")
    overall = votes.where(votes.axis.codes == votes.axis.names.index("overall"))
    assert set(overall.preference) == {1}


def test_votes_come_back_from_a_copy_of_the_log(sqlite_store, study_id, tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(export.log_lines(sqlite_store, study_id))
    kept = [
        {name: value for name, value in row.items() if not name.startswith("d_")}
        for row in export.rows(sqlite_store, study_id)
    ]
    assert export.rows_of_log(log) == kept


@pytest.mark.parametrize("harm", ["changed", "removed", "cut", "foreign", "gone"])
def test_a_copy_that_is_not_the_log_is_refused(sqlite_store, study_id, tmp_path, harm):
    log = tmp_path / "log.jsonl"
    lines = export.log_lines(sqlite_store, study_id).splitlines(keepends=True)
    harmed = {
        "changed": [*lines[:5], lines[5].replace('"left', '"right', 1), *lines[6:]],
        "removed": [*lines[:5], *lines[6:]],
        "cut": [*lines[:5], lines[5][:40]],
        "foreign": ["[1, 2]\n"],
    }
    if harm in harmed:
        log.write_text("".join(harmed[harm]))
    with pytest.raises(LTX2Error):
        export.rows_of_log(log)
