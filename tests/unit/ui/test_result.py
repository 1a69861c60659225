import ast
import base64
import errno
import os
import re
from dataclasses import replace

import pytest

from ltx2.errors import ResourceError
from ltx2.request import AppliedLora, Recipe, Request
from ltx2.serving.jobs import INTERRUPTED, USUAL, Cancelled, Done, Failed, Job, Queued, Running
from ltx2.serving.preflight import CannotTell, Change, Fits, Preflight, TooLarge
from ltx2.serving.previews import Sketch, sketch
from ltx2.serving.timing import Forecast
from ltx2.ui.result import (
    STAGES,
    lend,
    render_failure,
    render_idle,
    render_preflight,
    render_recipe,
    render_sketch,
    render_status,
    render_summary,
)
from tests.conftest import ROOT
from tests.unit.serving.stand_ins import a_preview
from tests.unit.ui.stand_ins import VISITOR, a_recipe

DONE = Done("clip.mp4", seed=7, seconds=3.44, size=1_000)


def a_job(state):
    return Job("id", VISITOR, Request(prompt="a ball"), USUAL, 0.0, state)


def text_of(html):
    return re.sub(r"<[^>]*>", "", html)


def running(stage, step, total, seconds_left=None):
    return Running(stage, step, total, 0.0, seconds_left)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (Queued(0), "Waiting: yours is next."),
        (Queued(1), "Waiting: 1 clip before yours."),
        (Queued(5), "Waiting: 5 clips before yours."),
        (running("start", 0, 1), "Starting."),
        (running("load", 0, 1), "Loading the model."),
        (running("encode prompt", 0, 1), "Reading the prompt."),
        (running("denoise", 3, 10), "Making picture and sound: step 3 of 10."),
        (
            running("denoise", 3, 10, seconds_left=8.2),
            "Making picture and sound: step 3 of 10, about 8 s left.",
        ),
        (running("decode video", 0, 1), "Rendering the frames."),
        (running("decode audio", 0, 1), "Rendering the sound."),
        (running("save", 0, 1, seconds_left=0.2), "Writing the file, about 1 s left."),
        (running("upscale", 1, 2), "Upscale: step 1 of 2."),
        (running("stop", 3, 10, seconds_left=8.2), "Stopping after this step."),
        (DONE, "Made in 3.4 s."),
        (Done("clip.mp4", 7, 185.0, 1), "Made in 3 min."),
        (INTERRUPTED, "The server stopped while it was made. Generate it again."),
        (Cancelled(), "Stopped."),
    ],
)
def test_every_state_is_one_sentence(state, text):
    assert text_of(render_status(a_job(state))) == text


def test_a_failure_interrupts_a_screen_reader_and_the_rest_waits():
    assert 'role="alert"' in render_status(a_job(Failed("It broke.", "Try again.")))
    assert 'role="status"' in render_status(a_job(DONE))
    assert 'role="status"' in render_idle()


@pytest.mark.parametrize(
    "html",
    [
        render_status(a_job(Failed("<script>a</script>", "<b>b</b>"))),
        render_status(a_job(running("<img src=x>", 1, 2))),
        render_failure("<script>a</script>"),
    ],
)
def test_text_is_escaped(html):
    assert not re.search("<(script|b|img)", html)
    assert "&lt;" in html


def test_the_bar_moves_forward_through_all_stages_to_the_end():
    shares = []
    for stage in STAGES:
        for step in range(5):
            html = render_status(a_job(running(stage, step, 4)))
            shares += [float(share) for share in re.findall(r'value="([\d.]+)"', html)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert len(shares) == 5 * (len(STAGES) - 1), "no bar while it stops"
    assert "<progress" not in render_status(a_job(DONE))


def test_a_preview_is_its_pictures_and_its_sound():
    preview = sketch(a_preview(step=2, total=3))
    html = render_sketch(preview)
    picture = re.search(r'src="data:image/jpeg;base64,([^"]+)"', html)
    sound = re.search(r'src="data:audio/wav;base64,([^"]+)"', html)
    assert base64.b64decode(picture[1]) == preview.pictures
    assert base64.b64decode(sound[1]) == preview.sound
    assert 'alt="Preview after step 2 of 3"' in html
    assert f"--pictures:{preview.num_pictures};--shape:0.667" in html, "of one 64 x 96 picture"


def test_a_preview_without_sound_has_no_player():
    one = sketch(a_preview(num_frames=1))
    silent = Sketch(1, 3, one.pictures, one.num_pictures, sound=None)
    assert "<audio" not in render_sketch(silent)


def test_before_generating_it_is_said_whether_a_clip_fits():
    forecast = Forecast(0.0, 0.1, 7.0, 0.9, low_s=7.0, high_s=9.0)
    fits = render_preflight(Preflight(Fits(1, 2), forecast))
    assert text_of(fits) == "Fits, about 8 s."
    too_large = TooLarge(3 * 10**9, 10**9, Change(None, None, "Shorten it to 1.0 s."))
    refused = render_preflight(Preflight(too_large, forecast))
    assert 'class="status failed"' in refused
    assert text_of(refused).endswith("Shorten it to 1.0 s.")
    assert render_preflight(Preflight(CannotTell("unknown"), None)) == ""


def test_the_recipe_shown_can_be_read_back():
    recipe = a_recipe()
    assert Recipe.model_validate_json(render_recipe(recipe)) == recipe


def test_the_summary_names_what_people_compare():
    lora = AppliedLora(file="paper.safetensors", strength=0.5, digest="d")
    assert render_summary(a_recipe(num_frames=49, loras=(lora,))) == (
        "96 × 96 px · 1.96 s · 25 frames/s · 10 steps · seed 3 · stand-in · paper 0.5"
    )


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clips" / "clip.mp4"
    path.parent.mkdir()
    path.write_bytes(b"a clip")
    return path


def fails_with(code):
    def call(*_):
        raise OSError(code, os.strerror(code))

    return call


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_clip_is_lent_without_a_second_copy_of_it(clip, tmp_path):
    cache = tmp_path / "cache"
    lent = lend(clip, a_job(DONE), cache)
    assert lent == cache / "id" / "ltx2-7.mp4"
    assert lent.samefile(clip)
    assert lend(clip, a_job(DONE), cache) == lent
    assert files_in(cache) == [lent]


def test_a_clip_on_another_disk_is_copied(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", fails_with(errno.EXDEV))
    lent = lend(clip, a_job(DONE), tmp_path / "cache")
    assert lent.read_bytes() == b"a clip"
    assert not lent.samefile(clip)
    assert files_in(tmp_path / "cache") == [lent]


def test_two_pages_may_ask_for_a_clip_at_once(clip, tmp_path, monkeypatch):
    link, job = os.link, a_job(DONE)

    def link_after_the_other(source, target):
        link(source, tmp_path / "cache" / job.id / "ltx2-7.mp4")
        link(source, target)

    monkeypatch.setattr(os, "link", link_after_the_other)
    lent = lend(clip, job, tmp_path / "cache")
    assert lent.samefile(clip)


def test_a_full_disk_is_said_with_a_next_step(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", fails_with(errno.EXDEV))
    monkeypatch.setattr("shutil.copyfile", fails_with(errno.ENOSPC))
    with pytest.raises(ResourceError, match=r"No space left on device.*Make room"):
        lend(clip, a_job(DONE), tmp_path / "cache")


def test_every_stage_of_the_pipeline_has_words():
    tree = ast.parse((ROOT / "ltx2" / "pipeline.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    staged = [call for call in calls if getattr(call.func, "attr", "") == "stage"]
    said = {call.args[0].value for call in staged if isinstance(call.args[0], ast.Constant)}
    assert said >= {"encode prompt", "read files", "decode video", "decode audio"}
    named = {"denoise", "refine", "enlarge space", "enlarge time"}  # put together there
    assert said | named <= set(STAGES)


def test_of_several_clips_is_said_which_one_is_made_and_the_bar_counts_them_all():
    state = replace(running("denoise", 4, 4), clip=2, clips=4, seconds_left=None)
    html = render_status(a_job(state))
    assert "Clip 2 of 4: Making picture and sound" in html
    assert 0.25 < float(re.findall(r'value="([\d.]+)"', html)[0]) < 0.5
