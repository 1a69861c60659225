import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ltx2.errors import ResourceError
from ltx2.request import Request
from ltx2.serving.jobs import (
    Cancelled,
    Choice,
    ChosenLora,
    Done,
    Failed,
    Queued,
    Running,
    UnknownJobError,
)
from ltx2.serving.store import REMEMBERED_RUNS, Store
from ltx2.serving.timing import Run, Work
from tests.unit.serving.stand_ins import Clock

CHOICE = Choice("puppet", (ChosenLora("paper", 0.5),))
REQUEST = Request(prompt="a ball", duration_s=1.0, seed=7, video_guidance={"cfg_scale": 2.0})
DONE = Done("x.mp4", 7, 1.5, 1234)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    store = Store(tmp_path / "jobs.sqlite", clock=clock)
    yield store
    store.close()


def add(store, owner="ann", prompt="a ball"):
    return store.add(owner, Request(prompt=prompt), CHOICE)


def add_done(store, owner="ann", prompt="a ball", end=DONE):
    add(store, owner, prompt)
    job = store.start_next()
    store.end(job.id, end)
    return store.find(owner, job.id)


def test_a_job_comes_back_as_it_was_asked(store):
    job = store.add("ann", REQUEST, CHOICE)
    assert store.find("ann", job.id) == job
    assert (job.request, job.choice, job.owner) == (REQUEST, CHOICE, "ann")
    assert (job.state, job.created_at, job.deleted_at) == (Queued(0), 1_000.0, None)


@pytest.mark.parametrize("end", [DONE, Failed("It broke.", "Try again."), Cancelled()])
def test_a_job_waits_then_runs_then_ends(store, clock, end):
    job = add(store)
    clock.now = 1_010.0
    assert store.start_next() == replace(job, state=Running("start", 0, 1, 1_010.0))
    assert store.start_next() is None
    store.end(job.id, end)
    assert store.find("ann", job.id).state == end


def test_a_job_that_has_ended_does_not_end_again(store):
    job = add_done(store)
    store.end(job.id, Cancelled())
    assert not store.cancel_queued("ann", job.id)
    assert store.find("ann", job.id).state == DONE


def test_positions_follow_the_turns_of_the_visitors(store, clock):
    jobs = []
    for owner in ("ann", "ann", "bob"):
        clock.now += 1
        jobs.append(add(store, owner))
    first, second, bobs = jobs
    assert [store.find(job.owner, job.id).state.position for job in jobs] == [0, 2, 1]
    assert store.start_next().id == first.id
    assert store.find("ann", second.id).state == Queued(1)
    assert [store.start_next().id for _ in range(2)] == [bobs.id, second.id]


def test_who_was_just_served_stands_behind_who_came_meanwhile(store, clock):
    add(store, "ann", "first")
    store_order = [store.start_next().request.prompt]
    add(store, "ann", "second")
    clock.now += 1
    add(store, "bob", "bob's")
    clock.now += 1
    store.end(store.search("ann").jobs[1].id, DONE)
    store_order += [store.start_next().request.prompt for _ in range(2)]
    assert store_order == ["first", "bob's", "second"]


def test_another_visitors_job_is_not_found_by_any_method(store):
    job = add_done(store)
    strangers = [
        lambda: store.find("bob", job.id),
        lambda: store.set_favourite("bob", job.id, True),
        lambda: store.delete("bob", job.id),
        lambda: store.restore("bob", job.id),
        lambda: store.cancel_queued("bob", job.id),
        lambda: store.find("bob", "no such id"),
        lambda: store.open_link("no such id"),
    ]
    messages = set()
    for attempt in strangers:
        with pytest.raises(UnknownJobError) as caught:
            attempt()
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert store.search("bob").jobs == ()
    assert store.find("ann", job.id) == job


def test_a_stranger_cannot_cancel_what_waits(store):
    job = add(store)
    with pytest.raises(UnknownJobError):
        store.cancel_queued("bob", job.id)
    assert store.find("ann", job.id).state == Queued(0)
    assert store.cancel_queued("ann", job.id)
    assert store.find("ann", job.id).state == Cancelled()
    assert store.start_next() is None


def test_a_link_opens_a_job_until_it_is_deleted(store):
    job = add_done(store)
    assert store.open_link(job.id) == job
    store.delete("ann", job.id)
    with pytest.raises(UnknownJobError):
        store.open_link(job.id)


def prompts(page):
    return [job.request.prompt for job in page.jobs]


def test_search_finds_all_words_in_any_order_and_case(store):
    for prompt in ("A red BALL bounces", "a blue ball", "Ein Äpfelchen fällt", "100 % puppet_x"):
        add(store, prompt=prompt)
    assert prompts(store.search("ann", "ball red")) == ["A red BALL bounces"]
    assert prompts(store.search("ann", "ÄPFEL")) == ["Ein Äpfelchen fällt"]
    assert prompts(store.search("ann", "a\N{COMBINING DIAERESIS}pfel")) == ["Ein Äpfelchen fällt"]
    assert prompts(store.search("ann", "%")) == ["100 % puppet_x"]
    assert prompts(store.search("ann", "t_x")) == ["100 % puppet_x"]
    assert prompts(store.search("ann", "' OR 1=1 --")) == []
    assert len(store.search("ann", "  ").jobs) == 4


def test_pages_go_from_new_to_old_and_a_new_job_does_not_shift_them(store):
    for number in range(7):
        add(store, prompt=f"{number}")
    first = store.search("ann", limit=3)
    add(store, prompt="new")
    second = store.search("ann", limit=3, older_than=first.older)
    third = store.search("ann", limit=3, older_than=second.older)
    assert prompts(first) + prompts(second) + prompts(third) == list("6543210")
    assert third.older is None
    assert store.search("ann", limit=8).older is None


def test_favourites_are_a_choice_that_can_be_taken_back(store):
    jobs = [add(store, prompt=prompt) for prompt in ("one", "two")]
    assert store.set_favourite("ann", jobs[0].id, True).is_favourite
    assert prompts(store.search("ann", favourites=True)) == ["one"]
    store.set_favourite("ann", jobs[0].id, False)
    assert prompts(store.search("ann", favourites=True)) == []


def test_what_is_deleted_can_be_restored_until_it_is_purged(store, clock):
    job = add_done(store)
    kept = add_done(store, prompt="kept", end=replace(DONE, file="kept.mp4"))
    assert store.delete("ann", job.id).deleted_at == clock.now
    assert prompts(store.search("ann")) == ["kept"]
    assert prompts(store.search("ann", deleted=True)) == ["a ball"]
    assert store.restore("ann", job.id).deleted_at is None
    assert len(store.search("ann").jobs) == 2
    store.delete("ann", job.id)
    clock.now += 59
    assert store.purge(deleted_for=60) == ()
    clock.now += 1
    assert store.purge(deleted_for=60) == ("x.mp4",)
    with pytest.raises(UnknownJobError):
        store.restore("ann", job.id)
    assert store.find("ann", kept.id) == kept


def test_what_runs_is_not_purged(store):
    job = add(store)
    store.start_next()
    store.delete("ann", job.id)
    store.purge(deleted_for=0)
    assert isinstance(store.find("ann", job.id).state, Running)


def test_after_a_restart_what_ran_has_failed_with_its_recipe_and_what_waits_still_waits(
    tmp_path,
):
    path = tmp_path / "jobs.sqlite"
    store = Store(path)
    running = store.add("ann", REQUEST, CHOICE)
    store.start_next()
    queued = add(store, prompt="next")
    store.close()
    store = Store(path)
    assert store.end_interrupted() == (running.id,)
    after = store.find("ann", running.id)
    assert after.state == Failed(
        "The server stopped while it was made.", next_step="Generate it again."
    )
    assert (after.request, after.choice) == (REQUEST, CHOICE)
    assert store.start_next().id == queued.id
    store.close()


def a_run(number=0, **values):
    values = {"load_s": None, "device": "cpu", **values}
    return Run("puppet", work=Work(3, 2, 100), encode_s=1.0, denoise_s=number, decode_s=1, **values)


def test_runs_come_back_by_model_and_device_the_last_ones_with_the_last_loads(store):
    store.add_run(a_run(0, load_s=9.0))
    store.add_run(a_run(0, device="cuda"))
    for number in range(1, REMEMBERED_RUNS + 11):
        store.add_run(a_run(number))
    found = store.runs("puppet", "cpu")
    assert found[0] == a_run(0, load_s=9.0)
    assert found[1:] == tuple(a_run(n) for n in range(11, REMEMBERED_RUNS + 11))
    assert store.runs("puppet", "cuda") == (a_run(0, device="cuda"),)
    assert store.runs("another", "cpu") == ()


def test_many_threads_use_one_store(store):
    def work(number):
        owner = f"visitor {number % 3}"
        job = add(store, owner)
        store.set_favourite(owner, job.id, True)
        store.search(owner, "ball")
        return store.start_next().id

    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(work, range(80)))
    assert len(set(started)) == 80


def refused(path):
    with pytest.raises(ResourceError) as caught:
        Store(path)
    assert caught.value.next_step
    return caught.value.message


def test_a_store_in_use_is_refused_until_it_is_closed(tmp_path):
    store = Store(tmp_path / "jobs.sqlite")
    assert "in use" in refused(store.path)
    store.close()
    Store(store.path).close()


def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "jobs.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    assert "version 3" in refused(path)


def test_another_programs_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "jobs.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    assert "another program" in refused(path)
    with sqlite3.connect(path) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
    connection.close()
    assert names == ["bookmarks"]


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "jobs.sqlite"
    path.write_bytes(b"not a database " * 1000)
    assert "damaged" in refused(path)


def test_a_file_damaged_in_the_middle_is_said_with_a_next_step(tmp_path):
    path = tmp_path / "jobs.sqlite"
    store = Store(path)
    for _ in range(200):
        add(store)
    store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    store = Store(path)
    with pytest.raises(ResourceError, match="damaged") as caught:
        store.search("ann")
    assert caught.value.next_step
    store.close()


def test_a_job_of_a_later_program_is_said_with_a_next_step(store):
    job = add(store)
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE jobs SET request = '{\"schema_version\": 2}'")
    connection.close()
    with pytest.raises(ResourceError, match="cannot read"):
        store.find("ann", job.id)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    assert "cannot be opened" in refused(tmp_path / "file" / "jobs.sqlite")


def test_a_library_that_is_a_folder_is_refused(tmp_path):
    (tmp_path / "jobs.sqlite").mkdir()
    assert "cannot be opened" in refused(tmp_path / "jobs.sqlite")


def test_a_full_disk_is_said_with_a_next_step_and_loses_nothing(store):
    job = add(store)
    with store._write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # as many as there are
    with pytest.raises(ResourceError, match="disk is full") as caught:
        add(store, prompt="a long story " * 600)
    assert caught.value.next_step
    assert store.find("ann", job.id) == job
