"""A disk that fills up while a clip is written: a clear error, and nothing left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ltx2.errors import MediaError
from ltx2.media.decode import read_clip
from ltx2.media.encode import write_clip
from tests.builders import a_clip, noise_frames

REPOSITORY = Path(__file__).parents[2]

WRITE_UNDER_A_LIMIT = """
import json, resource, signal, sys
from ltx2.errors import MediaError
from ltx2.media.encode import write_clip
from tests.builders import a_clip, noise_frames

path, limit = sys.argv[1], int(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    write_clip(a_clip(noise_frames(24)), path)
except MediaError as error:
    print(json.dumps([error.message, error.next_step]))
"""


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    path = write_clip(a_clip(noise_frames(24)), tmp_path_factory.mktemp("media") / "clip.mp4")
    return path.stat().st_size


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.9, 1.0])
def test_a_file_that_may_not_grow_is_an_error_and_is_removed(tmp_path, full_size, share):
    limit = int(share * (full_size - 1))
    older = tmp_path / "clip.mp4"
    older.write_bytes(b"older")
    run = subprocess.run(
        [sys.executable, "-c", WRITE_UNDER_A_LIMIT, str(older), str(limit)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    message, next_step = json.loads(run.stdout)
    assert "disk is full" in message
    assert "MB or choose another folder" in next_step
    assert older.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [older]


@pytest.fixture(params=[4, 32, 64])
def small_disk(tmp_path, request):
    """A memory disk of so many KiB; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let us mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_an_error_and_the_disk_is_left_empty(small_disk, full_size):
    assert full_size > 64 * 1024
    with pytest.raises(MediaError, match="disk is full") as caught:
        write_clip(a_clip(noise_frames(24)), small_disk / "clip.mp4")
    assert "MB or choose another folder" in caught.value.next_step
    assert list(small_disk.iterdir()) == []


def test_after_making_room_the_same_clip_is_written(small_disk, tmp_path):
    clip = a_clip(noise_frames(24))
    with pytest.raises(MediaError):
        write_clip(clip, small_disk / "clip.mp4")
    assert len(read_clip(write_clip(clip, tmp_path / "clip.mp4")).frames) == 24
