"""Additions that come together share one commit, and none suffers from another."""

import threading

import pytest
import sqlalchemy as sql
from sqlalchemy import event

from evaluation.preference.database import Database
from ltx2.errors import RequestError, ResourceError

WORDS = sql.Table("words", sql.MetaData(), sql.Column("word", sql.Text, primary_key=True))


@pytest.fixture
def database(url):
    database = Database(url)
    with database.writes() as connection:
        WORDS.create(connection)
    yield database
    database.close()


def written(word):
    def work(connection):
        if word == "refused":
            raise RequestError("Not this one.", next_step="Another.")
        connection.execute(WORDS.insert().values(word=word))
        return word

    return work


def added_together(database, words):
    """What became of each, added by threads of their own while the turn was somebody else's."""
    outcomes = [None] * len(words)

    def add(place):
        try:
            outcomes[place] = database.add("study", written(words[place]))
        except (RequestError, ResourceError) as error:
            outcomes[place] = type(error).__name__

    threads = [threading.Thread(target=add, args=(place,)) for place in range(len(words))]
    with database._writing:
        for thread in threads:
            thread.start()
        while len(database._queue) < len(words):
            threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    return outcomes


def kept(database):
    with database.reads() as connection:
        return sorted(connection.execute(sql.select(WORDS.c.word)).scalars())


def test_additions_that_wait_share_one_commit(database):
    commits = []
    event.listen(database.engine, "commit", commits.append)
    words = [f"w{number}" for number in range(8)]
    assert added_together(database, words) == words
    assert len(commits) == 1
    assert kept(database) == words


def test_a_refused_addition_takes_nothing_from_the_others(database):
    assert added_together(database, ["a", "refused", "b"]) == ["a", "RequestError", "b"]
    assert kept(database) == ["a", "b"]


def test_an_addition_that_spoils_the_transaction_is_the_only_one_lost(database):
    outcomes = added_together(database, ["a", "same", "same", "b"])
    assert sorted(outcomes) == ["ResourceError", "a", "b", "same"]
    assert kept(database) == ["a", "b", "same"]


@pytest.mark.parametrize("url", ["nonsense", "mysql://user:secret@host/name"])
def test_an_address_of_no_database_is_refused_without_its_password(url):
    with pytest.raises(RequestError, match="LTX2_DATABASE_URL") as refused:
        Database(url)
    assert "secret" not in f"{refused.value}"


def test_a_server_that_is_away_is_said_to_be_away():
    with (
        pytest.raises(ResourceError, match="cannot be reached"),
        Database("postgresql://user:secret@127.0.0.1:1/name").reads(),
    ):
        pass
