"""Studies, sessions and votes in a database that forgets nothing it has acknowledged.

SQLite in a file by default (write-ahead log, foreign keys, `synchronous = FULL`: an acknowledged
vote survives a power cut), PostgreSQL for many raters or several servers. Votes and everything else
that matters to the result are entries of one log per study, to which rows can only be added:
triggers refuse UPDATE and DELETE. Each entry holds the SHA-256 of the one before and of its own
content, so that a changed, removed or inserted one shows (`Store.verify`); who publishes the last
hash also shows that none was cut off the end.
"""

import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sql
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from evaluation.canonical import canonical
from evaluation.preference.design import PlannedSession, digest_of
from evaluation.preference.study import Study
from ltx2.errors import LTX2Error, RequestError, ResourceError
from ltx2.sqlite import open_sqlite

BUSY_S = 5.0
"""How long a transaction waits for another one."""

Status = Literal["draft", "open", "paused", "closed"]
Side = Literal["left", "right"]

FIRST_HASH = "0" * 64
"""What the first entry of a study follows."""

tables = sql.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_studies = sql.Table(
    "studies",
    tables,
    sql.Column("id", sql.Text, primary_key=True),
    sql.Column("plan", sql.Text, nullable=False),
    sql.Column("status", sql.Text, nullable=False),
    sql.Column("secret", sql.Text, nullable=False),
    sql.Column("created_at", sql.Float, nullable=False),
)

_sessions = sql.Table(
    "sessions",
    tables,
    sql.Column("id", sql.Text, primary_key=True),
    sql.Column("study", sql.Text, sql.ForeignKey("studies.id"), nullable=False),
    sql.Column("slot", sql.Integer, nullable=False),
    sql.Column("token_hash", sql.Text, unique=True),
    sql.Column("axes", sql.Text, nullable=False),
    sql.Column("break_before", sql.Integer),
    sql.Column("progress", sql.Text, nullable=False),
    sql.Column("joined_at", sql.Float),
    sql.UniqueConstraint("study", "slot"),
)
"""`token_hash` is set once somebody took the session; the token itself is nowhere."""

_trials = sql.Table(
    "trials",
    tables,
    sql.Column("id", sql.Text, primary_key=True),
    sql.Column("session", sql.Text, sql.ForeignKey("sessions.id"), nullable=False),
    sql.Column("position", sql.Integer, nullable=False),
    sql.Column("kind", sql.Text, nullable=False),
    sql.Column("prompt", sql.Text, nullable=False),
    sql.Column("left", sql.Text, nullable=False),
    sql.Column("right", sql.Text, nullable=False),
    sql.Column("late_side", sql.Text),
    sql.Column("repeats", sql.Integer),
    sql.Column("shown_at", sql.Float),
    sql.Column("played", sql.Text, nullable=False),
    sql.UniqueConstraint("session", "position"),
)

_stimuli = sql.Table(
    "stimuli",
    tables,
    sql.Column("study", sql.Text, sql.ForeignKey("studies.id"), primary_key=True),
    sql.Column("name", sql.Text, primary_key=True),
    sql.Column("first", sql.Text, nullable=False),
    sql.Column("second", sql.Text, nullable=False),
    sql.Column("duration_s", sql.Float, nullable=False),
    sql.Column("covariates", sql.Text, nullable=False),
)
"""Pairs of files; `name` is `pair_name` of what they show."""

_entries = sql.Table(
    "entries",
    tables,
    sql.Column("study", sql.Text, sql.ForeignKey("studies.id"), primary_key=True),
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("kind", sql.Text, nullable=False),
    sql.Column("trial", sql.Text, sql.ForeignKey("trials.id")),
    sql.Column("revision", sql.Integer),
    sql.Column("request_key", sql.Text),
    sql.Column("content", sql.Text, nullable=False),
    sql.Column("at", sql.Float, nullable=False),
    sql.Column("previous_hash", sql.Text, nullable=False),
    sql.Column("hash", sql.Text, nullable=False),
    sql.UniqueConstraint("trial", "revision"),
    sql.UniqueConstraint("study", "previous_hash"),
)
"""The log. One vote per trial and revision, whatever the requests."""


class UnknownStudyError(RequestError):
    """There is no such study."""


class StudyNotOpenError(RequestError):
    """The study is a draft, paused or closed."""


class StudyFullError(RequestError):
    """All planned sessions are taken."""


class AlreadyVotedError(RequestError):
    """The trial has a vote, and it is another one."""


class LogBrokenError(LTX2Error):
    """The log was tampered with or damaged."""


@dataclass(frozen=True)
class StudyRow:
    """A study as kept.

    Attributes:
        id: in addresses; says nothing.
        plan: what was asked for.
        status: "draft" until it opens.
        secret: key of opaque names and vote tokens.
        created_at: seconds since 1970.
    """

    id: str
    plan: Study
    status: Status
    secret: bytes
    created_at: float


@dataclass(frozen=True)
class Trial:
    """A pair of a session.

    Attributes:
        id: opaque.
        position: from 0.
        kind, prompt, left, right, late_side, repeats: as in `PlannedTrial`.
        shown_at: when it was first handed out, seconds since 1970.
        played: seconds of media time per side that were played at least once, and times started.
    """

    id: str
    session: str
    position: int
    kind: str
    prompt: str
    left: str
    right: str
    late_side: Side | None
    repeats: int | None
    shown_at: float | None
    played: Mapping[str, Any]


@dataclass(frozen=True)
class SessionRow:
    """A session as kept.

    Attributes:
        rater: name of the person in exports, "r0001".
        axes: keys in the order asked.
        progress: what was passed besides votes (consent, checks, break, end questions).
    """

    id: str
    study: str
    slot: int
    axes: tuple[str, ...]
    break_before: int | None
    progress: Mapping[str, Any]
    joined_at: float | None

    @property
    def rater(self) -> str:
        """Name in exports."""
        return f"r{self.slot + 1:04d}"


@dataclass(frozen=True)
class View:
    """A session with all that belongs to it.

    Attributes:
        votes: the last one of each trial, by trial.
    """

    study: StudyRow
    session: SessionRow
    trials: tuple[Trial, ...]
    votes: Mapping[str, "Entry"]


@dataclass(frozen=True)
class Stimuli:
    """The files of a pair.

    Attributes:
        files: of the first and the second model of the name.
        duration_s: of both.
        covariates: of each, by file order.
    """

    files: tuple[Path, Path]
    duration_s: float
    covariates: tuple[Mapping[str, float], Mapping[str, float]]


@dataclass(frozen=True)
class Entry:
    """One line of the log."""

    study: str
    number: int
    kind: str
    trial: str | None
    revision: int | None
    request_key: str | None
    content: Mapping[str, Any]
    at: float
    previous_hash: str
    hash: str = field(default="")

    def computed_hash(self) -> str:
        """SHA-256 of the hash before and of everything else, as canonical JSON."""
        told = {name: value for name, value in asdict(self).items() if name != "hash"}
        return hashlib.sha256(canonical(told).encode()).hexdigest()


def pair_name(prompt: str, first: str, second: str, late_side: Side | None = None) -> str:
    """Key of the files of a pair: both orders of two models share them."""
    if late_side is not None:
        return canonical([prompt, first, "late"])
    return canonical([prompt, *sorted((first, second))])


class Store:
    """The database, made or brought up to date if need be.

    Args:
        url: "sqlite:///path", "postgresql+psycopg://..." ("postgresql://" does as well).
        clock: seconds since 1970.

    Raises:
        ResourceError: it cannot be reached or written.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._engine = _engine(url)
        with self._transaction() as connection:
            _upgrade(connection)

    def close(self) -> None:
        """Ends all connections."""
        self._engine.dispose()

    # Studies

    def create(self, plan: Study) -> StudyRow:
        """The draft just kept."""
        row = StudyRow(secrets.token_hex(8), plan, "draft", secrets.token_bytes(32), self._clock())
        with self._transaction() as connection:
            connection.execute(
                _studies.insert().values(
                    id=row.id,
                    plan=plan.model_dump_json(),
                    status=row.status,
                    secret=row.secret.hex(),
                    created_at=row.created_at,
                )
            )
        return row

    def study(self, study_id: str) -> StudyRow:
        """A study.

        Raises:
            UnknownStudyError: there is none of this id.
        """
        with self._transaction(reads_only=True) as connection:
            return _study_of(connection, study_id)

    def studies(self) -> tuple[StudyRow, ...]:
        """All of them, newest first."""
        with self._transaction(reads_only=True) as connection:
            rows = connection.execute(_studies.select().order_by(_studies.c.created_at.desc()))
            return tuple(_study(row) for row in rows)

    def open(
        self,
        study_id: str,
        plan: Study,
        sessions: Sequence[PlannedSession],
        stimuli: Mapping[str, Stimuli],
        clips: Mapping[str, str],
    ) -> Entry:
        """The log's first entry: plan, design and clips, hashed; from now on nothing changes.

        Args:
            study_id: of a draft.
            plan: with its prompts written out.
            sessions: the design.
            stimuli: by `pair_name`.
            clips: SHA-256 of every clip as it came, by "model/prompt".

        Raises:
            RequestError: the study is no draft.
        """
        with self._transaction() as connection:
            row = _study_of(connection, study_id, locked=True)
            if row.status != "draft":
                raise RequestError(
                    f"The study is {row.status} and was opened before.",
                    next_step="Create another study to ask anything else.",
                )
            connection.execute(
                _studies.update()
                .where(_studies.c.id == study_id)
                .values(plan=plan.model_dump_json(), status="open")
            )
            self._keep_stimuli(connection, study_id, stimuli)
            self._keep_design(connection, study_id, sessions)
            content = {
                "plan": plan.model_dump(mode="json"),
                "plan_sha256": plan.digest,
                "design_sha256": digest_of(sessions),
                "clips_sha256": dict(clips),
            }
            return self._append(connection, study_id, "opened", content)

    def set_status(self, study_id: str, status: Literal["open", "paused", "closed"]) -> Entry:
        """The entry that says so.

        Raises:
            RequestError: the study is a draft or closed for good.
        """
        with self._transaction() as connection:
            row = _study_of(connection, study_id, locked=True)
            if row.status in ("draft", "closed"):
                raise RequestError(
                    f"The study is {'not open yet' if row.status == 'draft' else 'closed'}.",
                    next_step="Open it first." if row.status == "draft" else "Create another one.",
                )
            connection.execute(
                _studies.update().where(_studies.c.id == study_id).values(status=status)
            )
            return self._append(connection, study_id, status, {"was": row.status})

    def stimuli(self, study_id: str, name: str) -> Stimuli:
        """Files of a pair of an open study."""
        with self._transaction(reads_only=True) as connection:
            row = connection.execute(
                _stimuli.select().where(_stimuli.c.study == study_id, _stimuli.c.name == name)
            ).one()
        return _stimuli_of(row)

    # Raters

    def join(self, study_id: str) -> tuple[str, SessionRow]:
        """A token nobody can guess, and the session that it is the only key to.

        Raises:
            StudyNotOpenError: as it says.
            StudyFullError: all sessions are taken.
        """
        token = secrets.token_urlsafe(24)
        with self._transaction() as connection:
            row = _study_of(connection, study_id, locked=True)
            if row.status != "open":
                raise StudyNotOpenError(
                    f"The study is {row.status}.", next_step="Ask its owner when it opens."
                )
            free = connection.execute(
                _sessions.select()
                .where(_sessions.c.study == study_id, _sessions.c.token_hash.is_(None))
                .order_by(_sessions.c.slot)
                .limit(1)
            ).first()
            if free is None:
                raise StudyFullError(
                    "The study has all the raters it planned for.",
                    next_step="Thank you all the same; there is nothing left to rate.",
                )
            connection.execute(
                _sessions.update()
                .where(_sessions.c.id == free.id)
                .values(token_hash=_hash(token), joined_at=self._clock())
            )
            return token, _session_of(connection, _sessions.c.id == free.id)

    def session(self, session_id: str) -> SessionRow | None:
        """The session of this id, if there is one."""
        with self._transaction(reads_only=True) as connection:
            return _session_or_none(connection, _sessions.c.id == session_id)

    def session_of(self, token: str) -> SessionRow | None:
        """The session that the token opens; None for a token that opens none."""
        with self._transaction(reads_only=True) as connection:
            return _session_or_none(connection, _sessions.c.token_hash == _hash(token))

    def set_progress(self, session_id: str, **changes: Any) -> SessionRow:
        """The session with these parts of its progress changed."""
        with self._transaction() as connection:
            wanted = _sessions.c.id == session_id
            row = _session_of(connection, wanted, locked=True)
            progress = {**row.progress, **changes}
            connection.execute(
                _sessions.update().where(wanted).values(progress=canonical(progress))
            )
            return _session_of(connection, wanted)

    def trials(self, session_id: str) -> tuple[Trial, ...]:
        """All pairs of a session, in order."""
        with self._transaction(reads_only=True) as connection:
            rows = connection.execute(
                _trials.select().where(_trials.c.session == session_id).order_by(_trials.c.position)
            )
            return tuple(_trial(row) for row in rows)

    def view(self, session: SessionRow) -> "View":
        """Everything about a session, read at one moment."""
        trials = _trials.select().where(_trials.c.session == session.id)
        votes = (
            sql.select(_entries)
            .join(_trials, _trials.c.id == _entries.c.trial)
            .where(_trials.c.session == session.id, _entries.c.kind == "vote")
            .order_by(_entries.c.revision)
        )
        with self._transaction(reads_only=True) as connection:
            return View(
                _study_of(connection, session.study),
                session,
                tuple(map(_trial, connection.execute(trials.order_by(_trials.c.position)))),
                {row.trial: _entry(row) for row in connection.execute(votes)},
            )

    def set_shown(self, trial_id: str) -> None:
        """Notes when a trial was first handed out; later calls change nothing."""
        with self._transaction() as connection:
            connection.execute(
                _trials.update()
                .where(_trials.c.id == trial_id, _trials.c.shown_at.is_(None))
                .values(shown_at=self._clock())
            )

    def set_played(self, trial_id: str, side: Side, played_s: float, starts: int) -> Trial:
        """The trial with at least this much played; reports that come late take nothing back."""
        with self._transaction() as connection:
            wanted = _trials.select().where(_trials.c.id == trial_id).with_for_update()
            trial = _trial(connection.execute(wanted).one())
            known = trial.played.get(side, {"played_s": 0.0, "starts": 0})
            now = {
                "played_s": max(known["played_s"], played_s),
                "starts": max(known["starts"], starts),
            }
            played = {**trial.played, side: now}
            connection.execute(
                _trials.update().where(_trials.c.id == trial_id).values(played=canonical(played))
            )
            return _trial(connection.execute(wanted).one())

    # The log

    def vote(
        self,
        study_id: str,
        trial_id: str,
        revision: int,
        request_key: str,
        content: Mapping[str, Any],
    ) -> Entry:
        """The entry kept, on disk when this returns; the same vote again gives the same entry.

        Args:
            study_id, trial_id: what it is about.
            revision: 1, or 2 for a changed answer.
            request_key: the same for a request that is sent again.
            content: JSON values.

        Raises:
            AlreadyVotedError: another vote was given.
            StudyNotOpenError: as it says.
            ResourceError: it could not be kept.
        """
        with self._transaction() as connection:
            status = _study_of(connection, study_id, locked=True).status
            known = connection.execute(
                _entries.select().where(
                    _entries.c.trial == trial_id, _entries.c.revision == revision
                )
            ).first()
            if known is not None:
                entry = _entry(known)
                if entry.request_key == request_key or (
                    entry.content["answers"] == content["answers"]
                    and entry.content["reasons"] == content["reasons"]
                ):
                    return entry
                raise AlreadyVotedError(
                    "This pair was answered already, perhaps in another tab.",
                    next_step="Go on with the next pair.",
                )
            if status != "open":
                raise StudyNotOpenError(
                    f"The study is {status}, so the vote was not taken.",
                    next_step="Ask its owner whether it opens again.",
                )
            return self._append(
                connection, study_id, "vote", content, trial_id, revision, request_key
            )

    def note(self, study_id: str, kind: str, content: Mapping[str, Any]) -> Entry:
        """The entry just added about anything but a vote."""
        with self._transaction() as connection:
            _study_of(connection, study_id, locked=True)
            return self._append(connection, study_id, kind, content)

    def entries(self, study_id: str) -> Iterator[Entry]:
        """The whole log, in order."""
        with self._transaction(reads_only=True) as connection:
            rows = connection.execute(
                _entries.select().where(_entries.c.study == study_id).order_by(_entries.c.number)
            )
            for row in rows:
                yield _entry(row)

    def head(self, study_id: str) -> str:
        """Hash of the last entry, to be published; `FIRST_HASH` where there is none."""
        with self._transaction(reads_only=True) as connection:
            return _head(connection, study_id)[1]

    def verify(self, study_id: str) -> int:
        """Number of entries, all of which follow from one another.

        Raises:
            LogBrokenError: names the first that does not.
        """
        hash_before, number = FIRST_HASH, 0
        for number, entry in enumerate(self.entries(study_id), 1):
            whole = entry.number == number and entry.previous_hash == hash_before
            if not whole or entry.computed_hash() != entry.hash:
                raise LogBrokenError(
                    f"Entry {number} of the log is not what was written.",
                    next_step="Take the votes from an older copy, and find out who had access.",
                )
            hash_before = entry.hash
        return number

    def all_stimuli(self, study_id: str) -> dict[str, Stimuli]:
        """Files and covariates of every pair, by `pair_name`."""
        with self._transaction(reads_only=True) as connection:
            rows = connection.execute(_stimuli.select().where(_stimuli.c.study == study_id))
            return {row.name: _stimuli_of(row) for row in rows}

    def counts(self, study_id: str) -> dict[str, int]:
        """Of sessions planned and taken, and of votes (the last of each trial)."""
        sessions = sql.select(sql.func.count(), sql.func.count(_sessions.c.token_hash)).where(
            _sessions.c.study == study_id
        )
        votes = sql.select(sql.func.count(sql.distinct(_entries.c.trial))).where(
            _entries.c.study == study_id, _entries.c.kind == "vote"
        )
        with self._transaction(reads_only=True) as connection:
            planned, taken = connection.execute(sessions).one()
            count = connection.execute(votes).scalar_one()
        return {"sessions": planned, "joined": taken, "votes": count}

    def _append(
        self,
        connection: sql.Connection,
        study_id: str,
        kind: str,
        content: Mapping[str, Any],
        trial: str | None = None,
        revision: int | None = None,
        request_key: str | None = None,
    ) -> Entry:
        """The caller holds the lock of the study."""
        number, previous = _head(connection, study_id)
        entry = Entry(
            study_id,
            number + 1,
            kind,
            trial,
            revision,
            request_key,
            json.loads(canonical(content)),
            round(self._clock(), 3),
            previous,
        )
        values = asdict(entry) | {"content": canonical(content), "hash": entry.computed_hash()}
        connection.execute(_entries.insert().values(**values))
        return Entry(**(asdict(entry) | {"hash": values["hash"]}))

    def _keep_stimuli(
        self, connection: sql.Connection, study_id: str, stimuli: Mapping[str, Stimuli]
    ) -> None:
        rows = [
            {
                "study": study_id,
                "name": name,
                "first": str(pair.files[0]),
                "second": str(pair.files[1]),
                "duration_s": pair.duration_s,
                "covariates": canonical(list(pair.covariates)),
            }
            for name, pair in stimuli.items()
        ]
        connection.execute(_stimuli.insert(), rows)

    def _keep_design(
        self, connection: sql.Connection, study_id: str, sessions: Sequence[PlannedSession]
    ) -> None:
        for slot, session in enumerate(sessions):
            session_id = secrets.token_hex(8)
            connection.execute(
                _sessions.insert().values(
                    id=session_id,
                    study=study_id,
                    slot=slot,
                    axes=canonical(session.axes),
                    break_before=session.break_before,
                    progress="{}",
                )
            )
            rows = [
                {
                    **asdict(trial),
                    "id": secrets.token_hex(8),
                    "session": session_id,
                    "position": position,
                    "played": "{}",
                }
                for position, trial in enumerate(session.trials)
            ]
            connection.execute(_trials.insert(), rows)

    @contextmanager
    def _transaction(self, *, reads_only: bool = False) -> Iterator[sql.Connection]:
        engine = self._engine.execution_options(reads_only=True) if reads_only else self._engine
        with _explained(), engine.begin() as connection:
            yield connection


def sqlite_url(path: Path) -> str:
    """Address of a SQLite file, whose folder is made.

    Raises:
        ResourceError: the folder cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"The folder {path.parent} cannot be made: {error.strerror}.",
            next_step="Choose another folder, or let the server write there.",
        ) from error
    return f"sqlite:///{path.absolute()}"


def migrations() -> Config:
    """Where Alembic finds the steps from one version of the tables to the next."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _upgrade(connection: sql.Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Two servers that start together must not both make the tables.
        connection.execute(sql.text("SELECT pg_advisory_xact_lock(727002)"))
    config = migrations()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _engine(url: str) -> sql.Engine:
    for short in ("postgresql://", "postgres://"):
        if url.startswith(short):
            url = f"postgresql+psycopg://{url.removeprefix(short)}"
    if not url.startswith("sqlite"):
        return sql.create_engine(
            url, pool_size=10, max_overflow=20, pool_pre_ping=True, pool_timeout=BUSY_S
        )
    return open_sqlite(url, "synchronous = FULL", "foreign_keys = ON", busy_s=BUSY_S)


@contextmanager
def _explained() -> Iterator[None]:
    """What a database reports, as advice."""
    try:
        yield
    except (OperationalError, IntegrityError, DBAPIError, sql.exc.TimeoutError) as error:
        reason = str(getattr(error, "orig", error))
        if "full" in reason or "No space" in reason:
            message, step = "The disk is full, so nothing was kept.", "Free disk space; try again."
        elif "locked" in reason or isinstance(error, sql.exc.TimeoutError):
            message, step = "The database is busy, so nothing was kept.", "Try again in a moment."
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


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _head(connection: sql.Connection, study_id: str) -> tuple[int, str]:
    last = connection.execute(
        sql.select(_entries.c.number, _entries.c.hash)
        .where(_entries.c.study == study_id)
        .order_by(_entries.c.number.desc())
        .limit(1)
    ).first()
    return (0, FIRST_HASH) if last is None else (last.number, last.hash)


def _study_of(connection: sql.Connection, study_id: str, *, locked: bool = False) -> StudyRow:
    wanted = _studies.select().where(_studies.c.id == study_id)
    # SQLite locks the whole file from the start of a transaction and knows no FOR UPDATE.
    row = connection.execute(wanted.with_for_update() if locked else wanted).first()
    if row is None:
        raise UnknownStudyError("There is no such study.", next_step="Check the link.")
    return _study(row)


@lru_cache(maxsize=64)
def _parsed(plan: str) -> Study:
    """Plans are read with every request and never change."""
    return Study.model_validate_json(plan)


def _study(row: sql.Row[Any]) -> StudyRow:
    return StudyRow(
        row.id, _parsed(row.plan), row.status, bytes.fromhex(row.secret), row.created_at
    )


def _session_or_none(
    connection: sql.Connection, wanted: sql.ColumnElement[bool], *, locked: bool = False
) -> SessionRow | None:
    chosen = _sessions.select().where(wanted)
    row = connection.execute(chosen.with_for_update() if locked else chosen).first()
    if row is None:
        return None
    return SessionRow(
        row.id,
        row.study,
        row.slot,
        tuple(json.loads(row.axes)),
        row.break_before,
        json.loads(row.progress),
        row.joined_at,
    )


def _session_of(
    connection: sql.Connection, wanted: sql.ColumnElement[bool], *, locked: bool = False
) -> SessionRow:
    session = _session_or_none(connection, wanted, locked=locked)
    if session is None:
        raise RequestError("There is no such session.", next_step="Check the link.")
    return session


def _trial(row: sql.Row[Any]) -> Trial:
    return Trial(**{**row._mapping, "played": json.loads(row.played)})


def _stimuli_of(row: sql.Row[Any]) -> Stimuli:
    first, second = json.loads(row.covariates)
    return Stimuli((Path(row.first), Path(row.second)), row.duration_s, (first, second))


def _entry(row: sql.Row[Any]) -> Entry:
    return Entry(**{**row._mapping, "content": json.loads(row.content)})
