import numpy as np
import pytest

from evaluation.metrics.best import lip_sync
from ltx2.best import best_of
from ltx2.clip import Clip
from ltx2.errors import RequestError
from ltx2.progress import Progress, ignore_progress, never_cancel
from ltx2.request import Request
from tests.fakes.model import draw

ASKED = Request(prompt="x", seed=7, num_frames=3, width=96, height=96, frame_rate=25.0)


class Maker:
    """Draws at once, and notes the seeds."""

    def __init__(self):
        self.seeds = []

    def __call__(
        self, request, *, inputs=None, on_progress=ignore_progress, should_cancel=never_cancel
    ):
        self.seeds.append(request.seed)
        on_progress(Progress("denoise", 1, 1))
        return draw(request)


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ({7: 1.0, 8: 3.0, 9: 2.0}, 8),
        ({7: None, 8: -40.0, 9: None}, 8),
        ({7: None, 8: None, 9: None}, 7),
        ({7: 2.0, 8: 2.0, 9: 1.0}, 7),
    ],
)
def test_the_measure_keeps_the_best_of_seeds_that_follow(scores, best):
    maker, stages = Maker(), []
    clip = best_of(
        maker,
        ASKED,
        3,
        lambda made: scores[made.recipe.request.seed],
        on_progress=lambda progress: stages.append(progress.stage),
    )
    assert maker.seeds == [7, 8, 9]
    assert clip.recipe.request.seed == best
    assert stages == ["denoise (1 of 3)", "denoise (2 of 3)", "denoise (3 of 3)"]


def test_one_clip_is_not_measured_and_several_need_a_measure():
    assert best_of(Maker(), ASKED, 1, None).recipe.request.seed == 7
    with pytest.raises(RequestError, match="which clip is the best"):
        best_of(Maker(), ASKED, 2, None)
    with pytest.raises(RequestError, match="from 1 to"):
        best_of(Maker(), ASKED, 0, None)


def test_lips_that_cannot_be_judged_have_no_score():
    silent = Clip(np.zeros((9, 32, 32, 3), np.uint8), np.zeros((2, 0), np.float32), 24.0, 16_000)
    assert lip_sync(silent) is None
