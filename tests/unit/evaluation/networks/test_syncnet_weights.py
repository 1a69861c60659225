"""SyncNet's weights by path or from the Hub, here a cache in the Hub's layout without a network."""

import hashlib

import pytest

from evaluation.networks.syncnet import find_weights
from ltx2.errors import CheckpointError, ResourceError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = b"not really weights"


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    repo = tmp_path / "models--someone--syncnet"
    blob = repo / "blobs" / hashlib.sha256(CONTENT).hexdigest()
    link = repo / "snapshots" / COMMIT / "lipsync" / "syncnet_v2.model"
    for folder in (blob.parent, link.parent, repo / "refs"):
        folder.mkdir(parents=True)
    blob.write_bytes(CONTENT)
    link.symlink_to(blob)
    (repo / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return blob


def test_a_path_is_taken_as_it_is(tmp_path):
    assert find_weights(str(tmp_path / "syncnet_v2.model")) == tmp_path / "syncnet_v2.model"


def test_a_file_of_the_hub_is_found_in_its_cache(hub_cache):
    found = find_weights("someone/syncnet/lipsync/syncnet_v2.model")
    assert found.read_bytes() == CONTENT


def test_a_damaged_file_is_refused(hub_cache):
    hub_cache.write_bytes(CONTENT[:-1])
    with pytest.raises(CheckpointError, match="checksum"):
        find_weights("someone/syncnet/lipsync/syncnet_v2.model")


def test_what_is_not_there_says_what_to_do(hub_cache):
    with pytest.raises(ResourceError, match="give the path"):
        find_weights("nobody/syncnet/syncnet_v2.model")
