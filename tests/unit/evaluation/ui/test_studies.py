"""What stands behind the Studies and Results tabs, without a browser."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest

from evaluation.preference.clips import Gathered, Problem
from evaluation.preference.limits import Limiter, RateLimitedError
from evaluation.preference.study import Study, StudyPrompt
from evaluation.preference.votes import read_answers
from evaluation.ui import demo_study
from evaluation.ui.clips_here import clips_of, compare
from evaluation.ui.demo_study import Demo
from evaluation.ui.new_study import FOLDERS, Asked, add_upload, render_check, render_plan
from evaluation.ui.owner import NotTheOwnerError, Owner
from evaluation.ui.rating import open_rating
from evaluation.ui.votes_file import read_columns
from ltx2.errors import RequestError
from ltx2.rates import Rate
from ltx2.request import Guidance
from ltx2.serving.access import Door
from ltx2.settings import Settings
from tests.fakes.model import PROFILE, FakeModel
from tests.unit.ui.stand_ins import VISITOR, a_queue, an_offer


@pytest.fixture
def queue(tmp_path):
    queue = a_queue(tmp_path, an_offer(FakeModel()))
    yield queue
    queue.close()
    queue.store.close()


def request_of(host="127.0.0.1", **headers):
    headers = {"host": host, **headers}
    return SimpleNamespace(client=SimpleNamespace(host=host), headers=headers)


def made(queue, **fields):
    from ltx2.request import Request

    job = queue.submit(VISITOR, Request(**{"prompt": "a ball", "seed": 1, **fields}))
    return queue.make_now(job, queue.models[0])


def test_without_a_password_the_owner_is_whoever_sits_at_the_server():
    owner = Owner(None, Door(Settings()))
    assert owner.is_in("", request_of())
    assert not owner.is_in("", request_of("192.0.2.1"))
    assert "LTX2_OWNER_PASSWORD" in owner.why_not()
    with pytest.raises(NotTheOwnerError):
        owner.enter("", request_of())


def test_with_a_password_even_a_local_visitor_needs_it_and_guessing_ends():
    attempts = Limiter(Rate(0.001, 3))
    owner = Owner("pw", Door(Settings()), attempts=attempts)
    assert not owner.is_in("", request_of())
    own_pass = owner.enter("pw", request_of())
    assert owner.is_in(own_pass, request_of("192.0.2.1"))
    assert not Owner("pw", Door(Settings())).is_in(own_pass, request_of())
    for _ in range(3):
        with pytest.raises(NotTheOwnerError):
            owner.enter("guess", request_of())
    with pytest.raises(RateLimitedError):
        owner.enter("guess", request_of())


def test_clips_that_differ_in_guidance_alone_become_models_with_the_same_prompts(queue):
    for seed in (1, 2):
        for scale in (None, 1.0):
            guidance = None if scale is None else Guidance(cfg_scale=scale)
            made(queue, seed=seed, video_guidance=guidance)
    made(queue, seed=3)
    found = compare(queue, clips_of(queue, VISITOR), "guidance")
    assert [model.name for model in found.models] == ["guidance 1", "guidance usual"]
    assert {len(model.clips) for model in found.models} == {2}
    assert len(found.prompts) == 2
    assert found.left_out == 1


def test_clips_that_differ_in_more_than_one_thing_are_no_pair(queue):
    made(queue, video_guidance=Guidance(cfg_scale=1.0), num_steps=2)
    made(queue, num_steps=3)
    with pytest.raises(RequestError, match="No prompt has clips of all"):
        compare(queue, clips_of(queue, VISITOR), "guidance")
    with pytest.raises(RequestError, match="do not differ in LoRA"):
        compare(queue, clips_of(queue, VISITOR), "LoRA")


def asked(**changes):
    values = {
        "name": "s",
        "source": FOLDERS,
        "group": "all",
        "way": "model",
        "folders": "a = /x\nb = /y",
        "uploads": (),
        "yaml": "",
        "yaml_file": None,
        "raters": 12,
        "pairs": 3,
        "training": 0,
        "attention": 0,
        "repeats": 0,
        "axes": ["sound"],
        "reveals": True,
    }
    return Asked(**values | changes)


def test_the_form_becomes_the_plan(queue, tmp_path):
    plan = asked().plan(queue, VISITOR, tmp_path)
    assert [model.name for model in plan.models] == ["a", "b"]
    assert [axis.key for axis in plan.axes] == ["sound", "overall"]
    assert (plan.raters, plan.session.pairs, plan.reveal_models) == (12, 3, True)
    yaml = "name: y\nmodels: [{name: a, folder: /x}, {name: b, folder: /y}]\n"
    assert asked(source="yaml", yaml=yaml).plan(queue, VISITOR, tmp_path).name == "y"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folders": "a /x"}, "names no model and folder"),
        ({"folders": None}, "models"),
        ({"name": " "}, "name"),
        ({"raters": None}, "Some of the numbers are empty"),
        ({"source": "yaml", "yaml": ":\n- ["}, "not valid YAML"),
        ({"source": "uploads"}, "fewer than two models"),
        ({"source": "here"}, "do not differ"),
    ],
)
def test_what_the_form_lacks_is_said(queue, tmp_path, changes, message):
    with pytest.raises(RequestError, match=message):
        asked(**changes).plan(queue, VISITOR, tmp_path)


def test_the_planner_says_what_the_plan_shows_and_how_many_raters_it_would_take():
    # 0.6 without ties and clusters needs 194 votes a pair.
    assert "Not enough" in render_plan(2, 19, 10, 0.6, 0.0, 1.0)
    assert "plan 20 raters" in render_plan(2, 19, 10, 0.6, 0.0, 1.0)
    assert "Enough" in render_plan(2, 20, 10, 0.6, 0.0, 1.0)
    assert "No number of votes" in render_plan(2, 20, 10, 0.5, 0.0, 1.0)


def test_problems_are_listed_with_what_the_design_lacks():
    plan = Study(
        name="s",
        models=[{"name": "a", "folder": "/x"}, {"name": "<b>", "folder": "/y"}],
        session={"pairs": 4, "blinding_guesses": 1},
    )
    gathered = Gathered({}, (Problem("<b>", "p", "the clip is missing."),), (StudyPrompt(id="p"),))
    html = render_check(plan, gathered)
    assert "&lt;b&gt;, prompt p: the clip is missing." in html
    assert "needs 9 prompts" in html
    assert "2 problems" in html


def test_uploads_of_a_model_replace_its_earlier_ones():
    first = add_upload((), "a", ["/t/1.mp4", "/t/2.mp4"])
    again = add_upload(first, "a", ["/t/3.mp4"])
    assert [upload.name for upload in again] == ["3.mp4"]
    with pytest.raises(RequestError, match="no name"):
        add_upload((), " ", ["/t/1.mp4"])


@pytest.mark.parametrize(
    ("name", "text", "roles"),
    [
        ("a.csv", "question_id,judge,model_a,model_b,winner,language\n",
         ("judge", "question_id", "model_a", "model_b", "winner")),
        ("a.tsv", "rater\tprompt\tleft\tright\tanswer\n",
         ("rater", "prompt", "left", "right", "answer")),
        ("a.jsonl", json.dumps({"worker": 1, "item": 2, "a": 3, "b": 4, "vote": 5}) + "\n",
         ("worker", "item", "a", "b", "vote")),
    ],
)  # fmt: skip
def test_columns_of_a_file_of_votes_are_guessed(tmp_path, name, text, roles):
    path = tmp_path / name
    path.write_text(text)
    found = read_columns(path)
    assert (found.rater, found.prompt, found.left, found.right, found.answer) == roles


def test_votes_in_the_words_of_arenas_are_read():
    words = pd.Series(["model_a", "model_b", "tie", "tie (bothbad)"])
    preference, both_bad = read_answers(words)
    assert preference.tolist() == [1, -1, 0, 0]
    assert both_bad.tolist() == [False, False, False, True]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[1"])
def test_a_file_that_holds_no_votes_is_refused(tmp_path, content):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(RequestError, match="cannot be read as votes"):
        read_columns(path)


@pytest.mark.exhaustive  # six clips are made, encoded for raters, and a hundred sessions drawn
def test_the_demo_is_made_by_the_queue_once_and_found_again(queue, tmp_path):
    rating = open_rating(Settings(data=tmp_path), {})
    demo = Demo(rating, queue)
    assert demo.state == demo_study.Offered()
    queue.start()
    assert isinstance(demo.start(), demo_study.Preparing)
    demo.wait()
    state = demo.state
    assert isinstance(state, demo_study.Ready), state
    row = rating.store.study(state.study)
    assert row.status == "open"
    assert [model.name for model in row.plan.models] == ["guidance 1", "guidance 2"]
    assert len(row.plan.prompts) == len(PROFILE.example_prompts)
    assert Demo(rating, queue).state == state
    assert demo.start() == state
    rating.store.set_status(state.study, "closed")
    assert Demo(rating, queue).state == demo_study.Offered()
    rating.store.close()


def test_a_demo_whose_clips_fail_says_so_and_may_be_tried_again(tmp_path):
    failing = a_queue(tmp_path, an_offer(FakeModel(error=RequestError("no", next_step="x."))))
    rating = open_rating(Settings(data=tmp_path), {})
    demo = Demo(rating, failing)
    failing.start()
    demo.start()
    demo.wait()
    assert isinstance(demo.state, demo_study.Broken)
    assert isinstance(demo.start(), demo_study.Preparing)
    demo.wait()
    for part in (failing, failing.store, rating.store):
        part.close()


def test_without_guidance_there_is_no_demo(tmp_path):
    plain = PROFILE.model_copy(update={"video_guidance": Guidance()})
    queue = a_queue(tmp_path, an_offer(profile=plain))
    rating = open_rating(Settings(data=tmp_path), {})
    assert Demo(rating, queue).offer is None
    for part in (queue, queue.store, rating.store):
        part.close()
