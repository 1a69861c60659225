"""The rater's and the owner's doors, over HTTP."""

import csv
import io

import pytest
from starlette.testclient import TestClient

from evaluation.preference.limits import Limits, Rate
from evaluation.preference.store import Store
from tests.unit.evaluation.preference.served import PASSWORD, an_app
from tests.unit.evaluation.preference.studies import NO_LIMITS, open_study

OWNER = {"Authorization": f"Bearer {PASSWORD}"}


@pytest.fixture
def study_id(sqlite_store, tmp_path):
    return open_study(sqlite_store, tmp_path)


@pytest.fixture
def client(sqlite_store, tmp_path, clock):
    return TestClient(an_app(sqlite_store, tmp_path, clock=clock))


class Browser:
    def __init__(self, client, study_id, clock):
        self.client, self.clock = client, clock
        joined = client.post(f"/rating/studies/{study_id}/sessions").json()
        self.headers = {"Authorization": f"Bearer {joined['token']}"}
        self.state = joined["state"]

    def post(self, what, body=None):
        answer = self.client.post(f"/rating/session/{what}", json=body, headers=self.headers)
        if answer.status_code == 200 and what != "played":
            self.state = answer.json()
        return answer

    def begin(self):
        self.post("consent")
        self.post("checks", {"sound_heard": True, "screen_width": 390, "screen_height": 844})
        return self.state

    def play(self):
        self.clock.now += 2 * self.state["duration_s"]
        for side in ("left", "right"):
            body = {"trial": self.state["trial"], "side": side}
            body["played_s"] = self.state["duration_s"]
            assert self.post("played", body).status_code == 200

    def ballot(self, **changes):
        return {
            "trial": self.state["trial"],
            "vote_token": self.state["vote_token"],
            "request_key": "k",
            "answers": {axis["key"]: "tie" for axis in self.state["axes"]},
        } | changes


def error_of(answer):
    assert set(answer.json()["error"]) == {"type", "message", "next_step"}
    return answer.status_code, answer.json()["error"]["type"]


def test_a_whole_session_over_http(client, sqlite_store, study_id, clock):
    browser = Browser(client, study_id, clock)
    browser.begin()
    while browser.state["state"] != "done":
        state = browser.state["state"]
        if state == "pair":
            browser.play()
            assert browser.post("vote", browser.ballot()).status_code == 200
        elif state == "break":
            browser.post("rested")
        else:
            guesses = [
                {"trial": clip["trial"], "side": clip["side"], "model": None}
                for clip in browser.state["clips"]
            ]
            browser.post("guesses", guesses)
    assert browser.state == {"state": "done", "votes": 8, "revealed": []}
    assert sqlite_store.counts(study_id) == {"sessions": 4, "joined": 1, "votes": 8}


def test_after_a_reload_the_session_is_where_it_was(client, study_id, clock):
    browser = Browser(client, study_id, clock)
    browser.begin()
    again = client.get("/rating/session", headers=browser.headers)
    assert again.json() == browser.state
    assert again.headers["cache-control"] == "no-store"


def test_both_clips_of_a_pair_have_the_same_headers(client, study_id, clock):
    browser = Browser(client, study_id, clock)
    pair = browser.begin()
    answers = [
        client.get(f"/rating/clips/{pair['session']}/{pair['clips'][side]}")
        for side in ("left", "right")
    ]
    kept = [
        {name: value for name, value in answer.headers.items() if name != "content-length"}
        for answer in answers
    ]
    assert kept[0] == kept[1]
    assert kept[0] == {
        "accept-ranges": "bytes",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "content-type": "video/mp4",
    }
    assert answers[0].content != answers[1].content


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=10-", 206, 10, None),
        ("bytes=-7", 206, -7, None),
        ("bytes=5-999999", 206, 5, None),
        ("nonsense", 200, 0, None),
        ("bytes=-", 200, 0, None),
    ],
)
def test_parts_of_a_clip_can_be_asked_for(client, study_id, clock, asked, status, start, end):
    browser = Browser(client, study_id, clock)
    pair = browser.begin()
    address = f"/rating/clips/{pair['session']}/{pair['clips']['left']}"
    whole = client.get(address).content
    part = client.get(address, headers={"Range": asked})
    assert part.status_code == status
    assert part.content == whole[start:end]
    assert int(part.headers["content-length"]) == len(part.content)
    if status == 206:
        first = start % len(whole)
        last = first + len(part.content) - 1
        assert part.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"


def test_a_part_beyond_the_end_is_refused(client, study_id, clock):
    pair = Browser(client, study_id, clock).begin()
    address = f"/rating/clips/{pair['session']}/{pair['clips']['left']}"
    assert client.get(address, headers={"Range": "bytes=9999999-"}).status_code == 416


def test_each_refusal_has_its_status(client, sqlite_store, study_id, clock):
    browser = Browser(client, study_id, clock)
    browser.begin()
    assert error_of(browser.post("vote", browser.ballot())) == (409, "EarlyVoteError")
    browser.play()
    forged = browser.ballot(vote_token="0" * 32)
    assert error_of(browser.post("vote", forged)) == (403, "ForgedVoteError")
    assert error_of(browser.post("vote", browser.ballot(trial="x"))) == (403, "NotYoursError")
    assert error_of(browser.post("vote", browser.ballot(answers={}))) == (422, "RequestError")
    assert browser.post("vote", browser.ballot(more=1)).status_code == 422
    assert error_of(browser.post("guesses", [])) == (409, "OutOfTurnError")
    voted = browser.ballot()
    browser.post("vote", voted)
    other = voted | {"request_key": "k2", "answers": voted["answers"] | {"overall": "left"}}
    assert error_of(browser.post("vote", other)) == (409, "AlreadyVotedError")
    assert error_of(client.get("/rating/session")) == (404, "UnknownRaterError")
    assert error_of(client.post("/rating/studies/x/sessions")) == (404, "UnknownStudyError")
    assert error_of(client.get("/rating/clips/x/y")) == (403, "NotYoursError")
    sqlite_store.set_status(study_id, "closed")
    browser.play_refused = browser.post("vote", browser.ballot())
    assert error_of(browser.play_refused) == (409, "StudyNotOpenError")
    joined = client.post(f"/rating/studies/{study_id}/sessions")
    assert error_of(joined) == (409, "StudyNotOpenError")


def test_whoever_asks_too_often_is_told_when_to_come_back(sqlite_store, study_id, tmp_path, clock):
    limits = Limits(Rate(1e6, 10**6), Rate(1e6, 10**6), Rate(0.1, 1), Rate(0.1, 2))
    client = TestClient(an_app(sqlite_store, tmp_path, limits=limits, clock=clock))
    client.post(f"/rating/studies/{study_id}/sessions")
    refused = client.post(f"/rating/studies/{study_id}/sessions")
    assert error_of(refused) == (429, "RateLimitedError")
    assert 1 <= int(refused.headers["retry-after"]) <= 10
    for status in (401, 401, 429):
        wrong = {"Authorization": "Bearer wrong"}
        assert client.get("/rating/studies", headers=wrong).status_code == status
    assert client.get("/rating/studies", headers=OWNER).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/rating/studies"),
        ("POST", "/rating/studies"),
        ("GET", "/rating/studies/{}"),
        ("POST", "/rating/studies/{}/close"),
        ("GET", "/rating/studies/{}/votes"),
        ("GET", "/rating/studies/{}/log"),
    ],
)
def test_the_owners_part_needs_the_password(client, sqlite_store, study_id, method, path):
    address = path.format(study_id)
    for headers in ({}, {"Authorization": "Bearer é".encode()}, {"Authorization": "Bearer "}):
        assert error_of(client.request(method, address, headers=headers))[0] == 401
    assert sqlite_store.study(study_id).status == "open"


def test_without_a_password_there_is_no_owners_part(sqlite_store, study_id, tmp_path):
    client = TestClient(an_app(sqlite_store, tmp_path, password=None))
    assert client.get("/rating/studies", headers=OWNER).status_code in (404, 405)


def test_the_owner_creates_pauses_resumes_closes_and_exports(client, sqlite_store, study_id, clock):
    text = "name: <script>alert(1)</script>\nmodels: [{name: a, folder: a}, {name: b, folder: b}]"
    made = client.post("/rating/studies", content=text, headers=OWNER)
    assert made.status_code == 201
    assert made.json()["name"] == "<script>alert(1)</script>"
    assert made.headers["content-type"] == "application/json"
    wrong = client.post("/rating/studies", content="name: x\nmodel: []", headers=OWNER)
    assert error_of(wrong) == (422, "RequestError")
    for action, status in (("pause", "paused"), ("resume", "open"), ("close", "closed")):
        if action == "close":
            browser = Browser(client, study_id, clock)
            browser.begin()
            for _ in range(2):
                browser.play()
                browser.post("vote", browser.ballot())
        answer = client.post(f"/rating/studies/{study_id}/{action}", headers=OWNER)
        assert answer.json()["status"] == status
    exported = client.get(f"/rating/studies/{study_id}/votes", headers=OWNER).text
    assert len(list(csv.DictReader(io.StringIO(exported)))) == 5
    assert (
        "text/plain"
        in client.get(f"/rating/studies/{study_id}/log", headers=OWNER).headers["content-type"]
    )


def test_a_database_that_refuses_is_503(client, study_id, clock, monkeypatch):
    from ltx2.errors import ResourceError

    def full(*_, **__):
        raise ResourceError("The disk is full, so nothing was kept.", next_step="Free it.")

    browser = Browser(client, study_id, clock)
    browser.begin()
    browser.play()
    monkeypatch.setattr(Store, "vote", full)
    assert error_of(browser.post("vote", browser.ballot())) == (503, "ResourceError")
    assert NO_LIMITS
