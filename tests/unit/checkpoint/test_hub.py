"""Downloads from a Hub on this machine, with what goes wrong on the way."""

import random
import shutil

import pytest

from ltx2.checkpoint import hub as downloads
from ltx2.checkpoint.catalog import Source
from ltx2.checkpoint.hub import fetch, list_files, num_bytes_here
from ltx2.errors import CheckpointError, GenerationCancelled, ResourceError
from tests.fakes.hub import COMMIT, fake_hub

BIG = random.Random(7).randbytes(5_500_000)
SMALL = b'{"a": 1}'
SOURCE = Source("maker/model", ("*.safetensors", "*.json"), "checkpoints", "A licence", len(BIG))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE_S", 0.01)


@pytest.fixture
def hub(monkeypatch):
    files = {"big.safetensors": BIG, "parts/config.json": SMALL, "picture.png": b"p"}
    with fake_hub(monkeypatch, maker__model=files) as hub:
        yield hub


class Watch:
    """Notes how far a download is, and stops it when so much is there."""

    def __init__(self, stop_at=None):
        self.seen, self.stop_at = [], stop_at

    def __call__(self, transfer):
        self.seen.append(transfer)

    def should_cancel(self):
        return self.stop_at is not None and self.seen and self.seen[-1].done >= self.stop_at


def fetched(folder, watch=None):
    watch = watch or Watch()
    return fetch(
        list_files(SOURCE), folder, on_transfer=watch, should_cancel=lambda: watch.should_cancel()
    )


def test_only_the_files_that_the_source_names_are_listed_with_size_and_checksum(hub):
    big, small = list_files(SOURCE)
    assert (big.name, big.size, big.revision) == ("big.safetensors", len(BIG), COMMIT)
    assert big.digest.startswith("sha256:")
    assert small.digest.startswith("git:")


def test_files_arrive_whole_and_every_byte_is_counted(hub, tmp_path):
    watch = Watch()
    big, small = fetched(tmp_path, watch)
    assert big.read_bytes() == BIG
    assert small.read_bytes() == SMALL
    assert small == tmp_path / "parts" / "config.json"
    assert watch.seen[-1].done == watch.seen[-1].total == len(BIG) + len(SMALL)
    dones = [transfer.done for transfer in watch.seen]
    assert dones == sorted(dones)
    assert not list(tmp_path.rglob(".*"))


def test_what_is_here_is_not_fetched_again(hub, tmp_path):
    fetched(tmp_path)
    hub.ranges.clear()
    watch = Watch()
    fetched(tmp_path, watch)
    assert hub.ranges == []
    assert watch.seen[-1].done == watch.seen[-1].total


def test_a_transfer_that_is_cut_off_goes_on_where_it_was(hub, tmp_path):
    hub.cut_after = [3_000_000]
    assert fetched(tmp_path)[0].read_bytes() == BIG
    first, second, *_ = hub.ranges
    assert first is None
    assert 2_000_000 <= int(second.removeprefix("bytes=").rstrip("-")) <= 3_000_000


def test_a_download_that_was_stopped_goes_on_in_another_process(hub, tmp_path):
    with pytest.raises(GenerationCancelled):
        fetched(tmp_path, Watch(stop_at=2_000_000))
    assert not (tmp_path / "big.safetensors").exists()
    came = num_bytes_here(list_files(SOURCE), tmp_path)
    assert 2_000_000 <= came < len(BIG)
    hub.ranges.clear()
    watch = Watch()
    assert fetched(tmp_path, watch)[0].read_bytes() == BIG
    assert hub.ranges[0] == f"bytes={came}-"
    assert watch.seen[0].is_checking


def test_a_transfer_that_brings_nothing_ends_with_advice(hub, tmp_path):
    hub.cut_after = [0] * 20
    with pytest.raises(ResourceError, match="cut off 5 times") as caught:
        fetched(tmp_path)
    assert "goes on where it was" in caught.value.next_step


def test_a_damaged_file_is_refused_and_not_kept(hub, tmp_path):
    hub.spoiled = True
    with pytest.raises(CheckpointError, match="checksum"):
        fetched(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    hub.spoiled = False
    assert fetched(tmp_path)[0].read_bytes() == BIG


def test_a_full_disk_is_noticed_before_the_first_byte(hub, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=downloads.SPARE_BYTES + 5_000_000)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ResourceError, match=r"There is no room: 0\.0 GB are to come"):
        fetched(tmp_path)
    assert hub.ranges == []


def test_terms_that_were_not_accepted_are_told_before_anything_is_written(hub, tmp_path):
    hub.gated.add("maker/model")
    with pytest.raises(CheckpointError, match="terms of maker/model have to be accepted") as caught:
        fetched(tmp_path / "new")
    assert "https://huggingface.co/maker/model" in caught.value.next_step
    assert "HF_TOKEN" in caught.value.next_step
    assert not (tmp_path / "new").exists()


def test_a_token_whose_owner_accepted_the_terms_opens_the_gate(hub, tmp_path, monkeypatch):
    hub.gated.add("maker/model")
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert fetched(tmp_path)[0].read_bytes() == BIG


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"files": {}}, CheckpointError, "no repository"),
        ({"status": 500}, ResourceError, "does not answer"),
        ({"status": 401}, CheckpointError, "no repository|refuses"),
    ],
)
def test_a_hub_that_refuses_is_explained(hub, tmp_path, change, kind, words):
    for name, value in change.items():
        setattr(hub, name, value)
    with pytest.raises(kind, match=words):
        fetched(tmp_path)


def test_a_hub_that_is_not_there_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ResourceError, match="The Hub does not answer"):
        fetched(tmp_path)


@pytest.mark.parametrize("name", ["../out.json", "/out.json", "a/../../out.json"])
def test_a_name_that_leaves_the_folder_is_refused(hub, tmp_path, name):
    hub.files["maker/model"] = {name: SMALL}
    with pytest.raises(CheckpointError, match="a file with the name"):
        fetched(tmp_path)


def test_a_file_that_is_no_longer_there_is_told(hub):
    hub.files["maker/model"] = {"other.bin": SMALL}
    with pytest.raises(CheckpointError, match="holds no file"):
        list_files(SOURCE)


def test_the_rate_of_the_last_seconds_tells_the_time_left():
    transfer = downloads.Transfer(done=100, total=300, rate=50.0)
    assert transfer.seconds_left == 4.0
    assert downloads.Transfer(0, 300).seconds_left is None
