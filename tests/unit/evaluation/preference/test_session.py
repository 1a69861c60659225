"""A rater's way through a session, and what is refused."""

import pytest

from evaluation.preference import export
from evaluation.preference.keeper import Keeper
from evaluation.preference.limits import Limits, Rate, RateLimitedError
from evaluation.preference.session import (
    Break,
    CheckAnswers,
    Checks,
    Consent,
    Done,
    EarlyVoteError,
    EndQuestions,
    ForgedVoteError,
    GuessSent,
    NotYoursError,
    OutOfTurnError,
    Pair,
    PlayedSent,
    Sessions,
    UnknownRaterError,
    Waiting,
)
from evaluation.preference.store import AlreadyVotedError, Store, StudyNotOpenError
from ltx2.errors import RequestError
from tests.unit.evaluation.preference.studies import (
    NO_LIMITS,
    SCREEN,
    Rater,
    a_plan,
    a_vote,
    answers,
    open_study,
)


@pytest.fixture
def study_id(sqlite_store, tmp_path):
    return open_study(sqlite_store, tmp_path)


@pytest.fixture
def rater(sessions, study_id, clock):
    rater = Rater(sessions, study_id, clock)
    rater.begin()
    return rater


def test_a_session_goes_from_consent_to_done(sessions, study_id, clock):
    rater = Rater(sessions, study_id, clock)
    seen = [type(rater.state)]
    rater.begin()
    while not isinstance(rater.state, Done):
        seen.append(type(rater.state))
        if isinstance(rater.state, Pair):
            assert rater.state.training == (rater.state.number == 1)
            rater.vote()
        elif isinstance(rater.state, Break):
            rater.state = sessions.rested(rater.token)
        else:
            rater.finish()
    assert seen == [Consent, *[Pair] * 3, Break, *[Pair] * 5, EndQuestions]
    assert rater.state == Done(8, ())


def test_the_same_link_goes_on_at_the_same_pair_elsewhere(rater, sqlite_store, clock):
    rater.vote()
    rater.play()
    elsewhere = Sessions(sqlite_store, limits=NO_LIMITS, clock=clock)
    again = elsewhere.state(rater.token)
    assert again.trial == rater.state.trial
    assert again.vote_token == rater.state.vote_token
    assert again.clips == rater.state.clips
    assert again.played["left"]["played_s"] == 2.0
    assert isinstance(elsewhere.vote(rater.token, a_vote(again)), Pair)


def test_without_sound_there_is_no_going_on(sessions, study_id, clock):
    rater = Rater(sessions, study_id, clock)
    with pytest.raises(OutOfTurnError):
        sessions.checks(rater.token, SCREEN)
    sessions.consent(rater.token)
    deaf = CheckAnswers(sound_heard=False, screen_width=1, screen_height=1)
    assert isinstance(sessions.checks(rater.token, deaf), Checks)
    assert isinstance(sessions.checks(rater.token, SCREEN), Pair)


def test_a_vote_needs_both_clips_played(rater, clock):
    pair = rater.state
    with pytest.raises(EarlyVoteError, match=r"0\.0 s of 1\.9 s of the left"):
        rater.sessions.vote(rater.token, a_vote(pair))
    clock.now += 100
    left = PlayedSent(trial=pair.trial, side="left", played_s=2.0)
    assert rater.sessions.played(rater.token, left).played["left"]["played_s"] == 2.0
    with pytest.raises(EarlyVoteError, match="right"):
        rater.sessions.vote(rater.token, a_vote(pair))


def test_more_cannot_have_been_played_than_time_has_passed(sqlite_store, tmp_path, clock):
    sessions = Sessions(sqlite_store, limits=NO_LIMITS, clock=clock)
    study_id = open_study(sqlite_store, tmp_path, duration_s=10.0)
    rater = Rater(sessions, study_id, clock)
    pair = rater.begin()
    clock.now += 3.0
    sent = PlayedSent(trial=pair.trial, side="left", played_s=10.0)
    assert sessions.played(rater.token, sent).played["left"]["played_s"] == 4.5


def test_what_was_played_is_not_taken_back_by_a_late_report(rater):
    rater.play()
    late = PlayedSent(trial=rater.state.trial, side="left", played_s=0.1, starts=0)
    played = rater.sessions.played(rater.token, late).played
    assert played["left"] == {"played_s": 2.0, "starts": 1}


def test_a_double_click_is_one_vote(rater, sqlite_store, study_id):
    pair = rater.state
    rater.play()
    sent = a_vote(pair)
    first = rater.sessions.vote(rater.token, sent)
    assert rater.sessions.vote(rater.token, sent) == first
    assert sqlite_store.counts(study_id)["votes"] == 1


def test_a_second_tab_with_another_answer_is_refused(rater):
    pair = rater.state
    rater.vote("left")
    with pytest.raises(AlreadyVotedError):
        rater.sessions.vote(rater.token, a_vote(pair, "right"))


@pytest.mark.parametrize(
    "token", ["", "0" * 32, "é", "' OR 1=1 --"], ids=["none", "zeros", "letters", "sql"]
)
def test_a_forged_vote_token_is_refused(rater, token):
    rater.play()
    with pytest.raises(ForgedVoteError):
        rater.sessions.vote(rater.token, a_vote(rater.state, vote_token=token))


def test_a_token_of_one_pair_does_not_serve_another(rater):
    before = rater.state
    rater.vote()
    rater.play()
    with pytest.raises(ForgedVoteError):
        rater.sessions.vote(rater.token, a_vote(rater.state, vote_token=before.vote_token))


def test_another_raters_pair_is_refused(rater, sessions, study_id, clock):
    other = Rater(sessions, study_id, clock)
    other.begin()
    other.play()
    with pytest.raises(NotYoursError):
        sessions.vote(rater.token, a_vote(other.state))
    with pytest.raises(NotYoursError):
        sessions.played(rater.token, PlayedSent(trial=other.state.trial, side="left", played_s=1.0))


def test_a_guessed_link_opens_nothing(sessions, rater):
    for token in ("", "x", rater.token[:-1], rater.state.session):
        with pytest.raises(UnknownRaterError):
            sessions.state(token)


def test_answers_must_be_complete_and_offered(rater):
    rater.play()
    full = answers(rater.state)
    for wrong in (
        {key: value for key, value in full.items() if key != "sync"},
        full | {"overall": "<b>left</b>"},
        full | {"more": "left"},
        full | {"sync": "left_much"},
    ):
        with pytest.raises(RequestError, match="answers"):
            rater.sessions.vote(rater.token, a_vote(rater.state, answers=wrong))
    with pytest.raises(RequestError):
        rater.sessions.vote(rater.token, a_vote(rater.state, reasons=("no such",)))


def test_one_can_go_back_once_and_change_the_answer(rater, sqlite_store, study_id):
    first = rater.state
    assert not first.can_go_back
    current = rater.vote("left")
    assert current.can_go_back
    returned = rater.sessions.back(rater.token)
    assert (returned.trial, returned.revision) == (first.trial, 2)
    assert returned.answers["overall"] == "left"
    assert rater.sessions.state(rater.token) == returned  # also after a reload
    rater.state = rater.sessions.vote(rater.token, a_vote(returned, "right"))
    assert rater.state.trial == current.trial
    assert not rater.state.can_go_back
    with pytest.raises(OutOfTurnError):
        rater.sessions.back(rater.token)
    votes = [entry for entry in sqlite_store.entries(study_id) if entry.kind == "vote"]
    assert [vote.content["answers"]["overall"] for vote in votes] == ["left", "right"]
    (last,) = export.last_votes(sqlite_store, study_id)
    assert last.revision == 2


def test_a_second_revision_needs_going_back(rater, sqlite_store, study_id):
    from evaluation.preference.session import _vote_token

    first = rater.state
    rater.vote("left")
    row = sqlite_store.session_of(rater.token)
    trial = sqlite_store.trials(row.id)[0]
    token = _vote_token(sqlite_store.study(study_id), row, trial, 2)
    with pytest.raises(OutOfTurnError):
        rater.sessions.vote(rater.token, a_vote(first, "right", vote_token=token))


def test_a_paused_study_waits_and_goes_on(rater, sqlite_store, study_id):
    rater.play()
    pair = rater.state
    sqlite_store.set_status(study_id, "paused")
    assert rater.sessions.state(rater.token) == Waiting("paused")
    with pytest.raises(StudyNotOpenError):
        rater.sessions.vote(rater.token, a_vote(pair))
    sqlite_store.set_status(study_id, "open")
    assert isinstance(rater.sessions.vote(rater.token, a_vote(pair)), Pair)


def test_clips_are_found_by_names_that_tell_nothing(rater, sessions, study_id, clock):
    pair = rater.state
    other = Rater(sessions, study_id, clock)
    other.begin()
    paths = {side: sessions.clip(pair.session, name) for side, name in pair.clips.items()}
    assert paths["left"] != paths["right"]
    assert len({*pair.clips.values(), *other.state.clips.values()}) == 4
    for session, name in (
        (pair.session, other.state.clips["left"]),
        (other.state.session, pair.clips["left"]),
        (pair.session, "../../studies.db"),
        ("x", pair.clips["left"]),
    ):
        with pytest.raises(NotYoursError):
            sessions.clip(session, name)


def test_each_side_shows_the_model_that_the_vote_is_about(sessions, study_id, clock, sqlite_store):
    for _ in range(4):
        rater = Rater(sessions, study_id, clock)
        rater.begin()
        while not isinstance(rater.state, EndQuestions):
            if isinstance(rater.state, Break):
                rater.state = sessions.rested(rater.token)
                continue
            pair = rater.state
            trial = next(t for t in sqlite_store.trials(pair.session) if t.id == pair.trial)
            shown = {side: sessions.clip(pair.session, name) for side, name in pair.clips.items()}
            for side, path in shown.items():
                text = path.read_text()
                if trial.kind == "attention_late":
                    assert ("second" in text) == (side == trial.late_side)
                elif trial.left != trial.right:
                    first = min(trial.left, trial.right)
                    assert ("first" in text) == (getattr(trial, side) == first)
            rater.vote()


def test_no_state_names_a_model_before_the_end(sqlite_store, tmp_path, clock):
    names = ("secret-alpha", "secret-beta")
    study_id = open_study(sqlite_store, tmp_path, a_plan(models=names, reveal_models=True))
    sessions = Sessions(sqlite_store, limits=NO_LIMITS, clock=clock)
    rater = Rater(sessions, study_id, clock)
    rater.begin()
    while isinstance(rater.state, Pair | Break):
        assert "secret" not in repr(rater.state)
        if isinstance(rater.state, Break):
            rater.state = sessions.rested(rater.token)
        else:
            rater.vote("left")
    assert rater.state.models == names
    done = rater.finish()
    assert len(done.revealed) == 4
    assert {done.revealed[0].left, done.revealed[0].right} == set(names)


def test_guesses_are_about_what_was_asked(rater, sqlite_store, study_id):
    while not isinstance(rater.state, EndQuestions):
        if isinstance(rater.state, Break):
            rater.state = rater.sessions.rested(rater.token)
        else:
            rater.vote()
    with pytest.raises(RequestError):
        rater.sessions.guess(rater.token, ())
    strange = tuple(
        GuessSent(trial=clip.trial, side=clip.side, model="eve") for clip in rater.state.clips
    )
    with pytest.raises(RequestError):
        rater.sessions.guess(rater.token, strange)
    assert isinstance(rater.finish(), Done)
    guesses = export.guesses(sqlite_store, study_id)
    assert len(guesses) == 2
    assert {guess.guessed for guess in guesses} == {"ann"}


def test_raters_and_addresses_that_ask_too_often_are_slowed_down(sqlite_store, study_id, clock):
    sessions = Sessions(
        sqlite_store,
        limits=Limits(Rate(0.1, 3), Rate(1e6, 10**6), Rate(0.1, 2), Rate(1, 1)),
        clock=clock,
    )
    token, _ = sessions.join(study_id, "1.1.1.1")
    sessions.join(study_id, "1.1.1.1")
    with pytest.raises(RateLimitedError) as caught:
        sessions.join(study_id, "1.1.1.1")
    assert 0 < caught.value.retry_after_s <= 10
    sessions.join(study_id, "2.2.2.2")
    for _ in range(3):
        sessions.state(token)
    with pytest.raises(RateLimitedError, match="Too many requests"):
        sessions.state(token)


def test_raters_are_told_when_votes_are_not_kept(sqlite_store, study_id, clock, tmp_path):
    keeper = Keeper.on_a_space(tmp_path / "copies", "owner/votes", None)
    sessions = Sessions(sqlite_store, keeper=keeper, limits=NO_LIMITS, clock=clock)
    _, state = sessions.join(study_id, "1.1.1.1")
    assert not state.kept


def test_a_keepers_copy_is_the_log_also_what_the_owner_did_and_after_a_restart(
    sqlite_store, study_id, clock, tmp_path
):
    copy = tmp_path / "copies" / f"{study_id}.jsonl"
    sessions = Sessions(sqlite_store, keeper=Keeper(copy.parent), limits=NO_LIMITS, clock=clock)
    rater = Rater(sessions, study_id, clock)
    rater.begin()
    rater.vote()
    assert copy.read_text() == export.log_lines(sqlite_store, study_id)
    # The server is killed in the middle of a line.
    copy.write_text(copy.read_text()[:-100])
    again = Store(str(sqlite_store._database.engine.url), clock=clock)
    rater.sessions = Sessions(again, keeper=Keeper(copy.parent), limits=NO_LIMITS, clock=clock)
    rater.finish()
    again.set_status(study_id, "closed")
    assert copy.read_text() == export.log_lines(again, study_id)
    assert copy.read_text().count("\n") == again.verify(study_id)
    again.close()
