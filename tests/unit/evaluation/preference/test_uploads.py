"""Clips handed in through the page become folders, all of them or none."""

import numpy as np
import pytest

from evaluation.preference import uploads as module
from evaluation.preference.clips import gather
from evaluation.preference.study import Study
from evaluation.preference.uploads import Upload, keep_uploads
from ltx2.errors import RequestError, ResourceError
from ltx2.media.decode import read_clip
from ltx2.media.encode import write_clip
from tests.builders import a_clip, smooth_frames, tones

EVIL = "<b>../../etc'; DROP TABLE studies;--"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("sent") / "0a1b2c"
    with_ending = path.with_suffix(".mp4")
    write_clip(a_clip(smooth_frames(26), 24.0, 24_000, tones(26_000, 24_000)), with_ending)
    return with_ending.rename(path)


def test_clips_of_two_models_make_a_study_whatever_the_models_are_called(clip, tmp_path):
    manifest = tmp_path / "m"
    manifest.write_text("id,prompt,language\np1,Ein Hund bellt.,de\n")
    sent = [Upload(model, "folder/p1.mp4", clip) for model in (EVIL, "bob")]
    models = keep_uploads([*sent, Upload("bob", "manifest.csv", manifest)], tmp_path / "kept")
    assert [model.name for model in models] == [EVIL, "bob"]
    kept = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert sorted(path.name for path in kept) == ["manifest.csv", "p1.mp4", "p1.mp4"]
    assert clip.exists()
    found = gather(Study(name="s", models=models))
    found.require_complete()
    assert [(p.id, p.text, p.language) for p in found.prompts] == [("p1", "Ein Hund bellt.", "de")]


@pytest.mark.slow
def test_every_bad_file_is_named_and_nothing_is_kept(clip, tmp_path):
    silent, noise = tmp_path / "silent.mp4", tmp_path / "noise"
    write_clip(a_clip(smooth_frames(26), 24.0, 24_000, np.zeros((2, 26_000))), silent)
    noise.write_bytes(b"no clip" * 99)
    sent = [
        Upload("ann", "good.mp4", clip),
        Upload("bob", "good.mp4", clip),
        Upload("bob", "C:\\clips\\good.mov", clip),
        Upload("ann", "silent.mp4", silent),
        Upload("bob", "silent.mp4", noise),
        Upload("ann", "only.mp4", clip),
        Upload("ann", "notes.txt", noise),
        Upload("ann", f"{'x' * 130}.mp4", clip),
    ]
    with pytest.raises(RequestError) as refused:
        keep_uploads(sent, tmp_path / "kept")
    for part in (
        "bob, prompt good: there are two clips of this name",
        "ann, prompt silent: its sound is silent",
        "bob, prompt silent: unreadable",
        "bob, prompt only: the clip is missing",
        "ann, prompt notes: it is none of .mp4",
        "its name is too long",
    ):
        assert part in refused.value.message
    assert not (tmp_path / "kept").exists()


def test_one_model_alone_and_too_many_files_are_refused(clip, tmp_path, monkeypatch):
    with pytest.raises(RequestError, match="fewer than two models"):
        keep_uploads([Upload("ann", "p1.mp4", clip)], tmp_path)
    monkeypatch.setattr(module, "MAX_FILES", 1)
    with pytest.raises(RequestError, match="more than"):
        keep_uploads([Upload(model, "p1.mp4", clip) for model in ("ann", "bob")], tmp_path)


def test_what_cannot_be_written_leaves_nothing_behind(clip, tmp_path, monkeypatch):
    def full(source, target):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "read_clip_guarded", read_clip)
    monkeypatch.setattr(module.shutil, "copyfile", full)
    with pytest.raises(ResourceError, match="No space left"):
        keep_uploads([Upload(m, "p1.mp4", clip) for m in ("ann", "bob")], tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())
