import os
import subprocess
import sys

import numpy as np
import pytest

from ltx2.errors import MediaError
from ltx2.media import guarded
from ltx2.media.decode import read_clip, read_recipe
from ltx2.media.encode import write_clip
from ltx2.media.guarded import Limits, read_clip_guarded, read_recipe_guarded
from tests.builders import a_clip, a_recipe, noise_frames
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def our_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("guarded") / "clip.mp4"
    return write_clip(a_clip(noise_frames(9), recipe=a_recipe()), path)


def test_a_recipe_crosses_the_border_unchanged(our_file):
    assert read_recipe_guarded(our_file) == read_recipe(our_file) == a_recipe()


def test_a_clip_crosses_the_border_unchanged(our_file):
    near, far = read_clip(our_file), read_clip_guarded(our_file)
    np.testing.assert_array_equal(far.frames, near.frames)
    np.testing.assert_array_equal(far.waveform, near.waveform)
    assert (far.frame_rate, far.sample_rate) == (near.frame_rate, near.sample_rate)
    assert far.recipe == near.recipe


def test_a_file_without_a_recipe_has_none(tmp_path):
    path = write_clip(a_clip(noise_frames(9)), tmp_path / "clip.mp4")
    assert read_recipe_guarded(path) is None


def test_reading_that_takes_too_long_is_stopped(our_file):
    with pytest.raises(MediaError, match=r"took more than 0\.01 s"):
        read_recipe_guarded(our_file, Limits(seconds=0.01))


def test_reading_that_takes_too_much_memory_is_refused(tmp_path):
    path = write_clip(a_clip(np.zeros((33, 1024, 1024, 3), np.uint8)), tmp_path / "large.mp4")
    with pytest.raises(MediaError, match=r"memory|damaged"):
        read_clip_guarded(path, Limits(memory_bytes=350 * 2**20))


@pytest.mark.parametrize(
    ("contents", "message"), [(b"", "is empty"), (b"nothing like a video", "damaged")]
)
def test_what_is_no_video_is_refused(tmp_path, contents, message):
    path = tmp_path / "clip.mp4"
    path.write_bytes(contents)
    with pytest.raises(MediaError, match=message):
        read_recipe_guarded(path)


def test_a_file_that_is_too_large_or_no_file_is_refused(tmp_path, our_file):
    with pytest.raises(MediaError, match="at most"):
        read_recipe_guarded(our_file, Limits(file_bytes=100))
    with pytest.raises(MediaError, match="not a file"):
        read_recipe_guarded(tmp_path)
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(MediaError, match="not a file"):
        read_recipe_guarded(tmp_path / "pipe.mp4")
    with pytest.raises(MediaError, match="cannot be opened"):
        read_recipe_guarded(tmp_path / "none.mp4")


def test_a_refusal_names_no_folder_of_the_machine(tmp_path):
    path = tmp_path / "locked.mp4"
    path.write_bytes(b"x")
    with pytest.raises(MediaError) as refused:
        read_recipe_guarded(path)
    assert str(tmp_path) not in str(refused.value)


def test_a_child_that_dies_is_a_damaged_file(our_file, monkeypatch):
    monkeypatch.setattr(guarded, "ROOT", our_file.parent)  # its package is not there
    monkeypatch.setattr(guarded, "PASSED_ON", ())
    monkeypatch.chdir(our_file.parent)
    with pytest.raises(MediaError, match="damaged"):
        read_recipe_guarded(our_file)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no json",
        b'{"recipe": {"request": 3}}',
        b'{"num_frames": 1e99}',
        b'{"frame_rate": -1}',
        b'{"unknown": 1}',
        b"[" * 100_000,
    ],
)
def test_what_the_child_says_is_not_believed_blindly(line):
    with pytest.raises(MediaError, match="damaged"):
        guarded._parse(line)


def test_the_child_loads_no_pytorch_and_gets_no_secret(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert "HF_TOKEN" not in guarded.PASSED_ON
    code = "import ltx2.media.guarded, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
