"""Clips on a GPU that is lent: here nothing is lent, and the same code makes them."""

import pytest

from ltx2.errors import GenerationCancelled, GenerationError, ResourceError
from ltx2.preview import Preview
from ltx2.request import Request
from ltx2.serving import zero_gpu
from ltx2.serving.zero_gpu import LONGEST_S, Lender, explain, gpu_seconds, is_zero_gpu
from tests.fakes.model import PROFILE
from tests.unit.serving.stand_ins import REQUEST, Maker, a_queue, an_offer


def made(maker, request=REQUEST, should_cancel=lambda: False):
    seen = []
    clip = (
        Lender()
        .borrowing(an_offer(maker))
        .load(())(
            request, on_progress=seen.append, should_cancel=should_cancel, on_preview=seen.append
        )
    )
    return clip, seen


def test_the_clip_its_progress_and_its_previews_come_back():
    clip, seen = made(Maker())
    assert len(clip.frames) == 9
    assert [event.step for event in seen if isinstance(event, Preview)] == [1, 2, 3]
    assert seen[0].stage == "encode prompt"


def test_a_failure_keeps_its_words():
    with pytest.raises(GenerationError, match="overflowed"):
        made(Maker(error=GenerationError("The numbers overflowed.", next_step="Try again.")))


def test_stopping_ends_the_work_before_it_returns():
    maker = Maker()
    with pytest.raises(GenerationCancelled):
        made(maker, should_cancel=maker.begun.is_set)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("The requested GPU duration (400s) is an illegal duration", "longer than one is lent"),
        ("You have exceeded your GPU quota (60s requested vs. 3s left)", "used up for today"),
        ("GPU task aborted", "took longer than expected"),
    ],
)
def test_each_way_in_which_no_gpu_is_lent_is_told_apart(said, words):
    error = explain(RuntimeError(said))
    assert isinstance(error, ResourceError)
    assert words in error.message


def test_other_failures_stay_what_they_are():
    error = ValueError("x")
    assert explain(error) is error


def test_a_larger_clip_asks_for_a_longer_loan_up_to_what_is_lent():
    small, large = (
        gpu_seconds(Request(prompt="a", width=side, height=side, num_steps=60), PROFILE)
        for side in (64, 128)
    )
    assert small <= large
    wide = PROFILE.model_copy(update={"max_width": 4096, "max_height": 4096})
    assert gpu_seconds(Request(prompt="a", num_steps=60), wide) <= LONGEST_S


def test_a_job_is_made_inside_the_request_that_asked_for_it(tmp_path):
    maker = Lender().borrowing(an_offer(Maker())).load(())
    queue = a_queue(tmp_path, maker)
    job = queue.make_now(queue.submit("ann", REQUEST), queue.models[0])
    assert queue.path(job).is_file()
    queue.close()
    queue.store.close()


def test_without_the_package_nothing_changes(monkeypatch):
    monkeypatch.setattr(zero_gpu.importlib.util, "find_spec", lambda name: None)
    assert zero_gpu.lent_gpu(made, lambda: 1) is made


@pytest.mark.parametrize(("value", "answer"), [("1", True), ("true", True), ("", False)])
def test_zero_gpu_is_known_by_its_variable(value, answer):
    assert is_zero_gpu({"SPACES_ZERO_GPU": value}) is answer
