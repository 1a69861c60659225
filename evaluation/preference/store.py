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
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sql
from alembic import command
from alembic.config import Config

from evaluation.canonical import canonical
from evaluation.preference.database import Database
from evaluation.preference.design import PlannedSession, digest_of
from evaluation.preference.study import Study
from evaluation.preference.tables import entries as _entries
from evaluation.preference.tables import sessions as _sessions
from evaluation.preference.tables import stimuli as _stimuli
from evaluation.preference.tables import studies as _studies
from evaluation.preference.tables import trials as _trials
from ltx2.errors import LTX2Error, RequestError, ResourceError

Status = Literal["draft", "open", "paused", "closed"]
Side = Literal["left", "right"]

FIRST_HASH = "0" * 64
"""What the first entry of a study follows."""

STIMULI_REMEMBERED = 50_000
"""Pairs of files of open studies kept in memory, about 1 kB each."""

# Asked with every request: what does not change is left out, or asked once.
_OF_TOKEN = (
    sql.select(_sessions, _studies.c.status)
    .join(_studies, _studies.c.id == _sessions.c.study)
    .where(_sessions.c.token_hash == sql.bindparam("token_hash"))
)
_TRIALS_AND_VOTES = (
    sql.select(_trials, _entries.c.revision, _entries.c.content)
    .outerjoin(_entries, sql.and_(_entries.c.trial == _trials.c.id, _entries.c.kind == "vote"))
    .where(_trials.c.session == sql.bindparam("session"))
    .order_by(_trials.c.position, _entries.c.revision)
)
_LAST = (
    sql.select(_entries.c.number, _entries.c.hash)
    .where(_entries.c.study == sql.bindparam("study"))
    .order_by(_entries.c.number.desc())
    .limit(1)
)


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
        propensity: probability with which the pair was chosen when it was shown; None where it
            was planned.
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
    propensity: float | None = None


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
class Given:
    """A vote as its rater's session needs it.

    Attributes:
        revision: 1, or 2 for a changed answer.
        content: JSON of the entry; read only where somebody asks.
    """

    revision: int
    content: str

    @property
    def answers(self) -> Mapping[str, str]:
        """By axis."""
        answers: dict[str, str] = json.loads(self.content)["answers"]
        return answers

    @property
    def reasons(self) -> tuple[str, ...]:
        """Codes that were ticked."""
        return tuple(json.loads(self.content)["reasons"])


@dataclass(frozen=True)
class View:
    """A session with all that belongs to it.

    Attributes:
        votes: the last one of each trial, by trial.
    """

    study: StudyRow
    session: SessionRow
    trials: tuple[Trial, ...]
    votes: Mapping[str, Given]


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
        told = {name: value for name, value in vars(self).items() if name != "hash"}
        return hashlib.sha256(canonical(told).encode()).hexdigest()


def verified(entries: Iterable[Entry]) -> int:
    """Number of entries of a log, all of which follow from one another.

    Raises:
        LogBrokenError: names the first that does not.
    """
    hash_before, number = FIRST_HASH, 0
    for number, entry in enumerate(entries, 1):
        whole = entry.number == number and entry.previous_hash == hash_before
        if not whole or entry.computed_hash() != entry.hash:
            raise LogBrokenError(
                f"Entry {number} of the log is not what was written.",
                next_step="Take the votes from an older copy, and find out who had access.",
            )
        hash_before = entry.hash
    return number


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
        self._database = Database(url)
        # What never changes once a study is open is read once.
        self._listeners: list[Callable[[str], None]] = []
        self._open_studies: dict[str, StudyRow] = {}
        self._open_stimuli: OrderedDict[tuple[str, str], Stimuli] = OrderedDict()
        with self._database.writes() as connection:
            _upgrade(connection)

    def close(self) -> None:
        """Ends all connections."""
        self._database.close()

    def on_entry(self, listener: Callable[[str], None]) -> None:
        """From now on the listener is called with a study's id when its log has grown."""
        self._listeners.append(listener)

    # Studies

    def create(self, plan: Study) -> StudyRow:
        """The draft just kept."""
        row = StudyRow(secrets.token_hex(8), plan, "draft", secrets.token_bytes(32), self._clock())
        with self._database.writes() as connection:
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
        with self._database.reads() as connection:
            return _study_of(connection, study_id)

    def studies(self) -> tuple[StudyRow, ...]:
        """All of them, newest first."""
        with self._database.reads() as connection:
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
        with self._database.writes() as connection:
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
            entry = self._append(connection, study_id, "opened", content)
        return self._told(entry)

    def set_status(self, study_id: str, status: Literal["open", "paused", "closed"]) -> Entry:
        """The entry that says so.

        Raises:
            RequestError: the study is a draft or closed for good.
        """
        with self._database.writes() as connection:
            row = _study_of(connection, study_id, locked=True)
            if row.status in ("draft", "closed"):
                raise RequestError(
                    f"The study is {'not open yet' if row.status == 'draft' else 'closed'}.",
                    next_step="Open it first." if row.status == "draft" else "Create another one.",
                )
            connection.execute(
                _studies.update().where(_studies.c.id == study_id).values(status=status)
            )
            entry = self._append(connection, study_id, status, {"was": row.status})
        return self._told(entry)

    def stimuli(self, study_id: str, name: str) -> Stimuli:
        """Files of a pair of an open study."""
        known = self._open_stimuli.get((study_id, name))
        if known is None:
            wanted = _stimuli.select().where(_stimuli.c.study == study_id, _stimuli.c.name == name)
            with self._database.reads() as connection:
                known = _stimuli_of(connection.execute(wanted).one())
            self._open_stimuli[study_id, name] = known
            while len(self._open_stimuli) > STIMULI_REMEMBERED:
                self._open_stimuli.popitem(last=False)
        return known

    # Raters

    def join(self, study_id: str) -> tuple[str, SessionRow]:
        """A token nobody can guess, and the session that it is the only key to.

        Raises:
            StudyNotOpenError: as it says.
            StudyFullError: all sessions are taken.
        """
        token = secrets.token_urlsafe(24)
        with self._database.writes() as connection:
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
        with self._database.reads() as connection:
            return _session_or_none(connection, _sessions.c.id == session_id)

    def session_of(self, token: str) -> SessionRow | None:
        """The session that the token opens; None for a token that opens none."""
        view = self.view_of(token)
        return None if view is None else view.session

    def view_of(self, token: str) -> "View | None":
        """Everything about the session that the token opens; None for a token that opens none."""
        with self._database.reads() as connection:
            row = connection.execute(_OF_TOKEN, {"token_hash": _hash(token)}).first()
            if row is None:
                return None
            study = self._open_study(connection, row.study, row.status)
            trials: list[Trial] = []
            votes: dict[str, Given] = {}
            for found in connection.execute(_TRIALS_AND_VOTES, {"session": row.id}):
                *trial, revision, content = found
                if revision is not None:
                    votes[found.id] = Given(revision, content)
                if not trials or trials[-1].id != found.id:
                    trials.append(_trial(trial))
            return View(study, _session(row), tuple(trials), votes)

    def set_progress(self, session_id: str, **changes: Any) -> SessionRow:
        """The session with these parts of its progress changed."""
        with self._database.writes() as connection:
            wanted = _sessions.c.id == session_id
            row = _session_of(connection, wanted, locked=True)
            progress = {**row.progress, **changes}
            connection.execute(
                _sessions.update().where(wanted).values(progress=canonical(progress))
            )
            return replace(row, progress=progress)

    def trials(self, session_id: str) -> tuple[Trial, ...]:
        """All pairs of a session, in order."""
        with self._database.reads() as connection:
            rows = connection.execute(
                _trials.select().where(_trials.c.session == session_id).order_by(_trials.c.position)
            )
            return tuple(_trial(row) for row in rows)

    def set_shown(self, trial: Trial) -> Trial:
        """The trial as it was first handed out, with the time; later calls change nothing.

        Args:
            trial: with the pair to show, which becomes its pair for good.
        """
        with self._database.jots() as connection:
            connection.execute(
                _trials.update()
                .where(_trials.c.id == trial.id, _trials.c.shown_at.is_(None))
                .values(
                    shown_at=self._clock(),
                    left=trial.left,
                    right=trial.right,
                    propensity=trial.propensity,
                )
            )
            return _trial(
                connection.execute(_trials.select().where(_trials.c.id == trial.id)).one()
            )

    def set_played(self, trial_id: str, side: Side, played_s: float, starts: int) -> Trial:
        """The trial with at least this much played; reports that come late take nothing back."""
        with self._database.jots() as connection:
            wanted = _trials.select().where(_trials.c.id == trial_id).with_for_update()
            trial = _trial(connection.execute(wanted).one())
            known = trial.played.get(side, {"played_s": 0.0, "starts": 0})
            now = {
                "played_s": max(known["played_s"], played_s),
                "starts": max(known["starts"], starts),
            }
            played = {**trial.played, side: now}
            if played != trial.played:
                connection.execute(
                    _trials.update()
                    .where(_trials.c.id == trial_id)
                    .values(played=canonical(played))
                )
            return replace(trial, played=played)

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

        def work(connection: sql.Connection) -> Entry:
            status = _status_of(connection, study_id)
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

        return self._told(self._database.add(study_id, work))

    def note(self, study_id: str, kind: str, content: Mapping[str, Any]) -> Entry:
        """The entry just added about anything but a vote."""

        def work(connection: sql.Connection) -> Entry:
            _status_of(connection, study_id)
            return self._append(connection, study_id, kind, content)

        return self._told(self._database.add(study_id, work))

    def entries(self, study_id: str, *, after: int = 0) -> Iterator[Entry]:
        """The log, in order, or what was added after the entry of a number."""
        with self._database.reads() as connection:
            rows = connection.execute(
                _entries.select()
                .where(_entries.c.study == study_id, _entries.c.number > after)
                .order_by(_entries.c.number)
            )
            for row in rows:
                yield _entry(row)

    def head(self, study_id: str) -> str:
        """Hash of the last entry, to be published; `FIRST_HASH` where there is none."""
        with self._database.reads() as connection:
            return _head(connection, study_id)[1]

    def verify(self, study_id: str) -> int:
        """Number of entries, all of which follow from one another.

        Raises:
            LogBrokenError: names the first that does not.
        """
        return verified(self.entries(study_id))

    def all_stimuli(self, study_id: str) -> dict[str, Stimuli]:
        """Files and covariates of every pair, by `pair_name`."""
        with self._database.reads() as connection:
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
        with self._database.reads() as connection:
            planned, taken = connection.execute(sessions).one()
            count = connection.execute(votes).scalar_one()
        return {"sessions": planned, "joined": taken, "votes": count}

    def _told(self, entry: Entry) -> Entry:
        for listener in self._listeners:
            listener(entry.study)
        return entry

    def _open_study(self, connection: sql.Connection, study_id: str, status: Status) -> StudyRow:
        known = self._open_studies.get(study_id)
        if known is None:
            known = self._open_studies[study_id] = _study_of(connection, study_id)
        return replace(known, status=status)

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
        text = canonical(content)
        entry = Entry(
            study_id,
            number + 1,
            kind,
            trial,
            revision,
            request_key,
            json.loads(text),
            round(self._clock(), 3),
            previous,
        )
        entry = replace(entry, hash=entry.computed_hash())
        connection.execute(_entries.insert(), {**vars(entry), "content": text})
        return entry

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


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _head(connection: sql.Connection, study_id: str) -> tuple[int, str]:
    last = connection.execute(_LAST, {"study": study_id}).first()
    return (0, FIRST_HASH) if last is None else (last.number, last.hash)


def _study_of(connection: sql.Connection, study_id: str, *, locked: bool = False) -> StudyRow:
    wanted = _studies.select().where(_studies.c.id == study_id)
    # SQLite locks the whole file from the start of a transaction and knows no FOR UPDATE.
    row = connection.execute(wanted.with_for_update() if locked else wanted).first()
    if row is None:
        raise UnknownStudyError("There is no such study.", next_step="Check the link.")
    return _study(row)


def _status_of(connection: sql.Connection, study_id: str) -> str:
    """Status of a study that is locked until the transaction ends."""
    wanted = sql.select(_studies.c.status).where(_studies.c.id == study_id).with_for_update()
    status = connection.execute(wanted).scalar_one_or_none()
    if status is None:
        raise UnknownStudyError("There is no such study.", next_step="Check the link.")
    return str(status)


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
    return None if row is None else _session(row)


def _session(row: sql.Row[Any]) -> SessionRow:
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


def _trial(row: Sequence[Any]) -> Trial:
    fields = dict(zip(_trials.c.keys(), row, strict=True))
    return Trial(**{**fields, "played": json.loads(fields["played"])})


def _stimuli_of(row: sql.Row[Any]) -> Stimuli:
    first, second = json.loads(row.covariates)
    return Stimuli((Path(row.first), Path(row.second)), row.duration_s, (first, second))


def _entry(row: sql.Row[Any]) -> Entry:
    return Entry(**{**row._mapping, "content": json.loads(row.content)})
