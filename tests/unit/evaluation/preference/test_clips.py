"""Every clip that cannot be shown is named before a study opens."""

import json

import numpy as np
import pytest

from evaluation.preference.clips import examine, gather
from evaluation.preference.study import Study, StudyPrompt
from ltx2.errors import RequestError
from ltx2.media.encode import write_clip
from tests.builders import a_clip, smooth_frames, tones


def a_good_clip(path, **changes):
    path.parent.mkdir(exist_ok=True)
    frames = changes.pop("frames", smooth_frames(26))
    waveform = changes.pop("waveform", tones(len(frames) * 1000, 24_000))
    return write_clip(a_clip(frames, 24.0, 24_000, waveform), path)


def a_study(folder, models=("ann", "bob"), **changes):
    models = [{"name": name, "folder": folder / name} for name in models]
    return Study(name="s", models=models, **changes)


def test_clips_are_found_by_prompt_and_described(tmp_path):
    for model in ("ann", "bob"):
        a_good_clip(tmp_path / model / "p1.mp4")
    gathered = gather(a_study(tmp_path))
    gathered.require_complete()
    assert gathered.prompts == (StudyPrompt(id="p1"),)
    source = gathered.sources["bob", "p1"]
    assert (source.width, source.height, source.frame_rate) == (96, 64, 24.0)
    assert source.sample_rate == 24_000
    assert source.duration_s == pytest.approx(26 / 24)
    assert -15 < source.lufs < -3
    assert len(source.sha256) == 64


def test_every_problem_is_named_at_once(tmp_path):
    for prompt in ("good", "gone", "broken", "silent", "mute", "short"):
        a_good_clip(tmp_path / "ann" / f"{prompt}.mp4")
    (tmp_path / "bob").mkdir()
    a_good_clip(tmp_path / "bob" / "good.mp4")
    (tmp_path / "bob" / "broken.mp4").write_bytes(b"no video")
    a_good_clip(tmp_path / "bob" / "silent.mp4", waveform=np.zeros((2, 26_000), np.float32))
    a_good_clip(tmp_path / "bob" / "mute.mp4", waveform=np.zeros((2, 0), np.float32))
    a_good_clip(tmp_path / "bob" / "short.mp4", frames=smooth_frames(9))
    gathered = gather(a_study(tmp_path))
    reasons = {(p.model, p.prompt): p.reason for p in gathered.problems}
    assert set(reasons) == {("bob", p) for p in ("gone", "broken", "silent", "mute", "short")}
    assert "missing" in reasons["bob", "gone"]
    assert "unreadable" in reasons["bob", "broken"]
    assert "silent" in reasons["bob", "silent"]
    assert "no sound track" in reasons["bob", "mute"]
    assert "less than 1 s" in reasons["bob", "short"]
    with pytest.raises(RequestError) as caught:
        gathered.require_complete()
    for prompt in ("gone", "broken", "silent", "mute", "short"):
        assert f"bob, prompt {prompt}:" in caught.value.message


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_manifest_gives_text_language_and_suite(tmp_path, form):
    for model in ("ann", "bob"):
        a_good_clip(tmp_path / model / "p1.mp4")
    if form == "json":
        row = {"prompt_id": "p1", "prompt": 'Says "hallo".', "language": "de", "suite": "talk"}
        (tmp_path / "bob" / "manifest.json").write_text(json.dumps([row]))
    else:
        text = 'id,text,language,suite\np1,"Says ""hallo"".",de,talk\n'
        (tmp_path / "bob" / "manifest.csv").write_text(text)
    (prompt,) = gather(a_study(tmp_path)).prompts
    assert prompt == StudyPrompt(id="p1", text='Says "hallo".', language="de", suite="talk")


@pytest.mark.parametrize("text", ["{}", "[1]", "not json", '[{"id": "../x"}]', '[{"x": 1}]'])
def test_a_manifest_that_makes_no_sense_is_refused(tmp_path, text):
    a_good_clip(tmp_path / "ann" / "p1.mp4")
    (tmp_path / "ann" / "manifest.json").write_text(text)
    with pytest.raises(RequestError, match=r"manifest of ann \(manifest.json\)"):
        gather(a_study(tmp_path))


def test_a_clip_that_a_manifest_promises_is_missed(tmp_path):
    for model in ("ann", "bob"):
        a_good_clip(tmp_path / model / "p1.mp4")
    (tmp_path / "ann" / "manifest.json").write_text('[{"id": "p1"}, {"id": "p2"}]')
    problems = gather(a_study(tmp_path)).problems
    assert [(p.model, p.prompt) for p in problems] == [("ann", "p2"), ("bob", "p2")]


def test_clips_can_be_listed_one_by_one(tmp_path):
    path = a_good_clip(tmp_path / "x" / "any name.mp4")
    models = [{"name": name, "clips": {"p1": path}} for name in ("ann", "bob")]
    gather(Study(name="s", models=models)).require_complete()


def test_a_black_start_is_measured(tmp_path):
    frames = smooth_frames(48)
    frames[:12] = 0
    for model in ("ann", "bob"):
        a_good_clip(tmp_path / model / "p1.mp4", frames=frames)
    assert gather(a_study(tmp_path)).sources["ann", "p1"].leading_black_s == 0.5


def test_a_study_without_any_clip_is_refused(tmp_path):
    with pytest.raises(RequestError, match="has no clips"):
        gather(a_study(tmp_path)).require_complete()


def test_a_blurred_clip_is_less_sharp_whatever_its_size(tmp_path):
    rng = np.random.default_rng(0)
    fine = np.repeat(np.repeat(rng.integers(0, 256, (26, 36, 48, 3)), 2, axis=1), 2, axis=2)
    blurred = sum(np.roll(fine, (i, j), (1, 2)) for i in range(5) for j in range(5)) // 25
    paths = {"fine": fine, "blurred": blurred}
    found = {}
    for model, frames in paths.items():
        path = a_good_clip(tmp_path / model / "p1.mp4", frames=frames.astype(np.uint8))
        found[model] = examine(model, "p1", path).sharpness
    assert found["fine"] > 2 * found["blurred"] > 0
