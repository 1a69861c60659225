import dataclasses
from collections import Counter

import numpy as np
import pytest

from ltx2.errors import RequestError
from ltx2.training.puppet import scenes
from ltx2.training.puppet.scenes import BouncingBall, Scene, TalkingFace, is_held_out, sample_scene

FACE = TalkingFace("green", "crown", "grey", "left", "seven", "en", "low", 0.4, 7)


def sample(seed: int, count: int, *, held_out: bool = False) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, held_out=held_out) for _ in range(count)]


def test_a_seed_repeats_its_scenes_and_another_gives_others() -> None:
    assert sample(1, 20) == sample(1, 20)
    assert sample(1, 20) != sample(2, 20)


def test_every_attribute_is_sampled() -> None:
    drawn = sample(0, 600)
    faces = [scene for scene in drawn if isinstance(scene, TalkingFace)]
    balls = [scene for scene in drawn if isinstance(scene, BouncingBall)]
    assert {scene.word for scene in faces} == set(scenes.WORDS)
    assert {scene.skin for scene in faces} == set(scenes.SKINS)
    assert {scene.hat for scene in faces} == set(scenes.HATS)
    assert {scene.background for scene in faces} == set(scenes.BACKGROUNDS)
    assert {scene.voice for scene in faces} == set(scenes.VOICES)
    assert {scene.position for scene in faces} == set(scenes.POSITIONS)
    assert {scene.colour for scene in balls} == set(scenes.BALL_COLOURS)
    assert {scene.material for scene in balls} == set(scenes.MATERIALS)


def test_two_thirds_of_the_scenes_are_faces_and_two_fifths_of_those_are_bare() -> None:
    drawn = sample(3, 2000)
    faces = [scene for scene in drawn if isinstance(scene, TalkingFace)]
    assert len(faces) / len(drawn) == pytest.approx(0.65, abs=0.04)
    assert Counter(scene.hat for scene in faces)["none"] / len(faces) == pytest.approx(
        0.4, abs=0.05
    )


def test_training_scenes_and_held_out_scenes_never_share_a_combination() -> None:
    assert not any(is_held_out(scene) for scene in sample(4, 500))
    assert all(is_held_out(scene) for scene in sample(4, 50, held_out=True))


def test_the_held_out_combinations_are_these_on_every_machine() -> None:
    held_out = {
        (skin, hat, background)
        for skin in scenes.SKINS
        for hat in scenes.HATS
        for background in scenes.BACKGROUNDS
        if is_held_out(dataclasses.replace(FACE, skin=skin, hat=hat, background=background))
    }
    assert held_out == {
        ("red", "none", "cyan"),
        ("red", "party hat", "cyan"),
        ("red", "crown", "black"),
        ("green", "party hat", "pink"),
        ("yellow", "none", "black"),
        ("yellow", "none", "cyan"),
        ("purple", "party hat", "pink"),
        ("purple", "crown", "white"),
    }


def test_word_voice_position_and_time_do_not_decide_what_is_held_out() -> None:
    unseen = dataclasses.replace(FACE, skin="purple", hat="crown", background="white")
    for change in ({"word": "yes"}, {"voice": "high"}, {"position": "right"}, {"variation": 9}):
        assert is_held_out(dataclasses.replace(unseen, **change))


def test_an_unknown_attribute_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match=r"no skin 'plaid'.*Choose one of red, green"):
        dataclasses.replace(FACE, skin="plaid")
    with pytest.raises(RequestError, match="no material 'jelly'"):
        BouncingBall("red", "jelly", "white", "left", 0.4, 0)
