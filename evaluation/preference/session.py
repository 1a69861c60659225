"""What a rater goes through: consent, checks, pairs with a break, questions at the end.

Where a rater stands follows from what is kept, never from the page: the same link goes on at the
same pair on any device. The link's token is the only key to a session. Each pair comes with a vote
token, an HMAC over study, session, pair and revision, so a vote can neither be forged nor given to
another pair; a vote is taken only when both clips were played.
"""

import hmac
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from evaluation.canonical import canonical
from evaluation.preference.keeper import Keeper
from evaluation.preference.limits import Limiter, Limits
from evaluation.preference.stimulus import opaque_name
from evaluation.preference.store import (
    Given,
    SessionRow,
    Side,
    Stimuli,
    Store,
    StudyNotOpenError,
    StudyRow,
    Trial,
    View,
    pair_name,
)
from evaluation.preference.study import Axis
from ltx2.errors import RequestError

if TYPE_CHECKING:
    from evaluation.preference.pairing import Tally

SIDES: tuple[Side, Side] = ("left", "right")

CLOCK_SLACK_S = 1.5
"""By how much reported media time may exceed the time since the pair was handed out."""

MAX_REVISIONS = 2
"""An answer, and a changed one."""


class UnknownRaterError(RequestError):
    """The link opens no session."""


class NotYoursError(RequestError):
    """The pair or clip belongs to somebody else's session, or to nobody's."""


class ForgedVoteError(RequestError):
    """The vote token was not made for this pair, session and revision."""


class EarlyVoteError(RequestError):
    """A clip was not played to the end yet."""


class OutOfTurnError(RequestError):
    """The session is at another step."""


@dataclass(frozen=True)
class Consent:
    """The rater has agreed to nothing yet.

    Attributes:
        study: its name.
        instructions: language to text; empty where the page's own are to be shown.
        pairs: that will be shown.
        kept: False where votes are lost when the server stops.
    """

    study: str
    instructions: Mapping[str, str]
    pairs: int
    kept: bool


@dataclass(frozen=True)
class Checks:
    """Sound and screen are to be checked."""


@dataclass(frozen=True)
class Pair:
    """A pair to be judged.

    Attributes:
        trial: id.
        number, of: for the display of progress, from 1.
        training: does not count.
        clips: names by side, for `Sessions.clip`.
        session: id that clip addresses need.
        duration_s: of both clips.
        required_s: of each that must be played.
        played: by side, {"played_s": seconds, "starts": count}.
        prompt: its text.
        axes: questions in order.
        reasons: codes.
        vote_token: to send with the vote.
        revision: 1, or 2 after going back.
        answers, reasons_given: of before, when going back.
        can_go_back: to the pair before.
    """

    trial: str
    number: int
    of: int
    training: bool
    clips: Mapping[str, str]
    session: str
    duration_s: float
    required_s: float
    played: Mapping[str, Any]
    prompt: str
    axes: tuple[Axis, ...]
    reasons: tuple[str, ...]
    vote_token: str
    revision: int
    answers: Mapping[str, str]
    reasons_given: tuple[str, ...]
    can_go_back: bool


@dataclass(frozen=True)
class Break:
    """A pause halfway."""

    done: int
    of: int


@dataclass(frozen=True)
class Guessed:
    """A clip of which the rater guesses who made it."""

    trial: str
    side: Side
    clip: str


@dataclass(frozen=True)
class EndQuestions:
    """Who made these clips? One of `models`, or None for "don't know"."""

    session: str
    clips: tuple[Guessed, ...]
    models: tuple[str, ...]


@dataclass(frozen=True)
class Revealed:
    """Who made what, once the study allows it."""

    number: int
    left: str
    right: str
    answer: str


@dataclass(frozen=True)
class Done:
    """Nothing is left to do."""

    votes: int
    revealed: tuple[Revealed, ...]


@dataclass(frozen=True)
class Waiting:
    """The study is paused, or closed before this rater was done."""

    status: str


State = Consent | Checks | Pair | Break | EndQuestions | Done | Waiting


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Text = Annotated[str, Field(max_length=200)]


class CheckAnswers(_Sent):
    """What the checks found.

    Attributes:
        sound_heard: the test sound was heard as it should be.
        headphones: as the rater says.
        screen_width, screen_height: of the window in pixels.
        languages: that the rater knows well.
    """

    sound_heard: bool
    headphones: bool | None = None
    screen_width: Annotated[int, Field(ge=1, le=100_000)]
    screen_height: Annotated[int, Field(ge=1, le=100_000)]
    languages: Annotated[tuple[Text, ...], Field(max_length=40)] = ()


class VoteSent(_Sent):
    """A rater's answers about a pair.

    Attributes:
        trial, vote_token: of `Pair`.
        request_key: drawn by the page for this vote, the same when it is sent again.
        answers: by axis, all of them.
        reasons: ticked codes.
    """

    trial: Text
    vote_token: Text
    request_key: Annotated[str, Field(min_length=1, max_length=100)]
    answers: Annotated[Mapping[Text, Text], Field(max_length=40)]
    reasons: Annotated[tuple[Text, ...], Field(max_length=40)] = ()


class PlayedSent(_Sent):
    """What was played of a clip so far.

    Attributes:
        played_s: seconds of the clip that were played at least once while it was audible.
        starts: how often it was started.
    """

    trial: Text
    side: Side
    played_s: Annotated[float, Field(ge=0.0, le=100_000.0)]
    starts: Annotated[int, Field(ge=0, le=100_000)] = 1


class GuessSent(_Sent):
    """Who made a clip; None for "don't know"."""

    trial: Text
    side: Side
    model: Text | None = None


class Sessions:
    """What raters may do; every call names the session by its token.

    Args:
        store: where everything is kept.
        keeper: what is copied elsewhere.
        limits: how often.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        *,
        keeper: Keeper | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        limits = limits or Limits()
        self._store = store
        self._keeper = keeper or Keeper()
        self._keeper.follow(store)
        self._clock = clock
        self._raters = Limiter(limits.rater)
        self._addresses = Limiter(limits.address)
        self._joins = Limiter(limits.joins)
        self._tallies: dict[str, Tally] = {}
        self._tally_lock = threading.Lock()

    def join(self, study_id: str, address: str) -> tuple[str, State]:
        """The token of a new session, for the link, and where it stands.

        Raises:
            RateLimitedError: this address joined too often.
            UnknownStudyError, StudyNotOpenError, StudyFullError: as they say.
        """
        self._joins.take(address)
        token, row = self._store.join(study_id)
        self._note(study_id, "joined", {"rater": row.rater})
        return token, self._state(self._known(token))

    def state(self, token: str, address: str = "") -> State:
        """Where a session stands.

        Raises:
            UnknownRaterError: there is no such session.
            RateLimitedError: too many requests.
        """
        return self._state(self._view(token, address))

    def consent(self, token: str, address: str = "") -> State:
        """Where it stands after the rater agreed; agreeing twice changes nothing.

        Raises:
            UnknownRaterError, RateLimitedError: as `state`.
        """
        view = self._view(token, address)
        if not view.session.progress.get("consented"):
            self._note(view.study.id, "consented", {"rater": view.session.rater})
            view = self._progressed(view, consented=True)
        return self._state(view)

    def checks(self, token: str, found: CheckAnswers, address: str = "") -> State:
        """Where it stands after the checks; without sound there is no going on.

        Raises:
            OutOfTurnError: the session is at another step.
            UnknownRaterError, RateLimitedError: as `state`.
        """
        view = self._view(token, address)
        if isinstance(self._state(view), Checks):
            content = {"rater": view.session.rater, **found.model_dump(mode="json")}
            self._note(view.study.id, "checked", content)
            if found.sound_heard:
                view = self._progressed(view, checked=True)
        elif not view.session.progress.get("checked"):
            raise _out_of_turn()
        return self._state(view)

    def played(self, token: str, sent: PlayedSent, address: str = "") -> Pair:
        """The pair with what was played noted; more than time allows does not count.

        Raises:
            NotYoursError: the pair is not the one at hand.
            UnknownRaterError, RateLimitedError: as `state`.
        """
        view = self._view(token, address)
        pair = _require_pair(self._state(view), sent.trial)
        trial = _trial_of(view, sent.trial)
        possible_s = self._clock() - (trial.shown_at or math.inf) + CLOCK_SLACK_S
        played_s = max(0.0, min(sent.played_s, possible_s, pair.duration_s))
        changed = self._store.set_played(trial.id, sent.side, round(played_s, 3), sent.starts)
        return replace(pair, played=changed.played)

    def vote(self, token: str, sent: VoteSent, address: str = "") -> State:
        """Where the session stands after the vote, which is on disk; again, nothing changes.

        Raises:
            ForgedVoteError: the vote token is not that of this pair.
            NotYoursError: the pair is another session's.
            EarlyVoteError: a clip was not played.
            AlreadyVotedError: the pair has another vote.
            StudyNotOpenError: the study is paused or closed.
            RequestError: answers are missing or not offered.
            UnknownRaterError, RateLimitedError: as `state`.
            ResourceError: the vote could not be kept.
        """
        view = self._view(token, address)
        trial = _trial_of(view, sent.trial)
        revision = _revision_of(view, trial, sent.vote_token)
        _check_answers(view.study, sent)
        stimuli = self._store.stimuli(view.study.id, _name_of(trial))
        before = view.votes.get(trial.id)
        known = before is not None and before.revision >= revision
        if not known:
            _check_turn(self._state(view), trial, revision)
            _check_played(view.study, trial, stimuli)
        entry = self._store.vote(
            view.study.id,
            trial.id,
            revision,
            sent.request_key,
            self._vote_content(view.session, trial, stimuli, sent),
        )
        if not known:
            given = Given(revision, canonical(entry.content))
            view = replace(view, votes={**view.votes, trial.id: given})
        return self._state(view)

    def back(self, token: str, address: str = "") -> Pair:
        """The pair before, to be answered once more.

        Raises:
            OutOfTurnError: there is none, or it was changed already.
            UnknownRaterError, RateLimitedError: as `state`.
        """
        view = self._view(token, address)
        previous = _previous(view)
        if previous is None or isinstance(self._state(view), Done | Waiting):
            raise OutOfTurnError(
                "There is no answer that can still be changed.", next_step="Go on."
            )
        view = self._progressed(view, back=previous.id)
        return _require_pair(self._state(view), previous.id)

    def rested(self, token: str, address: str = "") -> State:
        """Where it stands after the break.

        Raises:
            UnknownRaterError, RateLimitedError: as `state`.
        """
        view = self._view(token, address)
        if isinstance(self._state(view), Break):
            view = self._progressed(view, rested=True)
        return self._state(view)

    def guess(self, token: str, guesses: tuple[GuessSent, ...], address: str = "") -> State:
        """Where it stands after the questions at the end.

        Raises:
            OutOfTurnError: they were not asked.
            RequestError: a clip or model was not among those asked.
            UnknownRaterError, RateLimitedError: as `state`.
        """
        view = self._view(token, address)
        state = self._state(view)
        if isinstance(state, Done):
            return state
        if not isinstance(state, EndQuestions):
            raise _out_of_turn()
        asked = {(clip.trial, clip.side) for clip in state.clips}
        given = {(guess.trial, guess.side) for guess in guesses}
        unknown = {guess.model for guess in guesses} - {*state.models, None}
        if given != asked or len(guesses) != len(asked) or unknown:
            raise RequestError(
                "The guesses are not about the clips asked.", next_step="Reload the page."
            )
        trials = {trial.id: trial for trial in view.trials}
        content = [
            {
                "trial": guess.trial,
                "side": guess.side,
                "model": getattr(trials[guess.trial], guess.side),
                "guessed": guess.model,
            }
            for guess in guesses
        ]
        self._note(view.study.id, "guessed", {"rater": view.session.rater, "guesses": content})
        return self._state(self._progressed(view, guessed=True))

    def clip(self, session_id: str, name: str) -> Path:
        """File of a clip that the session has been shown.

        Raises:
            NotYoursError: it is not among them.
        """
        row = self._store.session(session_id)
        if row is not None:
            study = self._store.study(row.study)
            for trial in self._store.trials(row.id):
                if trial.shown_at is None:
                    continue
                for side in SIDES:
                    if hmac.compare_digest(_clip_name(study, trial, side), name):
                        return _file(trial, side, self._store.stimuli(row.study, _name_of(trial)))
        raise NotYoursError("There is no such clip.", next_step="Reload the page.")

    def _state(self, view: View) -> State:
        study, progress = view.study, view.session.progress
        pending = next((trial for trial in view.trials if trial.id not in view.votes), None)
        back = _to_be_changed(view)
        guessed = progress.get("guessed") or not study.plan.session.blinding_guesses
        state: State
        if pending is None and back is None and guessed:
            state = _done(view)
        elif study.status != "open":
            state = Waiting(study.status)
        elif not progress.get("consented"):
            plan = study.plan
            state = Consent(plan.name, plan.instructions, len(view.trials), self._keeper.keeps)
        elif not progress.get("checked"):
            state = Checks()
        elif back is not None:
            state = self._shown(view, back)
        elif pending is None:
            state = _end_questions(view)
        elif view.session.break_before == pending.position and not progress.get("rested"):
            state = Break(pending.position, len(view.trials))
        else:
            state = self._shown(view, pending)
        return state

    def _shown(self, view: View, trial: Trial) -> Pair:
        if trial.shown_at is None:
            if view.study.plan.pair_choice == "active":
                trial = self._chosen(view, trial)
            trial = self._store.set_shown(trial)
        study, row = view.study, view.session
        before = view.votes.get(trial.id)
        revision = 1 if before is None else 2
        stimuli = self._store.stimuli(row.study, _name_of(trial))
        axes = [study.plan.axis(key) for key in row.axes]
        return Pair(
            trial=trial.id,
            number=trial.position + 1,
            of=len(view.trials),
            training=trial.kind == "training",
            clips={side: _clip_name(study, trial, side) for side in SIDES},
            session=row.id,
            duration_s=stimuli.duration_s,
            required_s=stimuli.duration_s * study.plan.session.played_share,
            played=trial.played,
            prompt=study.plan.prompt_of(trial.prompt).text,
            axes=tuple(axis for axis in axes if axis is not None),
            reasons=study.plan.reasons,
            vote_token=_vote_token(study, row, trial, revision),
            revision=revision,
            answers={} if before is None else before.answers,
            reasons_given=() if before is None else before.reasons,
            can_go_back=revision == 1 and _previous(view) is not None,
        )

    def _chosen(self, view: View, trial: Trial) -> Trial:
        """The trial with the pair to show, where pairs are chosen by what votes have left open."""
        if trial.kind == "repeat" and trial.repeats is not None:
            shown = view.trials[trial.repeats]
            return replace(trial, left=shown.right, right=shown.left)
        if trial.kind != "test":
            return trial
        # The statistics take as long to import as the rest of the server.
        from evaluation.preference.pairing import Tally

        study = view.study
        with self._tally_lock:
            tally = self._tallies.get(study.id)
            if tally is None:
                models = [model.name for model in study.plan.models]
                tally = self._tallies[study.id] = Tally(models, study.plan.axes[-1].key)
            tally.add(self._store.entries(study.id, after=tally.last_entry))
            seed = int(opaque_name(study.secret, "pair", trial.id), 16)
            left, right, propensity = tally.choose(trial.prompt, np.random.default_rng(seed))
        return replace(trial, left=left, right=right, propensity=propensity)

    def _view(self, token: str, address: str) -> View:
        if address:
            self._addresses.take(address)
        view = self._known(token)
        self._raters.take(view.session.id)
        return view

    def _known(self, token: str) -> View:
        view = self._store.view_of(token)
        if view is None:
            raise UnknownRaterError(
                "This link opens no session.", next_step="Use the whole link, or join anew."
            )
        return view

    def _progressed(self, view: View, **changes: Any) -> View:
        return replace(view, session=self._store.set_progress(view.session.id, **changes))

    def _vote_content(
        self, row: SessionRow, trial: Trial, stimuli: Stimuli, sent: VoteSent
    ) -> dict[str, Any]:
        shown_at = trial.shown_at or self._clock()
        return {
            "rater": row.rater,
            "position": trial.position,
            "kind": trial.kind,
            "prompt": trial.prompt,
            "left": trial.left,
            "right": trial.right,
            "late_side": trial.late_side,
            "repeats": trial.repeats,
            "answers": dict(sent.answers),
            "reasons": sorted(set(sent.reasons)),
            "played": dict(trial.played),
            "axes": list(row.axes),
            "trial_s": round(self._clock() - shown_at, 3),
            "duration_s": round(stimuli.duration_s, 3),
            **({} if trial.propensity is None else {"propensity": trial.propensity}),
        }

    def _note(self, study_id: str, kind: str, content: Mapping[str, Any]) -> None:
        self._store.note(study_id, kind, content)


# What is refused


def _trial_of(view: View, trial_id: str) -> Trial:
    for trial in view.trials:
        if trial.id == trial_id:
            return trial
    raise NotYoursError("This pair is not yours.", next_step="Reload the page.")


def _require_pair(state: State, trial_id: str) -> Pair:
    if not isinstance(state, Pair) or state.trial != trial_id:
        raise NotYoursError("This pair is not the one at hand.", next_step="Reload the page.")
    return state


def _revision_of(view: View, trial: Trial, token: str) -> int:
    for revision in range(1, MAX_REVISIONS + 1):
        expected = _vote_token(view.study, view.session, trial, revision)
        if hmac.compare_digest(expected.encode(), token.encode()):
            return revision
    raise ForgedVoteError("The vote was not made for this pair.", next_step="Reload the page.")


def _check_turn(state: State, trial: Trial, revision: int) -> None:
    """A vote that is new must be about the pair at hand."""
    if isinstance(state, Waiting):
        raise StudyNotOpenError(
            f"The study is {state.status}, so the vote was not taken.",
            next_step="Ask its owner whether it opens again.",
        )
    if not isinstance(state, Pair) or (state.trial, state.revision) != (trial.id, revision):
        raise _out_of_turn()


def _check_answers(study: StudyRow, sent: VoteSent) -> None:
    axes = {axis.key: axis for axis in study.plan.axes}
    missing = [key for key in axes if key not in sent.answers]
    strange = [
        key
        for key, answer in sent.answers.items()
        if key not in axes or answer not in axes[key].answers
    ]
    if missing or strange or set(sent.reasons) - set(study.plan.reasons):
        raise RequestError(
            f"The vote lacks answers ({', '.join(missing) or 'none'}) or holds some that were "
            "not offered.",
            next_step="Answer every question, with one of the answers shown.",
        )


def _check_played(study: StudyRow, trial: Trial, stimuli: Stimuli) -> None:
    required_s = stimuli.duration_s * study.plan.session.played_share
    for side in SIDES:
        played_s = trial.played.get(side, {}).get("played_s", 0.0)
        # Half a picture at 24 per second: clips end between two pictures.
        if played_s < required_s - 0.02:
            raise EarlyVoteError(
                f"{played_s:.1f} s of {required_s:.1f} s of the {side} clip were played.",
                next_step="Play both clips to the end, then vote.",
            )


# What is shown


def _previous(view: View) -> Trial | None:
    """The pair answered last, if its answer was not changed yet."""
    answered = [trial for trial in view.trials if trial.id in view.votes]
    if not answered or view.votes[answered[-1].id].revision >= MAX_REVISIONS:
        return None
    return answered[-1]


def _to_be_changed(view: View) -> Trial | None:
    """The pair that the rater went back to, until its answer was changed."""
    for trial in view.trials:
        if trial.id == view.session.progress.get("back"):
            return trial if view.votes[trial.id].revision < MAX_REVISIONS else None
    return None


def _vote_token(study: StudyRow, row: SessionRow, trial: Trial, revision: int) -> str:
    return opaque_name(study.secret, "vote", study.id, row.id, trial.id, str(revision))


def _clip_name(study: StudyRow, trial: Trial, side: Side) -> str:
    return opaque_name(study.secret, "clip", trial.id, side)


def _name_of(trial: Trial) -> str:
    return pair_name(trial.prompt, trial.left, trial.right, trial.late_side)


def _file(trial: Trial, side: Side, stimuli: Stimuli) -> Path:
    if trial.late_side is not None:
        return stimuli.files[side == trial.late_side]
    first = side == "left"
    return stimuli.files[0 if first == (trial.left <= trial.right) else 1]


def _end_questions(view: View) -> EndQuestions:
    """About pairs spread evenly over the session, of each a side drawn once and for all."""
    study = view.study
    tests = [trial for trial in view.trials if trial.kind == "test"]
    count = study.plan.session.blinding_guesses
    clips = []
    for index in range(count):
        trial = tests[index * len(tests) // count]
        drawn = opaque_name(study.secret, "guess", trial.id)
        side = SIDES[int(drawn, 16) % 2]
        clips.append(Guessed(trial.id, side, _clip_name(study, trial, side)))
    models = tuple(sorted(model.name for model in study.plan.models))
    return EndQuestions(view.session.id, tuple(clips), models)


def _done(view: View) -> Done:
    plan = view.study.plan
    if not plan.reveal_models:
        return Done(len(view.votes), ())
    overall = plan.axes[-1].key
    return Done(
        len(view.votes),
        tuple(
            Revealed(t.position + 1, t.left, t.right, view.votes[t.id].answers[overall])
            for t in view.trials
            if t.kind == "test"
        ),
    )


def _out_of_turn() -> OutOfTurnError:
    return OutOfTurnError("The session is at another step.", next_step="Reload the page.")
