"""Transactions on the votes' database: SQLite in a file, or PostgreSQL.

Waiting for the disk is most of what a vote costs. So additions to the log that come together are
committed together: the thread whose turn it is commits for all that wait (group commit). What may
be lost with the power, such as how much of a clip was played, does not wait for the disk at all.
Threads take turns before they ask SQLite, whose own way of waiting is to sleep and try again.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import sqlalchemy as sql
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from ltx2.errors import LTX2Error, RequestError, ResourceError
from ltx2.sqlite import open_sqlite

BUSY_S = 5.0
"""How long a transaction waits for another one."""

Result = TypeVar("Result")
Work = Callable[[sql.Connection], Result]


@dataclass(eq=False)
class _Addition(Generic[Result]):
    """Work of one thread that any of them may do.

    Attributes:
        key: additions of one transaction are made in the order of their keys, so that two servers
            never wait for each other.
    """

    key: str
    work: Work[Result]
    settled: threading.Event = field(default_factory=threading.Event)
    result: Result | None = None
    error: LTX2Error | None = None


class Database:
    """Connections of one server.

    Args:
        url: "sqlite:///path", "postgresql+psycopg://..." ("postgresql://" does as well).

    Raises:
        RequestError: the address is none that can be used.
    """

    def __init__(self, url: str) -> None:
        for short in ("postgresql://", "postgres://"):
            if url.startswith(short):
                url = f"postgresql+psycopg://{url.removeprefix(short)}"
        self.is_sqlite = url.startswith("sqlite")
        if self.is_sqlite:
            safe, quick = "synchronous = FULL", "synchronous = NORMAL"
            self.engine = open_sqlite(url, safe, "foreign_keys = ON", busy_s=BUSY_S)
            self._quick = open_sqlite(url, quick, "foreign_keys = ON", busy_s=BUSY_S)
            self._reading = self.engine.execution_options(reads_only=True)
        else:
            self.engine = _server_engine(url)
            self._quick = self.engine
            self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._writing = threading.Lock()
        self._queue_lock = threading.Lock()
        self._queue: list[_Addition[Any]] = []

    def close(self) -> None:
        """Ends all connections."""
        self.engine.dispose()
        self._quick.dispose()

    @contextmanager
    def reads(self) -> Iterator[sql.Connection]:
        """A connection that only reads; on PostgreSQL each statement sees its own moment.

        Raises:
            ResourceError: the database cannot be used.
        """
        with _explained(), self._reading.begin() as connection:
            yield connection

    @contextmanager
    def writes(self) -> Iterator[sql.Connection]:
        """A transaction that is on disk when the block ends.

        Raises:
            ResourceError: nothing was kept.
        """
        with self._turn(), _explained(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def jots(self) -> Iterator[sql.Connection]:
        """A transaction that the loss of power, and nothing else, may take back.

        Raises:
            ResourceError: nothing was kept.
        """
        with self._turn(), _explained(), self._quick.begin() as connection:
            if not self.is_sqlite:
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield connection

    def add(self, key: str, work: Work[Result]) -> Result:
        """What the work returns, once what it wrote is on disk.

        Args:
            key: what it locks (a study).
            work: writes, in a transaction that others may share; may run again if that fails.

        Raises:
            ResourceError: nothing was kept.
        """
        addition = _Addition(key, work)
        with self._queue_lock:
            self._queue.append(addition)
        if self._writing.acquire(timeout=BUSY_S):
            try:
                if not addition.settled.is_set():
                    self._settle_all()
            finally:
                self._writing.release()
        else:
            with self._queue_lock:
                if addition in self._queue:
                    self._queue.remove(addition)
                    raise _busy()
            addition.settled.wait()
        if addition.error is not None:
            raise addition.error
        if addition.result is None:  # the thread that had the turn was ended in the middle
            raise _busy()
        return addition.result

    def _settle_all(self) -> None:
        with self._queue_lock:
            batch, self._queue = sorted(self._queue, key=lambda one: one.key), []
        try:
            if len(batch) == 1 or not self._settled_together(batch):
                for addition in batch:
                    self._settle(addition)
        finally:
            for addition in batch:
                addition.settled.set()

    def _settled_together(self, batch: list[_Addition[Any]]) -> bool:
        """Whether it went well; where not, nothing was kept of any of them."""
        try:
            with self.engine.begin() as connection:
                for addition in batch:
                    try:
                        with connection.begin_nested():
                            addition.result = addition.work(connection)
                    except LTX2Error as refusal:
                        addition.error = refusal
        except DBAPIError:
            return False
        return True

    def _settle(self, addition: _Addition[Any]) -> None:
        addition.error = None
        try:
            with _explained(), self.engine.begin() as connection:
                addition.result = addition.work(connection)
        except LTX2Error as error:
            addition.error = error

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self.is_sqlite:
            yield
            return
        if not self._writing.acquire(timeout=BUSY_S):
            raise _busy()
        try:
            yield
        finally:
            self._writing.release()


def _server_engine(url: str) -> sql.Engine:
    try:
        return sql.create_engine(
            url, pool_size=20, max_overflow=20, pool_pre_ping=True, pool_timeout=BUSY_S
        )
    except (sql.exc.ArgumentError, ImportError) as error:
        # The address holds a password and is not repeated.
        raise RequestError(
            "LTX2_DATABASE_URL names no database that can be used here.",
            next_step="Give postgresql://USER:PASSWORD@HOST/NAME, which needs the package psycopg, "
            "or sqlite:///FILE; leave it out for a file in the folder of data.",
        ) from error


def _busy() -> ResourceError:
    return ResourceError(
        "The database is busy, so nothing was kept.", next_step="Try again in a moment."
    )


@contextmanager
def _explained() -> Iterator[None]:
    """What a database reports, as advice."""
    try:
        yield
    except sql.exc.TimeoutError as error:
        raise _busy() from error
    except (OperationalError, IntegrityError, DBAPIError) as error:
        reason = str(getattr(error, "orig", error))
        if "locked" in reason:
            raise _busy() from error
        if "full" in reason or "No space" in reason:
            message, step = "The disk is full, so nothing was kept.", "Free disk space; try again."
        elif "connection" in reason or "connect to" in reason:
            message, step = (
                "The database server cannot be reached, so nothing was kept.",
                "Try again in a moment; if it lasts, check LTX2_DATABASE_URL and the server.",
            )
        elif "append-only" in reason:
            message, step = "The log can only be added to.", "Add a new entry instead."
        elif isinstance(getattr(error, "orig", None), sqlite3.OperationalError) and any(
            words in reason for words in ("I/O", "unable to open", "readonly")
        ):
            message = "The database cannot be opened or written, so nothing was kept."
            step = "Free disk space and let the server write into its folder."
        else:
            message, step = (
                "The database refused, so nothing was kept.",
                "Try again; if it happens again, look at the server's log.",
            )
        raise ResourceError(message, next_step=step) from error
