"""A study from YAML to exported votes, from the command line, with real clips."""

import json
import re

import pytest
from typer.testing import CliRunner

from evaluation.__main__ import app
from evaluation.preference.limits import Limiter, Rate, RateLimitedError
from evaluation.preference.opening import Opener, open_study
from evaluation.preference.session import Sessions
from evaluation.preference.store import Store
from evaluation.preference.study import read_study
from evaluation.preference.study_commands import database_url, study
from ltx2.errors import RequestError
from ltx2.media.encode import write_clip
from tests.builders import a_clip, smooth_frames, tones
from tests.unit.evaluation.preference.studies import NO_LIMITS, Rater
from tests.unit.evaluation.preference.studies import open_study as bytes_study

TEXT = """
name: Tiny
models: [{name: ann, folder: ann}, {name: bob, folder: bob}]
raters: 2
session: {pairs: 1, training: 0, attention: 1, repeats: 1, break_after: 0, blinding_guesses: 0}
"""


@pytest.fixture
def plan_path(tmp_path, monkeypatch):
    monkeypatch.setenv("LTX2_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("LTX2_DATABASE_URL", raising=False)
    for shift, model in enumerate(("ann", "bob")):
        (tmp_path / model).mkdir()
        for prompt in ("p1", "p2"):
            frames = smooth_frames(26 + shift, 64, 96)
            clip = a_clip(frames, 24.0, 16_000, tones(17_000, 16_000))
            write_clip(clip, tmp_path / model / f"{prompt}.mp4")
    path = tmp_path / "study.yaml"
    path.write_text(TEXT)
    return path


def run(*arguments):
    result = CliRunner().invoke(study, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout.strip()


def test_new_open_status_export_close(plan_path, tmp_path, clock):
    study_id = run("new", plan_path)
    assert run("open", study_id).startswith("open; plan ")
    store = Store(database_url(), clock=clock)
    rater = Rater(Sessions(store, limits=NO_LIMITS, clock=clock), study_id, clock)
    rater.begin()
    first = {
        side: rater.sessions.clip(rater.state.session, n) for side, n in rater.state.clips.items()
    }
    assert all(re.fullmatch(r"[0-9a-f]{32}\.mp4", path.name) for path in first.values())
    assert len({path.stat().st_size for path in first.values()}) == 1
    rater.finish()
    assert run("pause", study_id).startswith("paused; log ")
    assert run("resume", study_id).startswith("open; log ")
    told = CliRunner().invoke(app, ["study", "rank", study_id])
    assert told.exit_code == 2
    assert "All votes are of one rater" in told.output
    store.close()
    assert "1 of 2 raters, 3 votes, 9 entries checked" in run("status")
    assert run("export", study_id, tmp_path / "votes.csv").startswith("4 rows in")
    assert run("close", study_id).startswith("closed; log ")
    assert "closed" in run("status", study_id)


def test_a_clip_that_is_missing_keeps_the_study_a_draft(plan_path, tmp_path):
    store = Store(f"sqlite:///{tmp_path / 's.db'}")
    study_id = store.create(read_study(plan_path)).id
    (tmp_path / "bob" / "p2.mp4").unlink()
    with pytest.raises(RequestError, match="bob, prompt p2: the clip is missing"):
        open_study(store, study_id, tmp_path / "shown")
    opener = Opener(store, tmp_path / "shown")
    opener.start(study_id)
    opener.wait()
    assert "bob, prompt p2: the clip is missing" in opener.progress(study_id).error
    assert store.study(study_id).status == "draft"
    store.close()


def test_a_limiter_lets_callers_in_again_and_keeps_them_apart():
    now = [0.0]
    limiter = Limiter(Rate(0.5, 2), clock=lambda: now[0])
    limiter.take("a")
    limiter.take("a")
    with pytest.raises(RateLimitedError) as caught:
        limiter.take("a")
    assert caught.value.retry_after_s == 2.0
    limiter.take("b")
    now[0] = 2.0
    limiter.take("a")
    with pytest.raises(RateLimitedError):
        limiter.take("a")


def test_a_study_is_ranked_while_it_runs(tmp_path, monkeypatch, clock):
    monkeypatch.setenv("LTX2_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("LTX2_DATABASE_URL", raising=False)
    store = Store(database_url(), clock=clock)
    study_id = bytes_study(store, tmp_path)
    for overall in ("left", "left_much"):
        rater = Rater(Sessions(store, limits=NO_LIMITS, clock=clock), study_id, clock)
        rater.begin()
        rater.finish(overall)
    store.close()
    told = run("rank", study_id)
    assert "All raters, overall: 8 votes of 2 raters on 4 prompts" in told
    assert "Blinding index of ann" in told
    # In these clips one model is always the louder one.
    assert "Always the same between two models, so not held equal: d_lufs" in told
    assert json.loads(run("rank", study_id, "--json"))["axis"] == "overall"


def test_without_texts_of_prompts_nobody_is_asked_which_clip_follows_them(plan_path, tmp_path):
    store = Store(f"sqlite:///{tmp_path / 's.db'}")
    study_id = store.create(read_study(plan_path)).id
    (tmp_path / "ann" / "manifest.csv").write_text("id,prompt\np1,A dog barks.\n")
    with pytest.raises(RequestError, match="some have no text: p2"):
        open_study(store, study_id, tmp_path / "shown")
    (tmp_path / "ann" / "manifest.csv").unlink()
    open_study(store, study_id, tmp_path / "shown")
    asked = [axis.key for axis in store.study(study_id).plan.axes]
    assert asked == ["visual_realism", "sound", "sync", "overall"]
    assert store.verify(study_id) == 1
    store.close()
