import dataclasses

import numpy as np
import pytest

from ltx2.training.puppet.captions import BALL_TEMPLATES, FACE_TEMPLATES, caption
from ltx2.training.puppet.scenes import BouncingBall, TalkingFace, sample_scene

FACE = TalkingFace("red", "top hat", "white", "centre", "hello", "en", "high", 0.4, 7)
BALL = BouncingBall("orange", "metal", "cyan", "left", 0.4, 7)


def test_the_canonical_captions_read_like_this() -> None:
    assert caption(FACE) == (
        'A red puppet with a top hat on a white background says "hello" in a high voice.'
    )
    assert caption(dataclasses.replace(FACE, skin="orange", hat="none", position="right")) == (
        'An orange puppet on the right of a white background says "hello" in a high voice.'
    )
    assert caption(BALL) == (
        "An orange ball on the left of a cyan background bounces on a metal floor with a long ring."
    )
    assert caption(dataclasses.replace(BALL, material="water")).endswith(
        "bounces on water with a soft plop."
    )


@pytest.mark.parametrize("seed", range(5))
def test_every_wording_names_everything_that_was_chosen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(40):
        scene = sample_scene(rng)
        text = caption(scene, rng)
        match scene:
            case TalkingFace():
                told = {scene.skin, scene.background, f'"{scene.word}"', f"{scene.voice} voice"}
                assert (scene.hat in text) == (scene.hat != "none")
            case BouncingBall():
                told = {scene.colour, scene.background, scene.material}
        assert all(name in text for name in told), text
        assert (f"on the {scene.position} of" in text) == (scene.position != "centre")
        assert text[0].isupper()
        assert text[-1] == "."
        assert "  " not in text


def test_paraphrases_are_chosen_by_the_generator() -> None:
    rng = np.random.default_rng(0)
    assert len({caption(FACE, rng) for _ in range(60)}) == len(FACE_TEMPLATES)
    assert len({caption(BALL, rng) for _ in range(60)}) == len(BALL_TEMPLATES)
    again = [caption(FACE, np.random.default_rng(5)) for _ in range(2)]
    assert again[0] == again[1]
