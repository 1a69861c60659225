"""What can happen in the puppet world, and which combinations training never sees."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ltx2.errors import RequestError

SKINS = ("red", "green", "blue", "yellow", "purple", "orange")
HATS = ("none", "top hat", "party hat", "crown")
BACKGROUNDS = ("white", "grey", "pink", "black", "cyan")
POSITIONS = ("left", "centre", "right")
WORDS = (
    "hello",
    "banana",
    "seven",
    "music",
    "yes",
    "tomorrow",
    "robot",
    "cheese",
    "window",
    "goodbye",
)
LANGUAGES = ("en",)
VOICES = ("high", "low")
BALL_COLOURS = ("red", "green", "yellow", "purple", "orange")
MATERIALS = ("wood", "metal", "water")

VARIATIONS = 1 << 16
"""How many values `variation` takes when a scene is sampled."""
FACE_SHARE = 0.65
BARE_HEAD_SHARE = 0.4
HELD_OUT_PERCENT = 5


@dataclass(frozen=True)
class TalkingFace:
    """A puppet's head that says one word.

    Attributes:
        skin, hat, background, position, word, language, voice: one of the tuples above.
        start_s: when the word starts, seconds.
        variation: any non-negative number; chooses details no caption tells (blinks, gaze,
            a little of the pitch and of the speed).
    """

    skin: str
    hat: str
    background: str
    position: str
    word: str
    language: str
    voice: str
    start_s: float
    variation: int

    def __post_init__(self) -> None:
        _check(
            {
                "skin": (self.skin, SKINS),
                "hat": (self.hat, HATS),
                "background": (self.background, BACKGROUNDS),
                "position": (self.position, POSITIONS),
                "word": (self.word, WORDS),
                "language": (self.language, LANGUAGES),
                "voice": (self.voice, VOICES),
            }
        )


@dataclass(frozen=True)
class BouncingBall:
    """A ball that falls on a floor and bounces.

    Attributes:
        colour, material, background, position: one of the tuples above.
        start_height: height of the fall as a share of the picture's shorter side, 0.3..0.5.
        variation: any non-negative number; chooses details no caption tells.
    """

    colour: str
    material: str
    background: str
    position: str
    start_height: float
    variation: int

    def __post_init__(self) -> None:
        _check(
            {
                "colour": (self.colour, BALL_COLOURS),
                "material": (self.material, MATERIALS),
                "background": (self.background, BACKGROUNDS),
                "position": (self.position, POSITIONS),
            }
        )


Scene = TalkingFace | BouncingBall


def _check(choices: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise RequestError(
                f"The puppet world has no {name} {value!r}.",
                next_step=f"Choose one of {', '.join(allowed)}.",
            )


def is_held_out(scene: Scene) -> bool:
    """Whether training must never see this scene's combination of attributes.

    About one combination in twenty of skin, hat and background, or of colour, material and
    background, is kept for evaluation. The choice is a fixed hash of the names, so it is the
    same on every machine and in every run.
    """
    match scene:
        case TalkingFace():
            key = f"face/{scene.skin}/{scene.hat}/{scene.background}"
        case BouncingBall():
            key = f"ball/{scene.colour}/{scene.material}/{scene.background}"
    return zlib.crc32(key.encode()) % 100 < HELD_OUT_PERCENT


def sample_scene(rng: np.random.Generator, *, held_out: bool = False) -> Scene:
    """A random scene: a talking face twice out of three times, else a bouncing ball.

    Args:
        rng: source of all choices.
        held_out: False draws only combinations for training, True only those kept for evaluation.
    """
    while True:
        scene = _sample_face(rng) if rng.random() < FACE_SHARE else _sample_ball(rng)
        if is_held_out(scene) == held_out:
            return scene


def _sample_face(rng: np.random.Generator) -> TalkingFace:
    hat = "none" if rng.random() < BARE_HEAD_SHARE else _choose(rng, HATS[1:])
    return TalkingFace(
        skin=_choose(rng, SKINS),
        hat=hat,
        background=_choose(rng, BACKGROUNDS),
        position=_choose(rng, POSITIONS),
        word=_choose(rng, WORDS),
        language="en",
        voice=_choose(rng, VOICES),
        start_s=round(float(rng.uniform(0.25, 0.7)), 3),
        variation=int(rng.integers(VARIATIONS)),
    )


def _sample_ball(rng: np.random.Generator) -> BouncingBall:
    return BouncingBall(
        colour=_choose(rng, BALL_COLOURS),
        material=_choose(rng, MATERIALS),
        background=_choose(rng, BACKGROUNDS),
        position=_choose(rng, POSITIONS),
        start_height=round(float(rng.uniform(0.36, 0.48)), 3),
        variation=int(rng.integers(VARIATIONS)),
    )


def _choose(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
