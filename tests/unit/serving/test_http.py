"""Videos over HTTP, through the real queue and a stand-in model."""

import io

import av
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ltx2.errors import GenerationError
from ltx2.serving.access import Door
from ltx2.serving.http import PATH, build_router
from ltx2.serving.worker import Limits
from ltx2.settings import Settings
from tests.fakes.model import FakeModel
from tests.unit.serving.stand_ins import a_queue


@pytest.fixture
def model():
    return FakeModel()


@pytest.fixture
def queue(tmp_path, model):
    queue = a_queue(tmp_path, model, limits=Limits(per_owner=2))
    yield queue
    queue.close()
    queue.store.close()


@pytest.fixture
def client(queue):
    app = FastAPI()
    app.include_router(build_router(queue))
    return TestClient(app)


def made(queue, video):
    """Makes a job, as a worker would."""
    queue.make_now(queue.store.open_link(video["id"]), queue.models[0])


def test_a_video_is_asked_for_made_fetched_and_deleted(client, queue):
    answer = client.post(PATH, json={"prompt": "A ball.", "seconds": 1, "size": "64x96", "seed": 5})
    assert answer.status_code == 202
    video = answer.json()
    assert (video["object"], video["status"], video["progress"]) == ("video", "queued", 0)
    assert (video["size"], video["seconds"], video["seed"]) == ("64x96", "1.00", 5)
    assert client.get(f"{PATH}/{video['id']}/content").status_code == 409
    made(queue, video)
    video = client.get(f"{PATH}/{video['id']}").json()
    assert (video["status"], video["progress"], video["error"]) == ("completed", 100, None)
    content = client.get(f"{PATH}/{video['id']}/content")
    assert content.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(content.content)) as container:
        assert container.streams.video[0].width == 64
    gone = client.delete(f"{PATH}/{video['id']}")
    assert gone.json() == {"id": video["id"], "object": "video.deleted", "deleted": True}
    assert client.get(f"{PATH}/{video['id']}").status_code == 404


def test_a_form_is_understood_as_well(client):
    answer = client.post(PATH, data={"prompt": "A ball.", "seconds": "1"})
    assert answer.status_code == 202
    assert answer.json()["seconds"] == "1.00"


def test_a_failure_says_why_and_what_to_do(client, queue, model):
    model.error = GenerationError("The numbers overflowed.", next_step="Try another seed.")
    video = client.post(PATH, json={"prompt": "A ball."}).json()
    made(queue, video)
    video = client.get(f"{PATH}/{video['id']}").json()
    assert video["status"] == "failed"
    assert video["error"]["message"] == "The numbers overflowed. Try another seed."


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "prompt"),
        ({"prompt": " "}, "The prompt is empty."),
        ({"prompt": "a", "size": "large"}, "size"),
        ({"prompt": "a", "size": "4000x4000"}, "Choose 64 to 128 px."),
        ({"prompt": "a", "seconds": 900}, "at most 4 s"),
        ({"prompt": "a", "model": "other"}, "There is no model"),
        ({"prompt": "a", "loras": [{"name": "x"}]}, "LoRA"),
        ({"prompt": "a", "quantization": "int3"}, "cannot keep its weights"),
        ({"prompt": "a", "colour": "red"}, "colour"),
        ([], "the body"),
    ],
)
def test_what_cannot_be_made_is_refused_with_what_to_change(client, body, words):
    answer = client.post(PATH, json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_a_body_that_is_not_json_is_refused(client):
    answer = client.post(PATH, content="{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "not JSON" in answer.json()["error"]["message"]


def test_too_many_waiting_jobs_are_refused_until_one_is_made(client, queue):
    first, second = (client.post(PATH, json={"prompt": "A ball."}) for _ in range(2))
    assert first.status_code == second.status_code == 202
    assert client.post(PATH, json={"prompt": "A ball."}).status_code == 429
    made(queue, first.json())
    assert client.post(PATH, json={"prompt": "A ball."}).status_code == 202


def test_another_token_reads_by_the_id_and_may_not_delete(client):
    mine, other = ({"authorization": f"Bearer {name}"} for name in ("mine", "other"))
    video = client.post(PATH, json={"prompt": "A ball."}, headers=mine).json()
    assert client.get(f"{PATH}/{video['id']}", headers=other).status_code == 200
    assert client.delete(f"{PATH}/{video['id']}", headers=other).status_code == 404
    assert client.delete(f"{PATH}/{video['id']}", headers=mine).status_code == 200


def test_an_unknown_id_is_not_found(client):
    for path in (f"{PATH}/nothing", f"{PATH}/nothing/content"):
        assert client.get(path).status_code == 404


def guarded(queue, **settings):
    app = FastAPI()
    app.include_router(build_router(queue, Door(Settings(**settings))))
    return TestClient(app)


def test_behind_a_login_nothing_answers_without_the_key(queue):
    client = guarded(queue, login=("ann", "pw"), api_key="k")
    body = {"prompt": "A ball."}
    for answer in (
        client.post(PATH, json=body),
        client.get(f"{PATH}/x"),
        client.get(f"{PATH}/x/content"),
        client.delete(f"{PATH}/x"),
        client.post(PATH, json=body, headers={"authorization": "Bearer wrong"}),
    ):
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "unauthorized"
    for headers in ({"authorization": "Bearer k"}, {"authorization": "Basic YW5uOnB3"}):
        assert client.post(PATH, json=body, headers=headers).status_code == 202


def test_who_asks_too_often_is_told_429_and_nothing_is_queued(queue):
    client = guarded(queue, visitor_rate=1)
    assert client.post(PATH, json={"prompt": "A ball."}).status_code == 202
    answer = client.post(PATH, json={"prompt": "A ball."})
    assert answer.status_code == 429
    assert "Try again in" in answer.json()["error"]["message"]
    assert queue.store.num_queued() == 1
    assert client.post(PATH, json={"prompt": ""}).status_code == 400


def test_a_body_that_is_too_long_is_not_read(client):
    assert client.post(PATH, json={"prompt": "a" * 200_000}).status_code == 413
    assert client.post(PATH, content=(b"x" for _ in range(3))).status_code == 413


def test_where_clips_are_made_inside_requests_programs_are_sent_elsewhere(client, queue):
    queue.in_request = True
    answer = client.post(PATH, json={"prompt": "A ball."})
    assert answer.status_code == 501
    assert "generate_video" in answer.json()["error"]["message"]
