"""What was acknowledged stays, once, and any change shows."""

import dataclasses
import sqlite3
import threading

import pytest
import sqlalchemy as sql
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from evaluation.preference.session import Pair, Sessions
from evaluation.preference.store import (
    AlreadyVotedError,
    LogBrokenError,
    Store,
    StudyFullError,
    StudyNotOpenError,
    UnknownStudyError,
)
from evaluation.preference.tables import tables
from ltx2.errors import LTX2Error, RequestError, ResourceError
from tests.unit.evaluation.preference.studies import (
    NO_LIMITS,
    Rater,
    a_plan,
    a_vote,
    open_study,
)

CONTENT = {"answers": {"overall": "left"}, "reasons": []}


def a_trial(store, study_id):
    _, row = store.join(study_id)
    return store.trials(row.id)[0].id


def test_migrations_lead_to_the_tables_that_the_code_knows(store):
    with store._database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables) == []


def test_a_database_is_opened_again_with_everything_in_it(url, tmp_path):
    first = Store(url)
    study_id = open_study(first, tmp_path)
    first.vote(study_id, a_trial(first, study_id), 1, "k", CONTENT)
    first.close()
    again = Store(url)
    assert again.counts(study_id)["votes"] == 1
    assert again.verify(study_id) == 2
    again.close()


def test_the_first_entry_holds_the_hash_of_the_plan(store, tmp_path):
    plan = a_plan()
    study_id = open_study(store, tmp_path, plan)
    first = next(store.entries(study_id))
    assert first.kind == "opened"
    assert first.content["plan_sha256"] == plan.digest
    assert first.content["plan"]["screening"]["min_attention"] == 0.75


def test_a_study_opens_once(store, tmp_path):
    study_id = open_study(store, tmp_path)
    with pytest.raises(RequestError, match="opened before"):
        store.open(study_id, a_plan(), (), {}, {})


@pytest.mark.parametrize("statement", ["UPDATE entries SET kind = 'x'", "DELETE FROM entries"])
def test_entries_cannot_be_changed_or_removed(store, tmp_path, statement):
    study_id = open_study(store, tmp_path)
    with (
        pytest.raises(sql.exc.DBAPIError, match="append-only"),
        store._database.engine.begin() as connection,
    ):
        connection.execute(sql.text(statement))
    assert store.verify(study_id) == 1


def test_the_same_request_twice_is_one_vote(store, tmp_path):
    study_id = open_study(store, tmp_path)
    trial = a_trial(store, study_id)
    first = store.vote(study_id, trial, 1, "k", CONTENT)
    assert store.vote(study_id, trial, 1, "k", CONTENT) == first
    assert store.vote(study_id, trial, 1, "another tab", CONTENT) == first
    assert store.counts(study_id)["votes"] == 1


def test_another_answer_to_the_same_pair_is_refused(store, tmp_path):
    study_id = open_study(store, tmp_path)
    trial = a_trial(store, study_id)
    store.vote(study_id, trial, 1, "k", CONTENT)
    other = {**CONTENT, "answers": {"overall": "right"}}
    with pytest.raises(AlreadyVotedError):
        store.vote(study_id, trial, 1, "k2", other)
    assert store.vote(study_id, trial, 2, "k3", other).revision == 2
    assert store.verify(study_id) == 3


def test_many_threads_at_once_give_one_vote_each_and_a_whole_chain(store, tmp_path):
    study_id = open_study(store, tmp_path, a_plan(raters=8))
    trials = [a_trial(store, study_id) for _ in range(8)]
    failed = []

    def vote(trial):
        try:
            for _ in range(2):
                store.vote(study_id, trial, 1, "k", CONTENT)
        except LTX2Error as error:
            failed.append(error)

    threads = [threading.Thread(target=vote, args=(trial,)) for trial in [*trials, *trials]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert store.counts(study_id)["votes"] == 8
    assert store.verify(study_id) == 9


def test_a_changed_vote_shows_in_the_chain(sqlite_store, tmp_path):
    study_id = open_study(sqlite_store, tmp_path)
    sqlite_store.vote(study_id, a_trial(sqlite_store, study_id), 1, "k", CONTENT)
    connection = sqlite3.connect(tmp_path / "studies.db")
    connection.execute("DROP TRIGGER entries_refuse_UPDATE")
    connection.execute("UPDATE entries SET content = replace(content, 'left', 'right')")
    connection.commit()
    connection.close()
    with pytest.raises(LogBrokenError, match="Entry 2 of the log"):
        sqlite_store.verify(study_id)


def test_every_field_of_an_entry_is_in_its_hash(sqlite_store, tmp_path):
    study_id = open_study(sqlite_store, tmp_path)
    entry = sqlite_store.vote(study_id, a_trial(sqlite_store, study_id), 1, "k", CONTENT)
    assert entry.computed_hash() == entry.hash
    others = {
        "study": "x",
        "number": 9,
        "kind": "x",
        "trial": "x",
        "revision": 9,
        "request_key": "x",
        "content": {},
        "at": 1.0,
        "previous_hash": "x",
    }
    for name, value in others.items():
        assert dataclasses.replace(entry, **{name: value}).computed_hash() != entry.hash, name


def test_votes_need_an_open_study(store, tmp_path):
    study_id = open_study(store, tmp_path)
    trial = a_trial(store, study_id)
    store.set_status(study_id, "paused")
    with pytest.raises(StudyNotOpenError, match="paused"):
        store.vote(study_id, trial, 1, "k", CONTENT)
    with pytest.raises(StudyNotOpenError):
        store.join(study_id)
    store.set_status(study_id, "open")
    store.vote(study_id, trial, 1, "k", CONTENT)
    store.set_status(study_id, "closed")
    with pytest.raises(RequestError, match="closed"):
        store.set_status(study_id, "open")
    kinds = [entry.kind for entry in store.entries(study_id)]
    assert kinds == ["opened", "paused", "open", "vote", "closed"]


def test_each_rater_has_a_session_of_their_own_until_none_is_left(store, tmp_path):
    study_id = open_study(store, tmp_path, a_plan(raters=2))
    (first, a), (second, b) = store.join(study_id), store.join(study_id)
    assert (a.rater, b.rater) == ("r0001", "r0002")
    assert store.session_of(first).id == a.id != store.session_of(second).id
    assert store.session_of("x") is None
    with pytest.raises(StudyFullError):
        store.join(study_id)


def test_an_unknown_study_is_said_to_be_unknown(store):
    with pytest.raises(UnknownStudyError):
        store.study("'; DROP TABLE studies; --")


def test_names_and_prompts_with_sql_and_html_come_back_as_they_were(store, tmp_path):
    nasty = "Robert'); DROP TABLE entries;-- <script>alert(1)</script> \u202e \"' %s :x {0}"
    plan = a_plan(
        name=nasty,
        models=(nasty, "bob"),
        prompts_given=[{"id": f"p{i}", "text": nasty} for i in range(8)],
    )
    study_id = open_study(store, tmp_path, plan)
    trial = a_trial(store, study_id)
    entry = store.vote(study_id, trial, 1, nasty, {**CONTENT, "left": nasty})
    assert entry.content["left"] == nasty
    assert store.study(study_id).plan == plan
    assert store.verify(study_id) == 2


def test_a_locked_database_refuses_clearly_and_takes_the_vote_later(
    sqlite_store, tmp_path, monkeypatch
):
    study_id = open_study(sqlite_store, tmp_path)
    trial = a_trial(sqlite_store, study_id)
    monkeypatch.setattr("evaluation.preference.database.BUSY_S", 0.1)
    impatient = Store(f"sqlite:///{tmp_path / 'studies.db'}")
    other = sqlite3.connect(tmp_path / "studies.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ResourceError, match="busy, so nothing was kept"):
        impatient.vote(study_id, trial, 1, "k", CONTENT)
    other.execute("ROLLBACK")
    other.close()
    impatient.vote(study_id, trial, 1, "k", CONTENT)
    impatient.close()
    assert sqlite_store.verify(study_id) == 2


def test_a_database_in_a_folder_that_cannot_be_is_refused_with_advice(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be opened or written"):
        Store(f"sqlite:///{tmp_path / 'file' / 'studies.db'}")


def test_a_whole_session_works_on_this_database(store, tmp_path, clock):
    study_id = open_study(store, tmp_path)
    rater = Rater(Sessions(store, limits=NO_LIMITS, clock=clock), study_id, clock)
    assert isinstance(rater.begin(), Pair)
    first = rater.state
    rater.vote()
    again = rater.sessions.vote(rater.token, a_vote(first, "left"))
    assert again == rater.state
    assert rater.finish().votes == 8
    assert store.verify(study_id) == 1 + 3 + 8 + 1
