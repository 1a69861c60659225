"""Databases to test with: SQLite, and PostgreSQL where its programs are."""

import secrets

import psycopg
import pytest

from evaluation.preference.session import Sessions
from evaluation.preference.store import Store
from tests.postgresql import NoPostgreSQLError, postgresql_server
from tests.unit.evaluation.preference.studies import NO_LIMITS, Clock


@pytest.fixture(scope="session")
def postgresql():
    """A server of our own, gone after the tests."""
    try:
        with postgresql_server() as url:
            yield url
    except NoPostgreSQLError as error:
        pytest.skip(str(error))


@pytest.fixture
def postgresql_url(postgresql):
    name = f"t{secrets.token_hex(4)}"
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return postgresql.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'studies.db'}"
    return request.getfixturevalue("postgresql_url")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(url, clock):
    store = Store(url, clock=clock)
    yield store
    store.close()


@pytest.fixture
def sqlite_store(tmp_path, clock):
    store = Store(f"sqlite:///{tmp_path / 'studies.db'}", clock=clock)
    yield store
    store.close()


@pytest.fixture
def sessions(sqlite_store, clock):
    return Sessions(sqlite_store, limits=NO_LIMITS, clock=clock)
