"""Which scenes are measured, and the tables that set generated clips beside what is possible."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from ltx2.clip import Clip
from ltx2.training.puppet.measure import (
    as_json,
    autoencoders_line,
    drift_scenes,
    judge_clip,
    points_behind,
    side_by_side,
    unseen_scenes,
    windows,
)
from ltx2.training.puppet.quality import OffsetSummary, Share, Summary
from ltx2.training.puppet.scenes import LANGUAGES, SceneKind, Talk, is_held_out
from ltx2.training.puppet.world import render


def summary(right: int, offset: OffsetSummary) -> Summary:
    return Summary((Share("line", "word (en)", right, 4),), (offset,))


GOOD = OffsetSummary("mouth", -2, 2, 5, 4, 4)
NOTHING = OffsetSummary("mouth", float("nan"), float("nan"), float("nan"), 0, 4)


def test_every_column_shows_its_own_figures_and_whether_it_meets_the_target() -> None:
    table = side_by_side({"dev": summary(3, NOTHING), "ceiling": summary(4, GOOD)})
    assert "| part | what | target | dev | ceiling |" in table
    row = "| line | word (en) | >= 80% | 3 of 4 (75 %), **not met** | 4 of 4 (100 %), met |"
    assert row in table
    assert "| not measurable | 2 and 5 ms (4 of 4 measurable), met |" in table


def test_summaries_of_different_scenes_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="zip"):
        side_by_side({"a": summary(1, GOOD), "b": Summary((), ())})


def test_the_autoencoders_are_held_to_a_higher_share_of_words() -> None:
    line = autoencoders_line(Summary((Share("line", "word (en)", 17, 20),), ()), 31.25)
    assert "31.2 dB (>= 30 dB, met)" in line
    assert "85 % (>= 90%, **not met**)" in line


def test_a_student_may_lie_five_points_behind_but_not_more() -> None:
    teacher = Summary((Share("a", "b", 100, 100), Share("c", "d", 60, 100)), ())
    student = Summary((Share("a", "b", 95, 100), Share("c", "d", 54, 100)), ())
    assert points_behind(teacher, student) == [("c d", pytest.approx(6))]
    assert points_behind(student, teacher) == []


def test_what_was_not_measured_is_no_reason_to_lie_behind() -> None:
    teacher, student = (Summary((Share("a", "b", right, 2 * right),), ()) for right in (3, 0))
    assert points_behind(teacher, student) == []


def test_json_carries_the_figures_and_null_for_what_was_not_measured() -> None:
    figures = json.loads(json.dumps(as_json({"dev": summary(3, NOTHING)}), allow_nan=False))
    (share,) = figures["dev"]["shares"]
    assert (share["num_right"], share["percent"], share["met"]) == (3, 75.0, False)
    assert figures["dev"]["offsets"][0]["median_ms"] is None


def test_unseen_scenes_are_held_out_and_repeat_by_seed() -> None:
    scenes = unseen_scenes(12, seed=3)
    assert all(is_held_out(scene) for scene in scenes)
    assert scenes == unseen_scenes(12, seed=3)
    assert scenes != unseen_scenes(12, seed=4)


def test_half_of_the_unseen_lines_are_english_and_the_others_equally_often_in_each_language() -> (
    None
):
    talks = [scene for scene in unseen_scenes(60, seed=1) if isinstance(scene, Talk)]
    spoken = [line.language for talk in talks for line in talk.lines]
    assert spoken.count("en") == pytest.approx(len(spoken) / 2, abs=1)
    rare = [spoken.count(language) for language in LANGUAGES if language != "en"]
    assert max(rare) - min(rare) <= 1


def test_unseen_conversations_have_two_puppets_each() -> None:
    scenes = unseen_scenes(6, seed=3, kind=SceneKind.CONVERSATION)
    assert all(isinstance(scene, Talk) and len(scene.puppets) == 2 for scene in scenes)
    assert all(is_held_out(scene) for scene in scenes)


def test_scenes_for_drift_are_unseen_and_say_one_english_word_in_calm_weather() -> None:
    for scene in drift_scenes(5, seed=2):
        assert isinstance(scene, Talk)
        assert is_held_out(scene)
        assert len(scene.puppets) == 1
        assert [line.language for line in scene.lines] == ["en"]
        assert (scene.surroundings.ambience, scene.surroundings.camera) == ("none", "still")


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_a_long_clip_is_judged_in_windows_of_one_repetition_and_shows_where_it_goes_wrong() -> None:
    (scene,) = drift_scenes(1, seed=6)
    truth = render(scene, num_frames=185)
    frames = truth.frames.copy()
    frames[97:] = 255 - frames[97:]
    clip = Clip(frames, truth.waveform, truth.frame_rate, truth.sample_rate)
    judged = {name: judge_clip(window, scene) for name, window in windows(clip)}
    assert list(judged) == ["0 to 2 s", "2 to 4 s", "4 to 6 s", "6 to 8 s"]
    background_wrong = ["scene background" in judgement.wrong() for judgement in judged.values()]
    assert background_wrong == [False, False, True, True]
    assert not any("line word (en)" in judgement.wrong() for judgement in judged.values())


def test_windows_cover_the_same_times_in_picture_and_sound() -> None:
    frames = np.arange(97, dtype=np.uint8)[:, None, None, None].repeat(3, axis=-1)
    waveform = np.arange(2 * 64_666, dtype=np.float32).reshape(2, -1)
    pieces = [window for _, window in windows(Clip(frames, waveform, 24.0, 16_000))]
    assert [piece.frames[0, 0, 0, 0] for piece in pieces] == [0, 48]
    assert [piece.waveform[0, 0] for piece in pieces] == [0, 32_000]
    assert dataclasses.is_dataclass(pieces[0])
