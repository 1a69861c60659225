"""The table that sets generated clips beside what the autoencoders allow."""

import pytest

from ltx2.training.puppet.measure import side_by_side, unseen_scenes
from ltx2.training.puppet.quality import OffsetSummary, Share, Summary
from ltx2.training.puppet.scenes import is_held_out


def summary(right: int, offset: OffsetSummary) -> Summary:
    return Summary((Share("face", "mouth_moves", right, 4),), (offset,))


def test_both_columns_show_their_own_figures() -> None:
    nothing = OffsetSummary("face", float("nan"), float("nan"), float("nan"), 0, 4)
    table = side_by_side(summary(3, nothing), summary(4, OffsetSummary("face", -2, 2, 5, 3, 4)))
    assert "| face | mouth moves | 3 of 4 | 4 of 4 |" in table
    assert "| not measurable | 2 and 5 ms (3 of 4 measurable) |" in table


def test_summaries_of_different_scenes_do_not_go_together() -> None:
    offset = OffsetSummary("face", 0, 0, 0, 1, 1)
    with pytest.raises(ValueError, match="zip"):
        side_by_side(summary(1, offset), Summary((), ()))


def test_unseen_scenes_are_held_out_and_repeat_by_seed() -> None:
    scenes = unseen_scenes(12, seed=3)
    assert all(is_held_out(scene) for scene in scenes)
    assert scenes == unseen_scenes(12, seed=3)
    assert scenes != unseen_scenes(12, seed=4)
