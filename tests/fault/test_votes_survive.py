"""Acknowledged votes survive `kill -9` and a full disk; what was not kept is said so."""

import json
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from evaluation.preference import export
from evaluation.preference.store import Store
from tests.conftest import ROOT
from tests.postgresql import NoPostgreSQLError, postgresql_server

SERVER = "tests.unit.evaluation.preference.served"


def a_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(url, folder, port):
    server = subprocess.Popen(
        [sys.executable, "-m", SERVER, url, str(folder), str(port), "6"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    study_id = server.stdout.readline().strip()
    base = f"http://127.0.0.1:{port}/rating"
    for _ in range(600):
        try:
            httpx.get(f"{base}/session", timeout=5)
            return server, study_id, base
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the server did not start")


def rate(base, study_id, acknowledged, stop):
    """Votes until the server is gone; what it acknowledged is noted."""
    try:
        with httpx.Client(base_url=base, timeout=10) as client:
            joined = client.post(f"/studies/{study_id}/sessions").json()
            client.headers["Authorization"] = f"Bearer {joined['token']}"
            client.post("/session/consent")
            screen = {"sound_heard": True, "screen_width": 9, "screen_height": 9}
            state = client.post("/session/checks", json=screen).json()
            while state["state"] in ("pair", "break"):
                if state["state"] == "break":
                    state = client.post("/session/rested").json()
                    continue
                for side in ("left", "right"):
                    sent = {"trial": state["trial"], "side": side, "played_s": 0.5}
                    client.post("/session/played", json=sent)
                ballot = {
                    "trial": state["trial"],
                    "vote_token": state["vote_token"],
                    "request_key": state["trial"],
                    "answers": {axis["key"]: "tie" for axis in state["axes"]},
                }
                answer = client.post("/session/vote", json=ballot)
                if answer.status_code == 200:
                    acknowledged.append(state["trial"])
                    state = answer.json()
    except httpx.TransportError:
        stop.set()


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def url(request, tmp_path):
    if request.param == "SQLite":
        yield f"sqlite:///{tmp_path / 'studies.db'}"
        return
    try:
        with postgresql_server() as url:
            yield url
    except NoPostgreSQLError as error:
        pytest.skip(str(error))


def test_kill_9_in_the_middle_of_voting_loses_no_acknowledged_vote(url, tmp_path):
    port = a_port()
    server, study_id, base = serve(url, tmp_path, port)
    acknowledged, stop = [], threading.Event()
    raters = [
        threading.Thread(target=rate, args=(base, study_id, acknowledged, stop)) for _ in range(4)
    ]
    try:
        for rater in raters:
            rater.start()
        deadline = time.monotonic() + 60
        while len(acknowledged) < 8 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    for rater in raters:
        rater.join()
    assert len(acknowledged) >= 8
    assert stop.is_set(), "all raters were done before the server was killed"
    store = Store(url)
    kept = [vote.trial for vote in export.last_votes(store, study_id)]
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))
    store.verify(study_id)
    store.close()


VOTE_UNDER_A_LIMIT = """
import json, resource, signal, sys
from pathlib import Path
from evaluation.preference.store import Store
from ltx2.errors import ResourceError
from tests.unit.evaluation.preference.studies import a_plan, open_study

folder = Path(sys.argv[1])
store = Store(f"sqlite:///{folder / 'studies.db'}")
study_id = open_study(store, folder, a_plan(raters=2))
_, row = store.join(study_id)
trials = store.trials(row.id)
content = {"answers": {"overall": "left"}, "reasons": [], "filler": "x" * 60_000}
size = max(path.stat().st_size for path in folder.glob("studies.db*"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 200_000, size + 200_000))
kept, refused = [], ""
for trial in trials:
    try:
        store.vote(study_id, trial.id, 1, "k", content)
        kept.append(trial.id)
    except ResourceError as error:
        refused = str(error)
        break
print(json.dumps([study_id, kept, trials[len(kept)].id, refused]))
"""


@pytest.mark.slow
def test_a_full_disk_refuses_the_vote_clearly_and_keeps_the_ones_before(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", VOTE_UNDER_A_LIMIT, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    study_id, kept, refused_trial, refused = json.loads(run.stdout)
    assert "nothing was kept" in refused
    assert "Free disk space" in refused
    store = Store(f"sqlite:///{tmp_path / 'studies.db'}")
    votes = [vote.trial for vote in export.last_votes(store, study_id)]
    assert votes == kept != []
    assert store.verify(study_id) == 1 + len(kept)
    store.vote(study_id, refused_trial, 1, "k", {"answers": {}, "reasons": []})
    assert store.verify(study_id) == 2 + len(kept)
    store.close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
