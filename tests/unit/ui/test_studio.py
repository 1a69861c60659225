import errno
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ltx2.errors import CheckpointError, GenerationCancelled, RequestError, ResourceError
from ltx2.media.decode import read_clip, read_recipe
from ltx2.progress import Progress, ignore_progress
from ltx2.request import Request
from ltx2.settings import Settings
from ltx2.ui.studio import Choice, Offer, Studio, open_studio
from tests.fakes.model import PROFILE, FakeModel

REQUEST = Request(prompt="a ball", num_frames=9, num_steps=3)


def a_studio(model=None, load=None):
    model = model or FakeModel()
    return Studio([Offer("stand-in", PROFILE, load or (lambda loras: model))])


def test_the_model_is_loaded_at_the_first_clip_and_only_then(tmp_path):
    loads = []
    studio = a_studio(load=lambda loras: loads.append(1) or FakeModel())
    assert loads == []
    for name in ("first.mp4", "second.mp4"):
        studio.make(REQUEST, tmp_path / name, session=None, on_progress=ignore_progress)
    assert loads == [1]


def test_a_model_that_failed_to_load_is_tried_again(tmp_path):
    attempts = []

    def load(loras):
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
    studio.finish("one")
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


WAIT_S = 30.0
"""Longer than any machine needs; a test that waits so long has failed."""


class SlowLoad:
    """A model whose loading lasts until it is told to end."""

    def __init__(self):
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.count = 0

    def __call__(self, loras):
        self.count += 1
        self.begun.set()
        assert self.may_end.wait(WAIT_S)
        return FakeModel()


@pytest.fixture
def in_thread():
    with ThreadPoolExecutor() as pool:
        yield pool.submit


def make(studio, path, session="visitor", **choice):
    return studio.make(
        REQUEST, path, session=session, on_progress=ignore_progress, choice=Choice(**choice)
    )


def test_a_stop_before_the_model_is_loaded_loads_nothing(tmp_path):
    load = SlowLoad()
    studio = a_studio(load=load)
    studio.expect("visitor")
    studio.stop("visitor")
    with pytest.raises(GenerationCancelled):
        make(studio, tmp_path / "clip.mp4")
    assert load.count == 0


def test_who_stops_does_not_wait_for_loading_which_goes_on_for_the_next(tmp_path, in_thread):
    load = SlowLoad()
    studio = a_studio(load=load)
    studio.expect("visitor")
    stopped = in_thread(make, studio, tmp_path / "stopped.mp4")
    assert load.begun.wait(WAIT_S)
    studio.stop("visitor")
    assert isinstance(stopped.exception(WAIT_S), GenerationCancelled)
    next_clip = in_thread(make, studio, tmp_path / "next.mp4", "next")
    load.may_end.set()
    assert next_clip.result(WAIT_S).is_file()
    assert load.count == 1


def test_asking_again_does_not_take_back_the_wish_to_stop_what_waits(tmp_path):
    studio = a_studio()
    studio.expect("visitor")
    studio.stop("visitor")
    studio.expect("visitor")
    with pytest.raises(GenerationCancelled):
        make(studio, tmp_path / "first.mp4")
    studio.finish("visitor")
    assert make(studio, tmp_path / "second.mp4").is_file()


def test_nothing_is_remembered_of_visitors_who_are_done_or_gone(tmp_path, in_thread):
    load = SlowLoad()
    studio = a_studio(load=load)
    studio.expect("gone")
    left = in_thread(make, studio, tmp_path / "left.mp4", "gone")
    assert load.begun.wait(WAIT_S)
    studio.leave("gone")
    assert isinstance(left.exception(WAIT_S), GenerationCancelled)
    load.may_end.set()
    make(studio, tmp_path / "program.mp4", "program that expects nothing")
    studio.expect("rejected")
    studio.finish("rejected")
    studio.expect("done")
    make(studio, tmp_path / "done.mp4", "done")
    studio.finish("done")
    studio.stop("never seen")
    assert studio._visitors == {}


@pytest.mark.parametrize(
    ("code", "said"),
    [(errno.ENOSPC, "The disk is full"), (errno.EACCES, "GRADIO_TEMP_DIR")],
)
def test_a_folder_that_cannot_be_made_is_said_with_a_next_step(tmp_path, monkeypatch, code, said):
    def mkdir(*_, **__):
        raise OSError(code, "no")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(ResourceError, match=said) as caught:
        make(a_studio(), tmp_path / "folder" / "clip.mp4")
    assert caught.value.next_step


def test_one_model_is_kept_until_another_choice_is_made(tmp_path):
    loads = []

    def offer(name):
        return Offer(name, PROFILE, lambda loras: loads.append((name, loras)) or FakeModel())

    paper = Path("paper.safetensors")
    studio = Studio([offer("quick"), replace(offer("slow"), loras={"paper": paper})])
    choices = [
        {},
        {"model": "quick", "strength": 0.5},  # of no LoRA, so the same
        {"model": "slow"},
        {"model": "slow", "lora": "paper", "strength": 0.5},
        {"model": "slow", "lora": "paper", "strength": 0.5},
        {"model": "quick"},
    ]
    for choice in choices:
        make(studio, tmp_path / "clip.mp4", **choice)
    assert loads == [("quick", ()), ("slow", ()), ("slow", ((paper, 0.5),)), ("quick", ())]


@pytest.mark.parametrize("choice", [{"model": "none"}, {"lora": "none"}])
def test_what_is_not_offered_is_refused_before_anything_loads(tmp_path, choice):
    load = SlowLoad()
    with pytest.raises(RequestError, match="'none'"):
        make(a_studio(load=load), tmp_path / "clip.mp4", **choice)
    assert load.count == 0


def test_models_that_lie_together_are_offered_together_the_quickest_first(
    tmp_path, monkeypatch, puppet_folder
):
    quick = {"num_steps": 4, "sigmas": (1.0, 0.75, 0.5, 0.25, 0.0)}
    copy_model(puppet_folder, tmp_path / "puppet")
    copy_model(puppet_folder, tmp_path / "puppet-distilled", **quick)
    (tmp_path / "puppet" / "loras").mkdir()
    (tmp_path / "puppet" / "loras" / "paper.safetensors").touch()
    monkeypatch.setattr("ltx2.checkpoint.catalog.WEIGHTS", tmp_path)

    def offered(**settings):
        return [offer.name for offer in open_studio(Settings(**settings)).offers]

    assert offered() == ["puppet-distilled", "puppet"]
    assert offered(model=str(tmp_path / "puppet")) == ["puppet"]
    assert open_studio(Settings()).offer("puppet").loras == {
        "paper": tmp_path / "puppet" / "loras" / "paper.safetensors"
    }


def copy_model(source, target, **profile):
    """The checkpoint's header with another profile, and no weights to speak of."""
    with (source / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    metadata = header["__metadata__"]
    metadata["profile"] = json.dumps({**json.loads(metadata["profile"]), **profile})
    text = json.dumps(header).encode()
    target.mkdir()
    with (target / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        del header["__metadata__"]
        data_size = max(tensor["data_offsets"][1] for tensor in header.values())
        file.truncate(8 + len(text) + data_size)
