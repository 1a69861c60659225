"""Downloads in the background, from a Hub on this machine."""

import random
import threading

import pytest

from ltx2.checkpoint.catalog import Source
from ltx2.errors import RequestError
from ltx2.serving.downloads import Absent, Arrived, Coming, Downloads, Halted, Waiting
from tests.fakes.hub import fake_hub

WAIT_S = 30.0
CONTENT = random.Random(3).randbytes(3_300_000)


def a_source(name):
    return Source("maker/model", (f"{name}.safetensors",), "checkpoints", "A licence", 5)


@pytest.fixture
def hub(monkeypatch):
    files = {"one.safetensors": CONTENT, "two.safetensors": CONTENT}
    with fake_hub(monkeypatch, maker__model=files) as hub:
        yield hub


@pytest.fixture
def downloads(tmp_path, hub):
    downloads = Downloads(tmp_path, sources={name: a_source(name) for name in ("one", "two")})
    yield downloads
    downloads.close()
    if hub.gate is not None:
        hub.gate.release(100)


def until_coming(downloads, name):
    """The state of a download of which some bytes have come."""
    for _ in range(600):
        state = downloads.state(name)
        if isinstance(state, Coming) and state.transfer.done > 0:
            return state
        threading.Event().wait(0.05)
    raise AssertionError(downloads.state(name))


def test_a_download_ends_with_the_file_in_its_folder(downloads, tmp_path):
    assert downloads.state("one") == Absent()
    downloads.start("one")
    target = tmp_path / "checkpoints" / "one.safetensors"
    assert downloads.wait("one", WAIT_S) == Arrived((target,))
    assert target.read_bytes() == CONTENT


def test_bytes_are_counted_while_they_come_and_another_one_waits(downloads, hub):
    hub.gate = threading.Semaphore(2)
    downloads.start("one")
    until_coming(downloads, "one")
    downloads.start("two")
    assert isinstance(downloads.state("two"), Waiting)
    assert downloads.is_busy
    coming = until_coming(downloads, "one")
    assert coming.transfer.done < coming.transfer.total == len(CONTENT)
    hub.gate.release(100)
    assert isinstance(downloads.wait("one", WAIT_S), Arrived)
    assert isinstance(downloads.wait("two", WAIT_S), Arrived)
    assert not downloads.is_busy


def test_a_stopped_download_goes_on_where_it_was(downloads, hub):
    hub.gate = threading.Semaphore(2)
    downloads.start("one")
    until_coming(downloads, "one")
    downloads.cancel("one")
    hub.gate.release(100)
    assert downloads.wait("one", WAIT_S) == Halted()
    hub.ranges.clear()
    downloads.start("one")
    assert isinstance(downloads.wait("one", WAIT_S), Arrived)
    assert hub.ranges[0] is not None


def test_why_it_could_not_be_fetched_is_kept_for_who_looks_later(downloads, hub):
    hub.gated.add("maker/model")
    downloads.start("one")
    state = downloads.wait("one", WAIT_S)
    assert "terms" in state.message
    assert "huggingface.co/maker/model" in state.next_step


def test_pressing_twice_downloads_once(downloads, hub):
    for _ in range(3):
        downloads.start("one")
    downloads.wait("one", WAIT_S)
    assert len(hub.ranges) == 1


@pytest.mark.parametrize("name", ["", "other", "../one"])
def test_only_what_is_known_can_be_asked_for(downloads, name):
    for ask in (downloads.start, downloads.cancel):
        with pytest.raises(RequestError, match="cannot be downloaded"):
            ask(name)
