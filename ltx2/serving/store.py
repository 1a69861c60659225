"""Jobs on disk, so that they survive a restart.

One SQLite file in WAL mode. Every method is one short transaction on a connection of its own, so
threads share a store without further ado; a lock beside the file keeps other processes away.
"""

import json
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from pydantic import TypeAdapter, ValidationError

from ltx2.errors import RequestError, ResourceError
from ltx2.request import Request
from ltx2.serving.database import explained, lock, open_engine
from ltx2.serving.jobs import (
    INTERRUPTED,
    Cancelled,
    Choice,
    Done,
    End,
    Failed,
    Job,
    Queued,
    Running,
    State,
    UnknownJobError,
    new_id,
)
from ltx2.serving.timing import Run
from ltx2.serving.turns import Waiting, in_turn

SCHEMA_VERSION = 2
"""Of the tables; SQLite keeps it as the file's user_version, 0 in a new file."""

UPGRADES = {
    1: (
        "ALTER TABLE jobs ADD COLUMN group_id TEXT",
        "ALTER TABLE jobs ADD COLUMN labels TEXT",
        "CREATE INDEX jobs_of_group ON jobs (group_id, number)",
    ),
}
"""Statements that bring the tables of a version to the next one."""

REMEMBERED_RUNS = 50
"""Runs that times are learnt from: machines and programs change, so only the last ones."""

_tables = sql.MetaData()

_jobs = sql.Table(
    "jobs",
    _tables,
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("id", sql.Text, nullable=False, unique=True),
    sql.Column("owner", sql.Text, nullable=False),
    sql.Column("request", sql.Text, nullable=False),
    sql.Column("choice", sql.Text, nullable=False),
    sql.Column("searched", sql.Text, nullable=False),
    sql.Column("created_at", sql.Float, nullable=False),
    sql.Column("state", sql.Text, nullable=False),
    sql.Column("end", sql.Text),
    sql.Column("started_at", sql.Float),
    sql.Column("ended_at", sql.Float),
    sql.Column("is_favourite", sql.Boolean, nullable=False, default=False),
    sql.Column("deleted_at", sql.Float),
    sql.Column("group_id", sql.Text),
    sql.Column("labels", sql.Text),
    sql.Index("jobs_of_owner", "owner", "number"),
    sql.Index("jobs_of_group", "group_id", "number"),
    sql.Index("jobs_in_state", "state"),
    sqlite_autoincrement=True,  # a purged job's number is not given away again
)
"""`searched` is the prompt as searches see it; `end` holds the fields of a state that lasts;
`labels` what tells a job from the others of its group."""

_runs = sql.Table(
    "runs",
    _tables,
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("model", sql.Text, nullable=False),
    sql.Column("device", sql.Text, nullable=False),
    sql.Column("loaded", sql.Boolean, nullable=False),
    sql.Column("run", sql.Text, nullable=False),
    sql.Index("runs_of_model", "model", "device", "loaded", "number"),
)
"""What timing learns from; outlives the jobs that were purged."""

_QUEUED, _RUNNING = "queued", "running"
_END_NAMES: dict[type[End], str] = {Done: "done", Failed: "failed", Cancelled: "cancelled"}
_ENDS = {name: TypeAdapter(kind) for kind, name in _END_NAMES.items()}
_CHOICE = TypeAdapter(Choice)
_RUN = TypeAdapter(Run)


@dataclass(frozen=True)
class Page:
    """Some of a visitor's jobs.

    Attributes:
        jobs: newest first.
        older: give it as `older_than` to read on; None at the end.
    """

    jobs: tuple[Job, ...]
    older: int | None


@dataclass(frozen=True)
class Member:
    """A job to be, one of a group.

    Attributes:
        labels: what tells it from the others, by column; texts.
    """

    request: Request
    choice: Choice
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Grouped:
    """A job of a group.

    Attributes:
        labels: what tells it from the others, by column.
    """

    job: Job
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Group:
    """Jobs that were asked for together.

    Attributes:
        id: cannot be guessed.
        prompt: of the first one.
        created_at: when they were asked, seconds since 1970.
        num_jobs: that are not deleted; `num_ended` those of them that have ended.
    """

    id: str
    prompt: str
    created_at: float
    num_jobs: int
    num_ended: int


class Store:
    """Jobs and times of past runs in a file, which is made if it is missing.

    Args:
        path: of the file; its folder is made as well.
        clock: seconds since 1970.

    Raises:
        ResourceError: the file is damaged, of a newer version, in use, or cannot be written.
    """

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self._clock = clock
        self._lock = lock(self.path)
        self._engine = open_engine(self.path)
        self._reader = self._engine.execution_options(reads_only=True)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Lets another process use the file."""
        self._engine.dispose()
        self._lock.close()

    # What a visitor may do: every statement names the owner.

    def add(self, owner: str, request: Request, choice: Choice) -> Job:
        """The job just put at the end of its owner's queue."""
        with self._write() as connection:
            values = self._new(owner, request, choice)
            connection.execute(_jobs.insert().values(values))
            return _job_of(connection, owner, values["id"])

    def add_group(self, owner: str, members: Sequence[Member]) -> str:
        """Id of a new group, whose jobs stand at the end of their owner's queue, all or none."""
        group_id = new_id()
        rows = [
            self._new(owner, member.request, member.choice)
            | {"group_id": group_id, "labels": json.dumps(dict(member.labels))}
            for member in members
        ]
        with self._write() as connection:
            connection.execute(_jobs.insert(), rows)
        return group_id

    def group(self, owner: str, group_id: str) -> tuple[Grouped, ...]:
        """A visitor's jobs of a group that are not deleted, in the order of their asking.

        Raises:
            UnknownJobError: there are none, or they are another visitor's.
        """
        with self._read() as connection:
            rows = connection.execute(
                sql.select(_jobs)
                .where(
                    _jobs.c.owner == owner,
                    _jobs.c.group_id == group_id,
                    _jobs.c.deleted_at.is_(None),
                )
                .order_by(_jobs.c.number)
            ).all()
            jobs = _jobs_of(connection, rows)
        if not jobs:
            raise UnknownJobError.new()
        return tuple(
            Grouped(job, json.loads(row.labels)) for job, row in zip(jobs, rows, strict=True)
        )

    def groups(self, owner: str, limit: int = 24) -> tuple[Group, ...]:
        """A visitor's groups, newest first."""
        first = sql.func.min(_jobs.c.number).label("first")
        has_ended = sql.case((_jobs.c.state.in_([_QUEUED, _RUNNING]), 0), else_=1)
        counted = (
            sql.select(
                _jobs.c.group_id,
                first,
                sql.func.count().label("num_jobs"),
                sql.func.sum(has_ended).label("num_ended"),
            )
            .where(
                _jobs.c.owner == owner,
                _jobs.c.group_id.is_not(None),
                _jobs.c.deleted_at.is_(None),
            )
            .group_by(_jobs.c.group_id)
            .order_by(first.desc())
            .limit(limit)
            .subquery()
        )
        wanted = (
            sql.select(counted, _jobs.c.request, _jobs.c.created_at)
            .join(_jobs, _jobs.c.number == counted.c.first)
            .order_by(counted.c.first.desc())
        )
        with self._read() as connection:
            rows = connection.execute(wanted).all()
        return tuple(
            Group(
                row.group_id,
                str(json.loads(row.request)["prompt"]),
                row.created_at,
                row.num_jobs,
                row.num_ended,
            )
            for row in rows
        )

    def find(self, owner: str, job_id: str) -> Job:
        """A job of this visitor, also a deleted one.

        Raises:
            UnknownJobError: there is none, or it is another visitor's.
        """
        with self._read() as connection:
            return _job_of(connection, owner, job_id)

    def search(
        self,
        owner: str,
        text: str = "",
        *,
        favourites: bool = False,
        deleted: bool = False,
        limit: int = 24,
        older_than: int | None = None,
    ) -> Page:
        """A visitor's jobs, newest first.

        Args:
            owner: the visitor.
            text: words that the prompt must hold, in any order, whatever their case.
            favourites: only these.
            deleted: those that were deleted and not yet purged, instead of the others.
            limit: jobs on a page.
            older_than: `Page.older` of the page before.
        """
        wanted = sql.select(_jobs).where(
            _jobs.c.owner == owner,
            _jobs.c.deleted_at.is_not(None) if deleted else _jobs.c.deleted_at.is_(None),
            *(sql.func.instr(_jobs.c.searched, word) > 0 for word in _searchable(text).split()),
        )
        if favourites:
            wanted = wanted.where(_jobs.c.is_favourite)
        if older_than is not None:
            wanted = wanted.where(_jobs.c.number < older_than)
        with self._read() as connection:
            rows = connection.execute(wanted.order_by(_jobs.c.number.desc()).limit(limit + 1)).all()
            jobs = _jobs_of(connection, rows[:limit])
        return Page(jobs, rows[limit - 1].number if len(rows) > limit else None)

    def set_favourite(self, owner: str, job_id: str, is_favourite: bool) -> Job:
        """The job just marked, or no longer.

        Raises:
            UnknownJobError: there is none, or it is another visitor's.
        """
        return self._change(owner, job_id, is_favourite=is_favourite)

    def delete(self, owner: str, job_id: str) -> Job:
        """The job just deleted, which `restore` undoes until it is purged.

        Raises:
            UnknownJobError: there is none, or it is another visitor's.
        """
        return self._change(owner, job_id, deleted_at=self._clock())

    def restore(self, owner: str, job_id: str) -> Job:
        """The job that is no longer deleted.

        Raises:
            UnknownJobError: there is none, it is another visitor's, or it was purged.
        """
        return self._change(owner, job_id, deleted_at=None)

    def cancel_queued(self, owner: str, job_id: str) -> bool:
        """Whether the job was waiting; then it is cancelled now.

        Raises:
            UnknownJobError: there is none, or it is another visitor's.
        """
        with self._write() as connection:
            _job_of(connection, owner, job_id)
            return _end(connection, job_id, Cancelled(), was=_QUEUED, now=None)

    # What the holder of a link may do.

    def open_link(self, job_id: str) -> Job:
        """A job by its id alone, which cannot be guessed: its visitor gave the link away.

        Raises:
            UnknownJobError: there is none, or it was deleted.
        """
        with self._read() as connection:
            rows = connection.execute(
                sql.select(_jobs).where(_jobs.c.id == job_id, _jobs.c.deleted_at.is_(None))
            ).all()
            if not rows:
                raise UnknownJobError.new()
            return _jobs_of(connection, rows)[0]

    # What the workers do.

    def start_next(self) -> Job | None:
        """The job whose turn it is, now running; None if none waits."""
        with self._write() as connection:
            order = _order(connection)
            return self._start(connection, order[0]) if order else None

    def start(self, job_id: str) -> Job | None:
        """A job that waited, now running, whoever's turn it is; None if it does not wait."""
        with self._write() as connection:
            return self._start(connection, job_id)

    def end(self, job_id: str, end: End) -> None:
        """A running job has ended; one that is not running is left as it is."""
        with self._write() as connection:
            _end(connection, job_id, end, was=_RUNNING, now=self._clock())

    def end_interrupted(self) -> tuple[str, ...]:
        """Ids of the jobs that a server before this one left running; they have failed now."""
        with self._write() as connection:
            rows = connection.execute(sql.select(_jobs.c.id).where(_jobs.c.state == _RUNNING)).all()
            for row in rows:
                _end(connection, row.id, INTERRUPTED, was=_RUNNING, now=self._clock())
            return tuple(row.id for row in rows)

    def needed_inputs(self) -> frozenset[str]:
        """Digests of the files that jobs are made from which wait or are being made."""
        with self._read() as connection:
            rows = connection.execute(
                sql.select(_jobs.c.request).where(_jobs.c.state.in_([_QUEUED, _RUNNING]))
            ).all()
        requests = (Request.model_validate_json(row.request) for row in rows)
        return frozenset(file.sha256 for request in requests for file in request.input_files)

    def num_queued(self, owner: str | None = None) -> int:
        """Jobs that wait, of one visitor or of all."""
        counted = sql.select(sql.func.count()).where(_jobs.c.state == _QUEUED)
        if owner is not None:
            counted = counted.where(_jobs.c.owner == owner)
        with self._read() as connection:
            return connection.execute(counted).scalar_one()

    def purge(self, *, deleted_for: float) -> tuple[str, ...]:
        """Files of the jobs that were deleted so many seconds ago, which are gone for good now.

        Jobs that still run stay until they have ended.
        """
        gone = sql.and_(
            _jobs.c.deleted_at <= self._clock() - deleted_for,
            _jobs.c.state.not_in([_QUEUED, _RUNNING]),
        )
        with self._write() as connection:
            rows = connection.execute(sql.select(_jobs).where(gone)).all()
            states = [job.state for job in _jobs_of(connection, rows)]
            connection.execute(_jobs.delete().where(gone))
        return tuple(state.file for state in states if isinstance(state, Done))

    def add_run(self, run: Run) -> None:
        """A clip was made in this time."""
        with self._write() as connection:
            connection.execute(
                _runs.insert().values(
                    model=run.model,
                    device=run.device,
                    loaded=run.load_s is not None,
                    run=_RUN.dump_json(run).decode(),
                )
            )

    def runs(self, model: str, device: str) -> tuple[Run, ...]:
        """The last runs of a model on a device, with and without loading it, oldest first."""

        def newest(loaded: bool) -> sql.Select[Any]:
            return (
                sql.select(_runs.c.number, _runs.c.run)
                .where(_runs.c.model == model, _runs.c.device == device, _runs.c.loaded == loaded)
                .order_by(_runs.c.number.desc())
                .limit(REMEMBERED_RUNS)
            )

        with self._read() as connection:
            rows = [row for kind in (True, False) for row in connection.execute(newest(kind))]
            return tuple(_RUN.validate_json(row.run) for row in sorted(rows))

    def _new(self, owner: str, request: Request, choice: Choice) -> dict[str, Any]:
        """Columns of a job that waits."""
        return {
            "id": new_id(),
            "owner": owner,
            "request": request.model_dump_json(),
            "choice": _CHOICE.dump_json(choice).decode(),
            "searched": _searchable(request.prompt),
            "created_at": self._clock(),
            "state": _QUEUED,
        }

    def _start(self, connection: sql.Connection, job_id: str) -> Job | None:
        changed = connection.execute(
            _jobs.update()
            .where(_jobs.c.id == job_id, _jobs.c.state == _QUEUED)
            .values(state=_RUNNING, started_at=self._clock())
        )
        if changed.rowcount == 0:
            return None
        rows = connection.execute(sql.select(_jobs).where(_jobs.c.id == job_id)).all()
        return _jobs_of(connection, rows)[0]

    def _change(self, owner: str, job_id: str, **values: Any) -> Job:
        with self._write() as connection:
            connection.execute(
                _jobs.update().where(_jobs.c.owner == owner, _jobs.c.id == job_id).values(**values)
            )
            return _job_of(connection, owner, job_id)

    def _prepare(self) -> None:
        with self._write() as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if version > SCHEMA_VERSION:
                raise ResourceError(
                    f"The library {self.path.name} is of version {version}, this program "
                    f"knows version {SCHEMA_VERSION}.",
                    next_step="Update the program, or start it with another library file.",
                )
            if version == 0:
                if sql.inspect(connection).get_table_names():
                    raise ResourceError(
                        f"The file {self.path.name} is another program's database.",
                        next_step="Start the server with another library file.",
                    )
                _tables.create_all(connection)
            else:
                for old in range(version, SCHEMA_VERSION):
                    for statement in UPGRADES[old]:
                        connection.exec_driver_sql(statement)
            if version != SCHEMA_VERSION:
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def _read(self) -> Iterator[sql.Connection]:
        with explained(self.path), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[sql.Connection]:
        with explained(self.path), self._engine.begin() as connection:
            yield connection


def _order(connection: sql.Connection) -> list[str]:
    """Ids of the waiting jobs in the order in which they start."""
    rows = connection.execute(
        sql.select(_jobs.c.id, _jobs.c.owner, _jobs.c.created_at)
        .where(_jobs.c.state == _QUEUED)
        .order_by(_jobs.c.number)
    ).all()
    if not rows:
        return []
    served = sql.case((_jobs.c.state == _RUNNING, sql.literal(9e99)), else_=_jobs.c.ended_at)
    last_served = connection.execute(
        sql.select(_jobs.c.owner, sql.func.max(served))
        .where(_jobs.c.owner.in_({row.owner for row in rows}), _jobs.c.started_at.is_not(None))
        .group_by(_jobs.c.owner)
    ).all()
    waiting = [Waiting(row.id, row.owner, row.created_at) for row in rows]
    return in_turn(waiting, {owner: at for owner, at in last_served if at is not None})


def _end(connection: sql.Connection, job_id: str, end: End, *, was: str, now: float | None) -> bool:
    """Whether the job was in the state `was`; then it has ended."""
    changed = connection.execute(
        _jobs.update()
        .where(_jobs.c.id == job_id, _jobs.c.state == was)
        .values(state=_END_NAMES[type(end)], end=json.dumps(asdict(end)), ended_at=now)
    )
    return changed.rowcount == 1


def _job_of(connection: sql.Connection, owner: str, job_id: str) -> Job:
    rows = connection.execute(
        sql.select(_jobs).where(_jobs.c.owner == owner, _jobs.c.id == job_id)
    ).all()
    if not rows:
        raise UnknownJobError.new()
    return _jobs_of(connection, rows)[0]


def _jobs_of(connection: sql.Connection, rows: Sequence[sql.Row[Any]]) -> tuple[Job, ...]:
    """Jobs of rows; how long those that wait have to is found out once for all."""
    order = _order(connection) if any(row.state == _QUEUED for row in rows) else []
    position_of = {job_id: position for position, job_id in enumerate(order)}
    return tuple(_job(row, position_of.get(row.id, 0)) for row in rows)


def _job(row: sql.Row[Any], position: int) -> Job:
    try:
        return Job(
            id=row.id,
            owner=row.owner,
            request=Request.model_validate_json(row.request),
            choice=_CHOICE.validate_json(row.choice),
            created_at=row.created_at,
            state=_state(row, position),
            is_favourite=row.is_favourite,
            deleted_at=row.deleted_at,
        )
    except (ValidationError, RequestError) as error:
        raise ResourceError(
            "The library holds a job that this program cannot read.",
            next_step="Use the version that wrote it, or start with another library file.",
        ) from error


def _state(row: sql.Row[Any], position: int) -> State:
    match row.state:
        case "queued":
            return Queued(position)
        case "running":
            # Steps are in memory alone: they change too often for a disk.
            return Running("start", 0, 1, row.started_at)
        case name:
            return _ENDS[name].validate_json(row.end)


def _searchable(text: str) -> str:
    """Text in which case, width and composed accents make no difference."""
    return unicodedata.normalize("NFKC", text).casefold()
