"""Captions that say exactly what a scene shows and sounds like."""

from __future__ import annotations

import numpy as np

from ltx2.training.puppet.scenes import BouncingBall, Scene, TalkingFace

FLOORS = {"wood": "a wood floor", "metal": "a metal floor", "water": "water"}
SOUNDS = {"wood": "a short knock", "metal": "a long ring", "water": "a soft plop"}

# The first template of each kind is the canonical one.
FACE_TEMPLATES = (
    '{A} {skin} puppet{hat} {place} says "{word}" in a {voice} voice.',
    'In a {voice} voice, {a} {skin} puppet{hat} {place} says "{word}".',
    '{A} {skin} puppet{hat} {place}. It says "{word}" in a {voice} voice.',
    'The word "{word}" is said in a {voice} voice by {a} {skin} puppet{hat} {place}.',
)
BALL_TEMPLATES = (
    "{A} {colour} ball {place} bounces on {floor} with {sound}.",
    "{A} {colour} ball {place} falls and bounces on {floor} with {sound}.",
    "With {sound}, {a} {colour} ball {place} bounces on {floor}.",
    "{A} {colour} ball {place}. It bounces on {floor} with {sound}.",
)


def caption(scene: Scene, rng: np.random.Generator | None = None) -> str:
    """One sentence or two that name everything chosen in the scene.

    A position is named only when it is not the centre, a hat only when there is one.

    Args:
        scene: what is shown.
        rng: chooses among paraphrases; without it the canonical wording is used.
    """
    match scene:
        case TalkingFace():
            templates, noun = FACE_TEMPLATES, scene.skin
        case BouncingBall():
            templates, noun = BALL_TEMPLATES, scene.colour
    template = templates[0 if rng is None else int(rng.integers(len(templates)))]
    article = "an" if noun[0] in "aeiou" else "a"
    values = {"a": article, "A": article.capitalize(), "place": _place(scene)}
    match scene:
        case TalkingFace():
            hat = "" if scene.hat == "none" else f" with a {scene.hat}"
            values |= {"skin": scene.skin, "hat": hat, "word": scene.word, "voice": scene.voice}
        case BouncingBall():
            values |= {"colour": scene.colour}
            values |= {"floor": FLOORS[scene.material], "sound": SOUNDS[scene.material]}
    return template.format(**values)


def _place(scene: Scene) -> str:
    side = "on" if scene.position == "centre" else f"on the {scene.position} of"
    return f"{side} a {scene.background} background"
