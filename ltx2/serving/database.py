"""A SQLite file that threads share and other processes leave alone, and its failures in words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sql
from sqlalchemy.exc import DatabaseError

from ltx2.errors import ResourceError
from ltx2.sqlite import open_sqlite

BUSY_S = 10.0
"""How long a transaction waits for another one."""


def open_engine(path: Path) -> sql.Engine:
    """Connections to a file, as `open_sqlite` makes them."""
    # In WAL mode this loses nothing when the process dies, only when the machine does.
    pragma = "synchronous = NORMAL"
    return open_sqlite(sql.URL.create("sqlite", database=str(path)), pragma, busy_s=BUSY_S)


def lock(path: Path) -> sqlite3.Connection:
    """Held as long as it is open, by one process at a time; a process that dies lets go of it.

    A server that opens the store of another would take its running jobs for interrupted ones.

    Raises:
        ResourceError: another process holds it, or the folder cannot be written.
    """
    beside = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            beside, timeout=0.0, isolation_level=None, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as error:
        raise _unwritable(path) from error
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        connection.close()
        if "locked" not in str(error):
            raise _unwritable(path) from error
        raise ResourceError(
            f"The library {path.name} is in use by another server.",
            next_step="Stop that one, or start this one with another library file.",
        ) from error
    return connection


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what SQLite reports about a file into advice.

    Raises:
        ResourceError: SQLite refused what ran inside.
    """
    try:
        yield
    except DatabaseError as error:
        reason = str(error.orig)
        if "disk is full" in reason:
            raise ResourceError(
                f"The disk is full, so the library {path.name} cannot be written.",
                next_step="Delete files on the server and try again.",
            ) from error
        if "locked" in reason:
            raise ResourceError(
                f"The library {path.name} is busy.", next_step="Try again in a moment."
            ) from error
        if any(words in reason for words in ("readonly", "read-only", "unable to open", "I/O")):
            raise _unwritable(path) from error
        raise ResourceError(
            f"The library {path.name} is damaged ({reason}).",
            next_step="Move it away, or put a copy in its place, and start the server again. "
            "The clips themselves are not touched.",
        ) from error


def _unwritable(path: Path) -> ResourceError:
    return ResourceError(
        f"The library {path.name} cannot be opened or written.",
        next_step=f"Let the server write to the folder {path.parent}, or choose another one.",
    )
