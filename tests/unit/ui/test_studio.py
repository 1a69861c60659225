import pytest

from ltx2.errors import CheckpointError, GenerationCancelled, RequestError
from ltx2.media.decode import read_clip, read_recipe
from ltx2.progress import Progress, ignore_progress
from ltx2.request import Request
from ltx2.ui.studio import Studio
from tests.fakes.model import PROFILE, FakeModel

REQUEST = Request(prompt="a ball", num_frames=9, num_steps=3)


def a_studio(model=None, load=None):
    model = model or FakeModel()
    return Studio(name="stand-in", profile=PROFILE, load=load or (lambda: model))


def test_the_model_is_loaded_at_the_first_clip_and_only_then(tmp_path):
    loads = []
    studio = a_studio(load=lambda: loads.append(1) or FakeModel())
    assert loads == []
    for name in ("first.mp4", "second.mp4"):
        studio.make(REQUEST, tmp_path / name, session=None, on_progress=ignore_progress)
    assert loads == [1]


def test_a_model_that_failed_to_load_is_tried_again(tmp_path):
    attempts = []

    def load():
        attempts.append(1)
        if len(attempts) == 1:
            raise CheckpointError("Cut short.", next_step="Download it again.")
        return FakeModel()

    studio = a_studio(load=load)
    path = tmp_path / "clip.mp4"
    with pytest.raises(CheckpointError):
        studio.make(REQUEST, path, session=None, on_progress=ignore_progress)
    assert studio.make(REQUEST, path, session=None, on_progress=ignore_progress) == path


def test_the_clip_is_written_with_its_recipe(tmp_path):
    path = tmp_path / "new folder" / "clip.mp4"
    a_studio().make(REQUEST, path, session=None, on_progress=ignore_progress)
    clip = read_clip(path)
    assert clip.frames.shape == (9, 96, 96, 3)
    assert abs(clip.waveform).max() > 0.1
    recipe = read_recipe(path)
    assert recipe is not None
    assert recipe.request.prompt == "a ball"


def test_progress_tells_of_loading_and_of_every_step(tmp_path):
    seen = []
    a_studio().make(REQUEST, tmp_path / "clip.mp4", session=None, on_progress=seen.append)
    assert seen == [
        Progress("load", 0, 1),
        Progress("load", 1, 1),
        *(Progress("denoise", step, 3) for step in (1, 2, 3)),
    ]


def test_stop_ends_the_clip_after_the_current_step(tmp_path):
    studio = a_studio()
    studio.expect("visitor")
    seen = []

    def stop_at_first_step(now):
        seen.append(now)
        if now.stage == "denoise":
            studio.stop("visitor")

    path = tmp_path / "clip.mp4"
    with pytest.raises(GenerationCancelled):
        studio.make(REQUEST, path, session="visitor", on_progress=stop_at_first_step)
    assert [now.step for now in seen if now.stage == "denoise"] == [1]
    assert not path.exists()


def test_a_stop_while_waiting_is_not_forgotten(tmp_path):
    studio = a_studio()
    studio.expect("visitor")
    studio.stop("visitor")
    with pytest.raises(GenerationCancelled):
        studio.make(REQUEST, tmp_path / "clip.mp4", session="visitor", on_progress=ignore_progress)


def test_a_stop_does_not_outlive_its_clip_nor_reach_another_visitor(tmp_path):
    studio = a_studio()
    studio.expect("one")
    studio.stop("one")
    studio.expect("two")
    for session, name in (("two", "two.mp4"), (None, "program.mp4")):
        studio.make(REQUEST, tmp_path / name, session=session, on_progress=ignore_progress)
    studio.expect("one")
    studio.make(REQUEST, tmp_path / "one.mp4", session="one", on_progress=ignore_progress)


def test_leaving_the_page_stops_what_runs(tmp_path):
    studio = a_studio()
    studio.expect("visitor")

    def leave(now):
        if now.stage == "denoise":
            studio.leave("visitor")

    with pytest.raises(GenerationCancelled):
        studio.make(REQUEST, tmp_path / "clip.mp4", session="visitor", on_progress=leave)


def test_after_a_failure_the_next_clip_is_made(tmp_path):
    studio = a_studio()
    with pytest.raises(RequestError):
        studio.make(
            Request(prompt="a ball", duration_s=60.0),
            tmp_path / "long.mp4",
            session=None,
            on_progress=ignore_progress,
        )
    studio.make(REQUEST, tmp_path / "clip.mp4", session=None, on_progress=ignore_progress)
