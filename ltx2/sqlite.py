"""SQLite files that threads and processes share, as SQLAlchemy's engines."""

from typing import Any

import sqlalchemy as sql
from sqlalchemy import event


def open_sqlite(url: str | sql.URL, *pragmas: str, busy_s: float) -> sql.Engine:
    """Connections to a file, which is made if it is missing.

    Transactions lock the file from their start; those on connections with the execution option
    `reads_only` never do.

    Args:
        url: of the file.
        pragmas: of every connection ("synchronous = FULL"), beside write-ahead logging.
        busy_s: how long a transaction waits for another one.
    """
    engine = sql.create_engine(url, connect_args={"timeout": busy_s})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver's own idea of when to begin is too late
        for pragma in ("journal_mode = WAL", *pragmas):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: sql.Connection) -> None:
        # A transaction that reads before it writes would fail where another wrote in between.
        only_reads = connection.get_execution_options().get("reads_only", False)
        connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")

    return engine
