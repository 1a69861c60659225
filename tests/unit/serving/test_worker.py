import threading
from dataclasses import replace

import pytest

from ltx2.errors import GenerationError, RequestError, ResourceError
from ltx2.media.decode import read_clip, read_recipe
from ltx2.request import Request
from ltx2.runtime.memory import LIBRARIES, Place
from ltx2.serving.jobs import (
    INTERRUPTED,
    Cancelled,
    Choice,
    Done,
    End,
    Failed,
    Queued,
    QueueFullError,
    Running,
    UnknownJobError,
)
from ltx2.serving.models import Models
from ltx2.serving.preflight import CannotTell
from ltx2.serving.store import Store
from ltx2.serving.worker import BROKEN, UNDO_S, JobQueue, Limits
from tests.unit.serving.stand_ins import REQUEST, SMALL, WAIT_S, Clock, Maker, a_queue, an_offer


@pytest.fixture
def opened():
    """Makes queues that are closed after the test."""
    queues = []

    def open_queue(*args, **values):
        queues.append(a_queue(*args, **values))
        return queues[-1]

    yield open_queue
    for queue in queues:
        queue.close(timeout_s=WAIT_S)
        queue.store.close()


def make_all(queue):
    """Lets a worker make what waits."""
    if not queue._threads:
        queue.start()

    def is_idle():
        with queue._changed:
            return not queue.store.num_queued() and not queue._making

    wait_for(is_idle)


def being_made(open_queue, folder):
    """A queue and its job, each step of which waits until the test opens the gate."""
    gate = threading.Semaphore(0)
    maker = Maker(gate)
    queue = open_queue(folder, maker)
    queue.start()
    job = queue.submit("ann", REQUEST)
    assert maker.begun.wait(WAIT_S)
    return queue, job, gate


def wait_for(condition):
    event = threading.Event()
    for _ in range(int(WAIT_S / 0.01)):
        if condition():
            return
        event.wait(0.01)
    raise AssertionError("it never came true")


def test_a_job_becomes_a_file_with_its_recipe(tmp_path, opened):
    queue = opened(tmp_path)
    job = queue.submit("ann", replace_seed(REQUEST, 7))
    assert job.state == Queued(0)
    assert queue.path(job) is None
    make_all(queue)
    job = queue.find("ann", job.id)
    assert isinstance(job.state, Done)
    assert (job.state.seed, job.state.file) == (7, f"{job.id}.mp4")
    assert job.state.seconds > 0
    assert job.state.size == queue.path(job).stat().st_size
    assert read_clip(queue.path(job)).frames.shape == (9, 96, 96, 3)
    assert read_recipe(queue.path(job)).request.prompt == "a ball"


def replace_seed(request, seed):
    return request.model_copy(update={"seed": seed})


def test_a_worker_makes_what_is_submitted_and_waiting_for_it_ends(tmp_path, opened):
    queue = opened(tmp_path)
    queue.start()
    jobs = [queue.submit("ann", REQUEST) for _ in range(3)]
    for job in jobs:
        assert isinstance(queue.wait(job, WAIT_S).state, Done)


def test_submitting_does_not_wait_and_progress_and_previews_are_seen(tmp_path, opened):
    queue, job, gate = being_made(opened, tmp_path)
    state = queue.find("ann", job.id).state
    assert (state.stage, state.step, state.total, state.seconds_left) == ("denoise", 0, 3, None)
    assert queue.sketch(job) is None
    assert queue.store.find("ann", job.id).state == replace(state, stage="start", total=1)
    gate.release(2)
    wait_for(lambda: queue.find("ann", job.id).state.step == 2)
    wait_for(lambda: queue.sketch(job) and queue.sketch(job).step == 2)
    assert queue.find("ann", job.id).state.seconds_left > 0
    assert queue.sketch(job).pictures.startswith(b"\xff\xd8")
    gate.release()
    assert isinstance(queue.wait(job, WAIT_S).state, Done)
    assert queue.sketch(job) is None


def test_of_several_clips_the_one_with_the_highest_score_is_kept(tmp_path, opened):
    maker, scores = Maker(), {4: 1.0, 5: 3.0, 6: None}
    queue = opened(tmp_path, maker, score=lambda clip: scores[clip.recipe.request.seed])
    asked = REQUEST.model_copy(update={"seed": 4})
    job = queue.submit("ann", asked, Choice("stand-in", best_of=3))
    again = queue.submit("ann", asked, Choice("stand-in"))
    make_all(queue)
    done = queue.find("ann", job.id)
    assert (done.state.seed, done.choice.best_of) == (5, 3)
    assert read_recipe(queue.path(done)).request.seed == 5
    assert len(maker.prompts) == 3 + 1
    assert queue.find("ann", again.id).state.seed == 4


def test_the_best_of_several_needs_a_score_and_a_number(tmp_path, opened):
    with pytest.raises(RequestError, match="which clip is the best"):
        opened(tmp_path / "a").submit("ann", REQUEST, Choice(best_of=2))
    with pytest.raises(RequestError, match="from 1 to"):
        opened(tmp_path / "b", score=len).submit("ann", REQUEST, Choice(best_of=99))


def test_visitors_take_turns(tmp_path, opened):
    maker = Maker()
    queue = opened(tmp_path, maker)
    for owner, prompt in (("ann", "a1"), ("ann", "a2"), ("ann", "a3"), ("bob", "b1")):
        queue.submit(owner, Request(prompt=prompt, num_frames=9, num_steps=1))
    make_all(queue)
    assert maker.prompts == ["a1", "b1", "a2", "a3"]


def test_what_waits_is_cancelled_at_once(tmp_path, opened):
    maker = Maker()
    queue = opened(tmp_path, maker)
    job = queue.submit("ann", REQUEST)
    assert queue.cancel("ann", job.id).state == Cancelled()
    make_all(queue)
    assert maker.prompts == []


def test_what_runs_is_cancelled_at_the_next_step(tmp_path, opened):
    queue, job, gate = being_made(opened, tmp_path)
    assert queue.cancel("ann", job.id).state.stage == "stop"
    gate.release()
    assert queue.wait(job, WAIT_S).state == Cancelled()
    assert list(queue.folder.iterdir()) == []
    assert queue.cancel("ann", job.id).state == Cancelled()


def test_a_stranger_can_neither_see_nor_stop_a_job(tmp_path, opened):
    queue, job, gate = being_made(opened, tmp_path)
    for attempt in (queue.find, queue.cancel, queue.delete):
        with pytest.raises(UnknownJobError):
            attempt("bob", job.id)
    gate.release(3)
    assert isinstance(queue.wait(job, WAIT_S).state, Done)


def test_a_clip_that_fails_keeps_its_recipe_and_a_human_reason_and_the_next_is_made(
    tmp_path, opened, caplog
):
    error = GenerationError("Its values are not finite.", next_step="Use float32.")
    maker = Maker(error=error)
    queue = opened(tmp_path, maker)
    job = queue.submit("ann", REQUEST)
    make_all(queue)
    assert queue.find("ann", job.id).state == Failed("Its values are not finite.", "Use float32.")
    assert queue.find("ann", job.id).request == REQUEST
    maker.error = ZeroDivisionError("secret detail")
    job = queue.submit("ann", REQUEST)
    make_all(queue)
    assert queue.find("ann", job.id).state == BROKEN
    assert "ZeroDivisionError: secret detail" in caplog.text
    assert "a ball" not in caplog.text
    maker.error = None
    job = queue.submit("ann", REQUEST)
    make_all(queue)
    assert isinstance(queue.find("ann", job.id).state, Done)


def test_a_model_that_cannot_be_loaded_fails_the_job(tmp_path, opened):
    def load(loras):
        raise ResourceError("There is not enough memory.", next_step="Use a smaller model.")

    queue = opened(tmp_path, load=load)
    job = queue.submit("ann", REQUEST)
    make_all(queue)
    state = queue.find("ann", job.id).state
    assert state == Failed("There is not enough memory.", "Use a smaller model.")


@pytest.mark.parametrize(
    ("request_", "choice"),
    [(Request(prompt="x", duration_s=60.0), Choice()), (REQUEST, Choice("none"))],
)
def test_what_cannot_be_made_is_refused_at_once(tmp_path, opened, request_, choice):
    queue = opened(tmp_path)
    with pytest.raises(RequestError):
        queue.submit("ann", request_, choice)
    assert queue.store.num_queued() == 0


def test_a_visitor_and_all_visitors_may_only_have_so_many_waiting(tmp_path, opened):
    queue = opened(tmp_path, limits=Limits(per_owner=2, in_all=3))
    first = queue.submit("ann", REQUEST)
    queue.submit("ann", REQUEST)
    with pytest.raises(QueueFullError, match="2 of your clips"):
        queue.submit("ann", REQUEST)
    queue.submit("bob", REQUEST)
    with pytest.raises(QueueFullError, match="3 clips") as caught:
        queue.submit("eve", REQUEST)
    assert caught.value.next_step
    queue.cancel("ann", first.id)
    queue.submit("eve", REQUEST)


def test_a_deleted_job_is_cancelled_and_its_file_goes_when_it_cannot_be_restored(tmp_path):
    clock = Clock()
    store = Store(tmp_path / "jobs.sqlite", clock=clock)
    queue = JobQueue(store, [Models([an_offer()])], tmp_path / "clips")
    done, waiting = queue.submit("ann", REQUEST), queue.submit("ann", REQUEST)
    queue.make_now(done, queue.models[0])
    assert queue.delete("ann", waiting.id).state == Cancelled()
    path = queue.path(queue.delete("ann", done.id))
    assert path.is_file()
    assert queue.path(store.restore("ann", done.id)) == path
    queue.delete("ann", done.id)
    clock.now += UNDO_S + 1
    queue.purge()
    assert not path.exists()
    queue.close()
    store.close()


def test_closing_fails_what_runs_and_keeps_what_waits_for_the_next_server(tmp_path, opened):
    gate = threading.Semaphore(0)
    maker = Maker(gate)
    queue = a_queue(tmp_path, maker)
    queue.start()
    running, waiting = queue.submit("ann", REQUEST), queue.submit("ann", REQUEST)
    assert maker.begun.wait(WAIT_S)
    threading.Timer(0.1, gate.release).start()
    queue.close(timeout_s=WAIT_S)
    assert queue.store.find("ann", running.id).state == INTERRUPTED
    assert queue.store.find("ann", waiting.id).state == Queued(0)
    queue.store.close()
    after = opened(tmp_path)
    make_all(after)
    assert after.find("ann", running.id).state == INTERRUPTED
    assert isinstance(after.find("ann", waiting.id).state, Done)


def test_closing_does_not_wait_for_a_step_that_takes_too_long(tmp_path):
    queue, job, gate = being_made(a_queue, tmp_path)
    queue.close(timeout_s=0.0)
    assert queue.store.find("ann", job.id).state == INTERRUPTED
    gate.release()
    for thread in queue._threads:
        thread.join(WAIT_S)
    assert queue.store.find("ann", job.id).state == INTERRUPTED
    queue.store.close()


def test_a_visitor_who_cancelled_before_the_server_stopped_cancelled(tmp_path):
    queue, job, gate = being_made(a_queue, tmp_path)
    queue.cancel("ann", job.id)
    threading.Timer(0.1, gate.release).start()
    queue.close(timeout_s=WAIT_S)
    assert queue.store.find("ann", job.id).state == Cancelled()
    queue.store.close()


def test_how_a_job_ended_is_known_and_saved_later_when_the_disk_was_full(
    tmp_path, opened, monkeypatch
):
    queue = opened(tmp_path)
    job = queue.submit("ann", REQUEST)
    end = queue.store.end

    def full(job_id, state):
        raise ResourceError("The disk is full.", next_step="Make room.")

    monkeypatch.setattr(queue.store, "end", full)
    make_all(queue)
    assert isinstance(queue.find("ann", job.id).state, Done)
    assert isinstance(queue.store.find("ann", job.id).state, Running)
    monkeypatch.setattr(queue.store, "end", end)
    queue.submit("ann", REQUEST)
    make_all(queue)
    assert isinstance(queue.store.find("ann", job.id).state, Done)


def test_a_worker_outlives_a_store_that_could_not_be_read_for_a_while(
    tmp_path, opened, monkeypatch, caplog
):
    queue = opened(tmp_path)
    start_next = queue.store.start_next

    def broken():
        monkeypatch.setattr(queue.store, "start_next", start_next)
        raise ResourceError("The library is busy.", next_step="Try again.")

    monkeypatch.setattr(queue.store, "start_next", broken)
    queue.start()
    wait_for(lambda: "library is busy" in caplog.text)
    job = queue.submit("ann", REQUEST)
    assert isinstance(queue.wait(job, WAIT_S).state, Done)


def test_a_job_can_be_made_inside_its_visitors_request(tmp_path, opened):
    maker = Maker()
    queue = opened(tmp_path, maker)
    first = queue.submit("ann", Request(prompt="first", num_frames=9, num_steps=1))
    second = queue.submit("bob", Request(prompt="second", num_frames=9, num_steps=1))
    for _ in range(2):  # the second time there is nothing to do
        assert isinstance(queue.make_now(second, queue.models[0]).state, Done)
    assert maker.prompts == ["second"]
    assert queue.find("ann", first.id).state == Queued(0)


def test_two_devices_make_two_clips_at_the_same_time(tmp_path):
    gate = threading.Semaphore(0)
    makers = [Maker(gate), Maker(gate)]
    models = [Models([an_offer(maker)], device=f"cuda:{i}") for i, maker in enumerate(makers)]
    queue = JobQueue(Store(tmp_path / "jobs.sqlite"), models, tmp_path / "clips")
    queue.start()
    jobs = [queue.submit("ann", REQUEST) for _ in range(2)]
    assert all(maker.begun.wait(WAIT_S) for maker in makers)
    gate.release(6)
    assert all(isinstance(queue.wait(job, WAIT_S).state, Done) for job in jobs)
    assert [maker.prompts for maker in makers] == [["a ball"], ["a ball"]]
    queue.close()
    queue.store.close()


def test_waiting_gives_up_when_the_time_is_up(tmp_path, opened):
    queue = opened(tmp_path)
    job = queue.submit("ann", REQUEST)
    assert not isinstance(queue.wait(job, timeout_s=0.01).state, End)


def test_waiting_ends_when_the_server_does(tmp_path, opened):
    queue = opened(tmp_path)
    job = queue.submit("ann", REQUEST)
    threading.Timer(0.05, queue.close).start()
    assert queue.wait(job, WAIT_S).state == Queued(0)


def test_how_long_it_takes_is_known_after_the_first_clip(tmp_path, opened):
    queue = opened(tmp_path)
    before = queue.preflight(REQUEST)
    assert before.forecast is None
    assert isinstance(before.verdict, CannotTell)
    queue.submit("ann", REQUEST)
    make_all(queue)
    after = queue.preflight(REQUEST)
    assert after.forecast.load_s == 0.0  # it is loaded now
    queue.submit("ann", REQUEST)
    make_all(queue)
    loads = [run.load_s is not None for run in queue.store.runs("stand-in", "cpu")]
    assert loads == [True, False]
    assert 0 < after.forecast.seconds < WAIT_S
    assert after.sentence.startswith("About")
    few, many = (
        queue.preflight(REQUEST.model_copy(update={"num_steps": steps})).forecast.seconds
        for steps in (3, 60)
    )
    assert many > few


def test_memory_is_judged_as_it_is_between_clips(tmp_path, monkeypatch):
    gate = threading.Semaphore(0)
    maker = Maker(gate)
    offers = [an_offer(maker, anatomy=SMALL), replace(an_offer(), name="other", anatomy=SMALL)]
    models = Models(offers, device="cpu")
    queue = JobQueue(Store(tmp_path / "jobs.sqlite"), [models], tmp_path / "clips")
    free = [10**9]
    monkeypatch.setattr("ltx2.serving.worker.look", lambda device: Place(False, free[0]))

    def verdict(model="stand-in"):
        return queue.preflight(REQUEST, Choice(model)).verdict

    before = verdict()
    queue.start()
    job = queue.submit("ann", REQUEST)
    assert maker.begun.wait(WAIT_S)
    free[0] = 1  # the clip that is being made has taken the rest
    assert verdict() == before
    gate.release(3)
    queue.wait(job, WAIT_S)
    free[0] = 10**8
    assert verdict().free == 10**8
    assert verdict().needed == before.needed - SMALL.resident - LIBRARIES
    # Before another model is loaded, this one gives its memory back.
    assert verdict("other").free == 10**8 + SMALL.resident + LIBRARIES
    assert verdict("other").needed == before.needed
    queue.close()
    queue.store.close()


def test_what_an_interrupted_job_had_written_is_removed(tmp_path, opened):
    queue = a_queue(tmp_path)
    job = queue.submit("ann", REQUEST)
    queue.store.start_next()
    for name in (f"{job.id}.mp4", f"{job.id}.mp4.part", "another.mp4"):
        (queue.folder / name).touch()
    queue.store.close()
    queue.close()
    after = opened(tmp_path)
    assert [path.name for path in after.folder.iterdir()] == ["another.mp4"]
    assert after.find("ann", job.id).state == INTERRUPTED


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "clips").touch()
    with pytest.raises(ResourceError, match="cannot be made") as caught:
        a_queue(tmp_path)
    assert caught.value.next_step
