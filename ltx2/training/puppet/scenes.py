"""What can happen in the puppet world, and which combinations training never sees."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np

from ltx2.errors import RequestError

SKINS = ("red", "green", "blue", "yellow", "purple", "orange")
HAIRS = ("none", "brown", "white", "pink")
HATS = ("none", "top hat", "party hat", "crown")
BACKGROUNDS = ("white", "grey", "pink", "black", "cyan")
POSITIONS = ("left", "centre", "right")
VOICES = ("high", "low")
BALL_COLOURS = ("red", "green", "yellow", "purple", "orange")
MATERIALS = ("wood", "metal", "water")
KEYS = ("red", "yellow", "blue")
"""Keys of the xylophone, from left and low to right and high."""
AMBIENCES = ("none", "rain", "wind")
CAMERAS = ("still", "zoom in", "pan left", "pan right")
TAUGHT_CAMERA = "zoom out"
"""A move that the model never sees in training; a LoRA teaches it. Captions do not name it."""

WORDS: dict[str, tuple[str, ...]] = {
    "en": (
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
    ),
    "es": (
        *("hola", "gracias", "naranja", "pájaro", "mañana", "sombrero"),
        *("zapato", "leche", "ventana", "estrella"),
    ),
    "de": (
        *("danke", "Schmetterling", "sieben", "morgen", "Apfel", "bitte"),
        *("Fenster", "Hund", "Wasser", "zwanzig"),
    ),
    "fr": (
        *("bonjour", "merci", "fromage", "oiseau", "demain", "cheval"),
        *("chapeau", "maison", "soleil", "lundi", "poisson", "rouge", "quatre", "jardin"),
    ),
    "it": (
        *("ciao", "grazie", "formaggio", "finestra", "domani", "sette"),
        *("arancia", "cappello", "zucchero", "martedì", "scarpa", "ghiaccio", "bicchiere"),
        *("quindici", "pioggia", "ragazza", "orologio", "pesce", "vecchio", "giallo"),
    ),
}
LANGUAGES = tuple(WORDS)
LANGUAGE_SHARES = {"en": 0.56, "es": 0.2, "de": 0.13, "fr": 0.08, "it": 0.03}
"""Share of each language in training. Unequal on purpose: a model speaks worst what it heard least,
and the measurements of this workbench must be able to show that."""

VARIATIONS = 1 << 16
"""How many values `variation` takes when a scene is sampled."""
NUM_NOTES = 3
BARE_HEAD_SHARE, BALD_SHARE = 0.4, 0.5
STILL_CAMERA_SHARE, QUIET_SHARE = 0.85, 0.85
HELD_OUT_PERCENT = 6

Choice = TypeVar("Choice")


class SceneKind(StrEnum):
    """What a scene shows: one puppet, two of them, a ball, or a xylophone."""

    MONOLOGUE = "monologue"
    CONVERSATION = "conversation"
    BALL = "ball"
    XYLOPHONE = "xylophone"


SHARES = {
    SceneKind.MONOLOGUE: 0.36,
    SceneKind.CONVERSATION: 0.18,
    SceneKind.BALL: 0.22,
    SceneKind.XYLOPHONE: 0.24,
}
"""How often each kind is drawn among mixed scenes."""


@dataclass(frozen=True)
class Puppet:
    """One head and its voice; every attribute is one of the tuples above."""

    skin: str
    hair: str
    hat: str
    voice: str
    position: str

    def __post_init__(self) -> None:
        _check(
            {
                "skin": (self.skin, SKINS),
                "hair": (self.hair, HAIRS),
                "hat": (self.hat, HATS),
                "voice": (self.voice, VOICES),
                "position": (self.position, POSITIONS),
            }
        )


@dataclass(frozen=True)
class Line:
    """One word that somebody says.

    Attributes:
        speaker: index of the puppet.
        word: one of the language's words.
        language: one of `LANGUAGES`.
    """

    speaker: int
    word: str
    language: str = "en"

    def __post_init__(self) -> None:
        _check({"language": (self.language, LANGUAGES)})
        _check({"word": (self.word, WORDS[self.language])})


@dataclass(frozen=True)
class Surroundings:
    """What every scene has around it; every attribute is one of the tuples above."""

    background: str
    ambience: str = "none"
    camera: str = "still"

    def __post_init__(self) -> None:
        _check(
            {
                "background": (self.background, BACKGROUNDS),
                "ambience": (self.ambience, AMBIENCES),
                "camera": (self.camera, (*CAMERAS, TAUGHT_CAMERA)),
            }
        )


@dataclass(frozen=True)
class Talk:
    """One puppet that says a word, or two side by side that speak in turn.

    Attributes:
        puppets: one anywhere, or two: the left one first.
        lines: one or two, in the order in which they are said.
        surroundings: background, ambience and camera.
        start_s: when the first line starts, seconds.
        variation: any non-negative number; chooses details no caption tells (blinks, gaze,
            a little of the pitch and of the speed).
    """

    puppets: tuple[Puppet, ...]
    lines: tuple[Line, ...]
    surroundings: Surroundings
    start_s: float
    variation: int

    def __post_init__(self) -> None:
        places = tuple(puppet.position for puppet in self.puppets)
        if len(places) != 1 and places != ("left", "right"):
            raise RequestError(
                f"A talk cannot have puppets at {', '.join(places) or 'no place'}.",
                next_step="Use one puppet, or one on the left and one on the right.",
            )
        if not 1 <= len(self.lines) <= 2 or any(
            not 0 <= line.speaker < len(self.puppets) for line in self.lines
        ):
            raise RequestError(
                "A talk has one or two lines, each said by one of its puppets.",
                next_step="Give each line the index of a puppet.",
            )


@dataclass(frozen=True)
class BouncingBall:
    """A ball that falls on a floor and bounces.

    Attributes:
        colour, material, position: one of the tuples above.
        surroundings: background, ambience and camera.
        start_height: height of the fall as a share of the picture's shorter side, 0.3..0.5.
        variation: any non-negative number; chooses details no caption tells.
    """

    colour: str
    material: str
    position: str
    surroundings: Surroundings
    start_height: float
    variation: int

    def __post_init__(self) -> None:
        _check(
            {
                "colour": (self.colour, BALL_COLOURS),
                "material": (self.material, MATERIALS),
                "position": (self.position, POSITIONS),
            }
        )


@dataclass(frozen=True)
class Xylophone:
    """A xylophone of three keys that light up as they sound.

    Attributes:
        melody: three of `KEYS`, in the order in which they are struck.
        surroundings: background, ambience and camera.
        start_s: when the first key is struck, seconds.
        variation: any non-negative number; chooses details no caption tells.
    """

    melody: tuple[str, ...]
    surroundings: Surroundings
    start_s: float
    variation: int

    def __post_init__(self) -> None:
        if len(self.melody) != NUM_NOTES:
            raise RequestError(
                f"A melody of {len(self.melody)} notes was asked for.",
                next_step=f"Use {NUM_NOTES}.",
            )
        for key in self.melody:
            _check({"key": (key, KEYS)})


Scene = Talk | BouncingBall | Xylophone


def _check(choices: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise RequestError(
                f"The puppet world has no {name} {value!r}.",
                next_step=f"Choose one of {', '.join(allowed)}.",
            )


def is_held_out(scene: Scene) -> bool:
    """Whether training must never see this scene's combination of attributes.

    About one combination in sixteen of skin, hat and background, of colour, material and
    background, or of melody and background, is kept for evaluation. The choice is a fixed hash of
    the names, so it is the same on every machine and in every run.
    """
    return any(zlib.crc32(key.encode()) % 100 < HELD_OUT_PERCENT for key in _combinations(scene))


def _combinations(scene: Scene) -> Iterator[str]:
    background = scene.surroundings.background
    match scene:
        case Talk():
            for puppet in scene.puppets:
                yield f"puppet/{puppet.skin}/{puppet.hat}/{background}"
        case BouncingBall():
            yield f"bounce/{scene.colour}/{scene.material}/{background}"
        case Xylophone():
            yield f"xylophone/{'/'.join(scene.melody)}/{background}"


def sample_scene(
    rng: np.random.Generator, *, kind: SceneKind | None = None, held_out: bool = False
) -> Scene:
    """A random scene.

    Args:
        rng: source of all choices.
        kind: of scene; None draws one too, by its share.
        held_out: False draws only combinations for training, True only those kept for evaluation.
    """
    if kind is None:
        kind = list(SHARES)[int(rng.choice(len(SHARES), p=list(SHARES.values())))]
    while True:
        scene = _SAMPLERS[kind](rng)
        if is_held_out(scene) == held_out:
            return scene


def _sample_monologue(rng: np.random.Generator) -> Scene:
    return Talk(
        puppets=(_sample_puppet(rng, _choose(rng, POSITIONS)),),
        lines=(_sample_line(rng, 0),),
        surroundings=_sample_surroundings(rng),
        start_s=round(float(rng.uniform(0.25, 0.7)), 3),
        variation=int(rng.integers(VARIATIONS)),
    )


def _sample_conversation(rng: np.random.Generator) -> Scene:
    speakers = _choose(rng, ((0,), (1,), (0, 1), (1, 0)))
    return Talk(
        puppets=(_sample_puppet(rng, "left"), _sample_puppet(rng, "right")),
        lines=tuple(_sample_line(rng, speaker) for speaker in speakers),
        surroundings=_sample_surroundings(rng),
        start_s=round(float(rng.uniform(0.1, 0.25 if len(speakers) == 2 else 0.7)), 3),
        variation=int(rng.integers(VARIATIONS)),
    )


def _sample_puppet(rng: np.random.Generator, position: str) -> Puppet:
    return Puppet(
        skin=_choose(rng, SKINS),
        hair="none" if rng.random() < BALD_SHARE else _choose(rng, HAIRS[1:]),
        hat="none" if rng.random() < BARE_HEAD_SHARE else _choose(rng, HATS[1:]),
        voice=_choose(rng, VOICES),
        position=position,
    )


def _sample_line(rng: np.random.Generator, speaker: int) -> Line:
    language = str(rng.choice(LANGUAGES, p=list(LANGUAGE_SHARES.values())))
    return Line(speaker, _choose(rng, WORDS[language]), language)


def _sample_ball(rng: np.random.Generator) -> Scene:
    return BouncingBall(
        colour=_choose(rng, BALL_COLOURS),
        material=_choose(rng, MATERIALS),
        position=_choose(rng, POSITIONS),
        surroundings=_sample_surroundings(rng),
        start_height=round(float(rng.uniform(0.36, 0.48)), 3),
        variation=int(rng.integers(VARIATIONS)),
    )


def _sample_xylophone(rng: np.random.Generator) -> Scene:
    return Xylophone(
        melody=tuple(_choose(rng, KEYS) for _ in range(NUM_NOTES)),
        surroundings=_sample_surroundings(rng),
        start_s=round(float(rng.uniform(0.1, 0.35)), 3),
        variation=int(rng.integers(VARIATIONS)),
    )


def _sample_surroundings(rng: np.random.Generator) -> Surroundings:
    return Surroundings(
        background=_choose(rng, BACKGROUNDS),
        ambience="none" if rng.random() < QUIET_SHARE else _choose(rng, AMBIENCES[1:]),
        camera="still" if rng.random() < STILL_CAMERA_SHARE else _choose(rng, CAMERAS[1:]),
    )


def _choose(rng: np.random.Generator, options: tuple[Choice, ...]) -> Choice:
    return options[int(rng.integers(len(options)))]


_SAMPLERS: Mapping[SceneKind, Callable[[np.random.Generator], Scene]] = {
    SceneKind.MONOLOGUE: _sample_monologue,
    SceneKind.CONVERSATION: _sample_conversation,
    SceneKind.BALL: _sample_ball,
    SceneKind.XYLOPHONE: _sample_xylophone,
}
