import secrets

import pytest

from evaluation.suites.object_store import StoredRun, fetch_run, open_run
from evaluation.suites.records import RunFolder
from evaluation.suites.runner import Counts, plan_run, run_suite
from ltx2.errors import GenerationError, RequestError, ResourceError
from tests.unit.evaluation.suites.makers import Maker, suite_of


@pytest.fixture
def address():
    return f"memory://bucket-{secrets.token_hex(4)}/run"


def test_a_run_in_a_store_has_the_clips_and_records_that_a_folder_would_have(address, tmp_path):
    assert run_suite(suite_of(), Maker(), open_run(address)) == Counts(made=3)
    folder = RunFolder(tmp_path / "run")
    run_suite(suite_of(), Maker(), folder)
    fetched = RunFolder(tmp_path / "fetched")
    assert fetch_run(open_run(address), fetched) == 3
    assert fetched.read_run().keys == folder.read_run().keys
    for key in folder.read_run().keys:
        assert fetched.clip(key).read_bytes() == folder.clip(key).read_bytes()
        timing = {"started", "seconds"}
        assert fetched.read_item(key).model_dump(exclude=timing) == folder.read_item(
            key
        ).model_dump(exclude=timing)


def test_what_is_in_a_store_is_never_made_again_and_what_failed_is(address):
    fails = {"item-1": GenerationError("All noise.", next_step="Try another seed.")}
    assert run_suite(suite_of(), Maker(fails=fails), open_run(address)) == Counts(2, failed=1)
    key = open_run(address).read_run().keys[1]
    assert open_run(address).read_item(key).reason == "All noise. Try another seed."
    maker = Maker()
    assert len(plan_run(suite_of(), maker, open_run(address)).missing) == 1
    assert run_suite(suite_of(), maker, open_run(address)) == Counts(made=1, kept=2)
    assert maker.made == [("item-1", 1)]
    assert open_run(address).read_item(key).status == "ok"


def test_what_was_fetched_is_not_fetched_again(address, tmp_path):
    run_suite(suite_of(2), Maker(), open_run(address))
    folder = RunFolder(tmp_path / "run")
    assert [fetch_run(open_run(address), folder) for _ in range(2)] == [2, 0]
    run_suite(suite_of(3), Maker(), open_run(address))
    assert fetch_run(open_run(address), folder) == 1
    assert run_suite(suite_of(3), Maker(), folder) == Counts(kept=3)


def test_a_store_that_refuses_a_clip_fails_its_item_alone(address, monkeypatch):
    run = open_run(address)
    write = run._write

    def refuse(name, contents):
        if name.endswith(".mp4") and not run._clips:
            run._clips.add("one")
            raise OSError("the bucket is full")
        write(name, contents)

    monkeypatch.setattr(run, "_write", refuse)
    assert run_suite(suite_of(), Maker(), run) == Counts(made=2, failed=1)
    assert run.read_item(run.read_run().keys[0]).reason == "the bucket is full"


def test_an_address_that_is_none_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(RequestError, match=r"nosuch://a/b cannot be used: .*nosuch"):
        open_run("nosuch://a/b")
    assert isinstance(open_run(str(tmp_path)), RunFolder)
    assert open_run(f"file://{tmp_path}").path == tmp_path
    with pytest.raises(RequestError, match="holds no run"):
        fetch_run(open_run("memory://empty/run"), RunFolder(tmp_path / "run"))


def test_a_store_that_cannot_be_asked_is_named_before_anything_is_made(address, monkeypatch):
    run = StoredRun(address)

    class Denied:
        def ls(self, *_, **__):
            raise RuntimeError("AccessDenied")

    monkeypatch.setattr(run, "_files", Denied())
    maker = Maker()
    with pytest.raises(ResourceError, match="cannot be read: RuntimeError: AccessDenied"):
        run_suite(suite_of(), maker, run)
    assert maker.made == []
