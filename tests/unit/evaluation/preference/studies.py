"""Open studies with clips that are only bytes, and raters who answer."""

import secrets

from evaluation.preference.design import design
from evaluation.preference.limits import Limits, Rate
from evaluation.preference.opening import _pairs_of
from evaluation.preference.session import (
    Break,
    CheckAnswers,
    Checks,
    Consent,
    EndQuestions,
    GuessSent,
    Pair,
    PlayedSent,
    Sessions,
    VoteSent,
)
from evaluation.preference.store import Stimuli
from evaluation.preference.study import Study

NO_LIMITS = Limits(*(Rate(1e6, 10**6) for _ in range(4)))
SCREEN = CheckAnswers(sound_heard=True, screen_width=1280, screen_height=720)


class Clock:
    """Time that passes when told to."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def a_plan(raters=4, prompts=8, models=("ann", "bob"), **changes):
    session = {"pairs": 4, "training": 1, "attention": 2, "repeats": 1, "break_after": 2}
    session |= {"blinding_guesses": 2} | changes.pop("session", {})
    return Study(
        name=changes.pop("name", "Study"),
        models=[{"name": name, "folder": name} for name in models],
        prompts=changes.pop(
            "prompts_given", [{"id": f"p{i}", "language": "en"} for i in range(prompts)]
        ),
        raters=raters,
        session=session,
        **changes,
    )


def open_study(store, folder, plan=None, duration_s=2.0):
    """Id of a study whose clips are files of a few bytes."""
    plan = plan or a_plan()
    study_id = store.create(plan).id
    sessions = design(plan)
    stimuli = {}
    for name in _pairs_of(sessions, plan):
        files = []
        for side in ("first", "second"):
            path = folder / f"{secrets.token_hex(6)}.mp4"
            path.write_bytes(f"{name} {side}".encode() * 50)
            files.append(path)
        stimuli[name] = Stimuli(tuple(files), duration_s, ({"lufs": -20.0}, {"lufs": -26.0}))
    store.open(study_id, plan, sessions, stimuli, {"ann/p0": "0" * 64})
    return study_id


def answers(pair, overall="left", other="tie"):
    return {a.key: overall if a.key == "overall" else other for a in pair.axes}


def a_vote(pair, overall="left", key=None, **changes):
    sent = {
        "trial": pair.trial,
        "vote_token": pair.vote_token,
        "request_key": key or secrets.token_hex(4),
        "answers": answers(pair, overall),
    }
    return VoteSent(**sent | changes)


class Rater:
    """Somebody with a link.

    Args:
        sessions: what answers.
        study_id: to join.
        clock: moved on while clips play.
    """

    def __init__(self, sessions: Sessions, study_id, clock):
        self.sessions, self.clock = sessions, clock
        self.token, self.state = sessions.join(study_id, "1.2.3.4")

    def begin(self):
        assert isinstance(self.state, Consent)
        self.state = self.sessions.consent(self.token)
        assert isinstance(self.state, Checks)
        self.state = self.sessions.checks(self.token, SCREEN)
        return self.state

    def play(self, pair=None):
        pair = pair or self.state
        self.clock.now += 2 * pair.duration_s
        for side in ("left", "right"):
            sent = PlayedSent(trial=pair.trial, side=side, played_s=pair.duration_s)
            self.sessions.played(self.token, sent)

    def vote(self, overall="left", key=None):
        self.play()
        self.state = self.sessions.vote(self.token, a_vote(self.state, overall, key))
        return self.state

    def finish(self, overall="left"):
        while isinstance(self.state, Pair | Break):
            if isinstance(self.state, Break):
                self.state = self.sessions.rested(self.token)
            else:
                self.vote(overall)
        if isinstance(self.state, EndQuestions):
            guesses = tuple(
                GuessSent(trial=clip.trial, side=clip.side, model=self.state.models[0])
                for clip in self.state.clips
            )
            self.state = self.sessions.guess(self.token, guesses)
        return self.state
