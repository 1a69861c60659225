"""What scenes there are, how often, and which are never seen in training."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from ltx2.errors import RequestError
from ltx2.training.puppet import scenes
from ltx2.training.puppet.scenes import (
    BouncingBall,
    Line,
    Puppet,
    Surroundings,
    Talk,
    Xylophone,
    is_held_out,
    sample_scene,
)

GREY = Surroundings("grey")
RED = Puppet("red", "none", "crown", "high", "left")
BLUE = Puppet("blue", "pink", "none", "low", "right")
ALONE = Talk((RED,), (Line(0, "hello"),), GREY, 0.4, 7)
PAIR = Talk((RED, BLUE), (Line(1, "hola", "es"), Line(0, "yes")), GREY, 0.2, 7)


def sample(seed, count, **options):
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, **options) for _ in range(count)]


def test_the_same_seed_draws_the_same_scenes_and_another_does_not():
    assert sample(1, 30) == sample(1, 30) != sample(2, 30)


def test_everything_the_world_has_occurs():
    drawn = sample(3, 6000)  # the rarest word is one line of seven hundred
    talks = [scene for scene in drawn if isinstance(scene, Talk)]
    puppets = [puppet for talk in talks for puppet in talk.puppets]
    assert {p.skin for p in puppets} == set(scenes.SKINS)
    assert {p.hair for p in puppets} == set(scenes.HAIRS)
    assert {p.hat for p in puppets} == set(scenes.HATS)
    assert {p.voice for p in puppets} == set(scenes.VOICES)
    assert {p.position for p in puppets} == set(scenes.POSITIONS)
    words = {(line.language, line.word) for talk in talks for line in talk.lines}
    assert words == {(lang, word) for lang, known in scenes.WORDS.items() for word in known}
    orders = {tuple(line.speaker for line in t.lines) for t in talks if len(t.puppets) == 2}
    assert orders == {(0,), (1,), (0, 1), (1, 0)}
    balls = [scene for scene in drawn if isinstance(scene, BouncingBall)]
    assert {b.material for b in balls} == set(scenes.MATERIALS)
    assert {b.colour for b in balls} == set(scenes.BALL_COLOURS)
    assert {k for s in drawn if isinstance(s, Xylophone) for k in s.melody} == set(scenes.KEYS)
    around = [scene.surroundings for scene in drawn]
    assert {a.background for a in around} == set(scenes.BACKGROUNDS)
    assert {a.ambience for a in around} == set(scenes.AMBIENCES)
    assert {a.camera for a in around} == set(scenes.CAMERAS)


def test_kinds_and_languages_have_their_shares():
    drawn = sample(4, 3000)
    kinds = Counter(
        len(scene.puppets) if isinstance(scene, Talk) else type(scene).__name__ for scene in drawn
    )
    assert kinds[1] / 3000 == pytest.approx(scenes.SHARES[scenes.SceneKind.MONOLOGUE], abs=0.03)
    assert kinds[2] / 3000 == pytest.approx(scenes.SHARES[scenes.SceneKind.CONVERSATION], abs=0.03)
    assert kinds["BouncingBall"] / 3000 == pytest.approx(
        scenes.SHARES[scenes.SceneKind.BALL], abs=0.03
    )
    lines = [line for scene in drawn if isinstance(scene, Talk) for line in scene.lines]
    languages = Counter(line.language for line in lines)
    for language, share in scenes.LANGUAGE_SHARES.items():
        assert languages[language] / len(lines) == pytest.approx(share, abs=0.03)
    ordered = list(scenes.LANGUAGE_SHARES.values())
    assert ordered == sorted(ordered, reverse=True)
    assert sum(ordered) == pytest.approx(1)


def test_training_and_evaluation_never_share_a_combination():
    assert not any(is_held_out(scene) for scene in sample(5, 800))
    assert all(is_held_out(scene) for scene in sample(6, 100, held_out=True))


def test_every_hat_floor_and_background_is_also_held_out_somewhere():
    kept = sample(7, 1500, held_out=True)
    balls = {scene.material for scene in kept if isinstance(scene, BouncingBall)}
    hats = {p.hat for scene in kept if isinstance(scene, Talk) for p in scene.puppets}
    assert balls == set(scenes.MATERIALS)
    assert hats == set(scenes.HATS)
    assert {scene.surroundings.background for scene in kept} == set(scenes.BACKGROUNDS)
    assert any(isinstance(scene, Xylophone) for scene in kept)


def test_the_held_out_combinations_are_the_same_on_every_machine():
    held_out = {
        (skin, hat, background)
        for skin in scenes.SKINS
        for hat in scenes.HATS
        for background in scenes.BACKGROUNDS
        if is_held_out(
            dataclasses.replace(
                ALONE,
                puppets=(dataclasses.replace(RED, skin=skin, hat=hat),),
                surroundings=Surroundings(background),
            )
        )
    }
    assert held_out == {
        ("red", "party hat", "white"),
        ("red", "crown", "white"),
        ("red", "crown", "cyan"),
        ("green", "none", "white"),
        ("green", "top hat", "black"),
        ("green", "top hat", "cyan"),
        ("green", "crown", "cyan"),
        ("yellow", "top hat", "black"),
        ("orange", "party hat", "grey"),
    }


def test_what_is_said_where_and_when_does_not_decide_what_is_held_out():
    for scene in sample(8, 40, held_out=True):
        changed = dataclasses.replace(
            scene,
            variation=scene.variation + 1,
            surroundings=dataclasses.replace(scene.surroundings, ambience="rain", camera="zoom in"),
        )
        assert is_held_out(changed)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dataclasses.replace(RED, skin="plaid"), "no skin 'plaid'.*red, green"),
        (lambda: Surroundings("grey", ambience="snow"), "no ambience 'snow'"),
        (lambda: Line(0, "hello", "es"), "no word 'hello'"),
        (lambda: Line(0, "hello", "eo"), "no language 'eo'"),
        (lambda: Xylophone(("red",), GREY, 0.2, 0), "melody of 1"),
        (lambda: Xylophone(("red", "pink", "blue"), GREY, 0.2, 0), "no key 'pink'"),
        (lambda: dataclasses.replace(PAIR, puppets=(BLUE, RED)), "right, left"),
        (lambda: dataclasses.replace(ALONE, puppets=()), "no place"),
        (lambda: dataclasses.replace(ALONE, lines=(Line(1, "yes"),)), "one of its puppets"),
        (lambda: dataclasses.replace(ALONE, lines=()), "one or two lines"),
    ],
)
def test_what_the_world_cannot_show_is_refused_with_what_it_can(make, message):
    with pytest.raises(RequestError, match=message):
        make()
