from dataclasses import replace

import pytest

from ltx2.errors import MediaError
from ltx2.ui.examination import Examination
from ltx2.ui.result import NOTHING, Shown
from tests.fakes.model import PROFILE
from tests.unit.ui.stand_ins import an_offer, made, submitted


class Examiner:
    """Counts what it is asked to look at."""

    def __init__(self, error=None):
        self.seen = []
        self.error = error

    def __call__(self, clip, request):
        self.seen.append((clip, request.prompt))
        if self.error:
            raise self.error
        return "<p>fine</p>"


def test_a_clip_is_examined_once(queue):
    examine = Examiner()
    examination = Examination(queue, examine)
    job = made(queue)
    assert [examination.on_shown(Shown(job.id)) for _ in range(2)] == ["<p>fine</p>"] * 2
    assert examine.seen == [(queue.path(job), job.request.prompt)]


def test_what_has_no_clip_is_not_examined(queue):
    examine = Examiner()
    waiting = submitted(queue)
    shown = [NOTHING, Shown("unknown"), Shown(waiting.id)]
    assert [Examination(queue, examine).on_shown(each) for each in shown] == [""] * 3
    assert examine.seen == []


@pytest.mark.parametrize("error", [MediaError("Broken.", next_step="Again."), RuntimeError("no")])
def test_a_clip_that_cannot_be_examined_is_shown_all_the_same(queue, error):
    assert Examination(queue, Examiner(error)).on_shown(Shown(made(queue).id)) == ""


def test_a_clip_that_would_fill_the_memory_is_left_alone(open_queue):
    huge = PROFILE.model_copy(update={"max_duration_s": 3600.0, "max_size": 4096})
    queue = open_queue(an_offer(profile=huge))
    job = made(queue, height=64, width=64)
    examine = Examiner()
    large = job.request.model_copy(update={"height": 4096, "width": 4096, "duration_s": 60.0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue.store, "open_link", lambda _: replace(job, request=large))
        assert "too large" in Examination(queue, examine).on_shown(Shown(job.id))
    assert examine.seen == []
