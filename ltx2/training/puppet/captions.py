"""Captions that say exactly what a scene shows and sounds like, in five languages.

Every caption names what is chosen; a position is named only when it is not the centre, a hat,
hair, weather and a moving camera only when there are some.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ltx2.prompting.script import article
from ltx2.training.puppet.scenes import (
    TAUGHT_CAMERA,
    BouncingBall,
    Line,
    Puppet,
    Scene,
    Talk,
    Xylophone,
)

CAPTION_LANGUAGES = ("en", "es", "de", "fr", "it")
ENGLISH_SHARE = 0.8
"""How often a paraphrase is English; the other languages share the rest."""


def caption(scene: Scene, rng: np.random.Generator | None = None) -> str:
    """A few sentences that name everything chosen in the scene.

    Args:
        scene: what is shown.
        rng: chooses the language and the wording; without it the first English wording is used.
    """
    if rng is None:
        return english(scene, lambda options: 0)
    if rng.random() < ENGLISH_SHARE:
        return english(scene, lambda options: int(rng.integers(options)))
    language = CAPTION_LANGUAGES[1 + int(rng.integers(len(CAPTION_LANGUAGES) - 1))]
    return translated(scene, language)


# --- English, with paraphrases ---------------------------------------------------------------

FLOORS = {"wood": "a wood floor", "metal": "a metal floor", "water": "water"}
SOUNDS = {"wood": "a short knock", "metal": "a long ring", "water": "a soft plop"}
ENGLISH_NAMES = {
    "en": "English",
    "es": "Spanish",
    "de": "German",
    "fr": "French",
    "it": "Italian",
}
ALONE_TEMPLATES = (
    "{A} {place} on a {background} background says {line}.",
    "In a {voice} voice, {a} {place} on a {background} background says {word}.",
    "{A} {place} on a {background} background. It says {line}.",
    "{line_first} is said by {a} {place} on a {background} background.",
)
BALL_TEMPLATES = (
    "{A} {colour} ball {place} bounces on {floor} with {sound}.",
    "{A} {colour} ball {place} falls and bounces on {floor} with {sound}.",
    "With {sound}, {a} {colour} ball {place} bounces on {floor}.",
    "{A} {colour} ball {place}. It bounces on {floor} with {sound}.",
)
XYLOPHONE_TEMPLATES = (
    "A xylophone on a {background} background plays {turns}.",
    "On a {background} background, the keys of a xylophone light up: {melody}.",
    "A xylophone on a {background} background. Its keys sound {turns}.",
)
TURNS = "first {}, then {}, finally {}"
"""A melody in words that tell which key comes when; a plain list is learnt far slower."""
ENGLISH_AMBIENCE = {
    "none": ("",),
    "rain": (" It rains.", " Rain falls and patters."),
    "wind": (" The wind blows.", " Wind blows and leaves fly."),
}
ENGLISH_CAMERA = {
    "still": ("",),
    TAUGHT_CAMERA: ("",),
    "zoom in": (" The camera zooms in.", " A slow zoom in."),
    "pan left": (" The camera pans left.", " A slow pan to the left."),
    "pan right": (" The camera pans right.", " A slow pan to the right."),
}

Pick = Callable[[int], int]
"""Index of one of so many wordings."""


def english(scene: Scene, pick: Pick) -> str:
    """An English caption.

    Args:
        scene: what is shown.
        pick: chooses among so many wordings; always 0 gives the canonical caption.
    """
    match scene:
        case Talk():
            sentence = _english_talk(scene, pick)
        case BouncingBall():
            sentence = _english_ball(scene, pick)
        case Xylophone():
            sentence = XYLOPHONE_TEMPLATES[pick(len(XYLOPHONE_TEMPLATES))].format(
                background=scene.surroundings.background,
                melody=", ".join(scene.melody),
                turns=TURNS.format(*scene.melody),
            )
    ambience = ENGLISH_AMBIENCE[scene.surroundings.ambience]
    camera = ENGLISH_CAMERA[scene.surroundings.camera]
    return sentence + ambience[pick(len(ambience))] + camera[pick(len(camera))]


def _english_talk(scene: Talk, pick: Pick) -> str:
    background = scene.surroundings.background
    if len(scene.puppets) == 1:
        puppet, line = scene.puppets[0], scene.lines[0]
        place = "" if puppet.position == "centre" else f" on the {puppet.position}"
        words = _quoted(line)
        said = f"{words} in a {puppet.voice} voice"
        noun = _english_looks(puppet)
        return (
            ALONE_TEMPLATES[pick(len(ALONE_TEMPLATES))]
            .format(
                A=f"{article(noun).capitalize()} {noun}{place}".strip(),
                a=f"{article(noun)} {noun}{place}".strip(),
                place="",
                background=background,
                voice=puppet.voice,
                word=words,
                line=said,
                line_first=said,
            )
            .replace("  ", " ")
        )
    nouns = [f"{article(noun)} {noun}" for noun in map(_english_looks, scene.puppets)]
    lines = [
        f"{_quoted(line)} in a {scene.puppets[line.speaker].voice} voice" for line in scene.lines
    ]
    places = [scene.puppets[line.speaker].position for line in scene.lines]
    if pick(2) == 0:
        sentence = (
            f"{nouns[0].capitalize()} on the left and {nouns[1]} on the right on a "
            f"{background} background. The one on the {places[0]} says {lines[0]}"
        )
        if len(lines) == 2:
            who = "then it says" if places[1] == places[0] else f"then the one on the {places[1]}"
            sentence += f", {who} {lines[1]}"
        return sentence + "."
    sentence = (
        f"On a {background} background are {nouns[0]} on the left and {nouns[1]} on the right. "
        f"First the {places[0]} one says {lines[0]}."
    )
    if len(lines) == 2:
        return sentence + f" Then the {places[1]} one says {lines[1]}."
    silent = "right" if places[0] == "left" else "left"
    return sentence + f" The {silent} one is silent."


def _english_looks(puppet: Puppet) -> str:
    parts = []
    if puppet.hair != "none":
        parts.append(f"{puppet.hair} hair")
    if puppet.hat != "none":
        parts.append(f"a {puppet.hat}")
    return f"{puppet.skin} puppet" + (f" with {' and '.join(parts)}" if parts else "")


def _quoted(line: Line) -> str:
    return f'"{line.word}"' + (
        "" if line.language == "en" else f" in {ENGLISH_NAMES[line.language]}"
    )


def _english_ball(scene: BouncingBall, pick: Pick) -> str:
    side = "on" if scene.position == "centre" else f"on the {scene.position} of"
    a = article(scene.colour)
    return BALL_TEMPLATES[pick(len(BALL_TEMPLATES))].format(
        a=a,
        A=a.capitalize(),
        colour=scene.colour,
        place=f"{side} a {scene.surroundings.background} background",
        floor=FLOORS[scene.material],
        sound=SOUNDS[scene.material],
    )


# --- the other languages, one wording each ---------------------------------------------------

# The adjectives are in the form that the noun needs: puppets and balls are feminine in all four.
VOCABULARY: dict[str, dict[str, str]] = {
    "es": {
        "puppet": "una marioneta {skin}",
        "red": "roja",
        "green": "verde",
        "blue": "azul",
        "yellow": "amarilla",
        "purple": "morada",
        "orange": "naranja",
        "brown": "pelo castaño",
        "white hair": "pelo blanco",
        "pink hair": "pelo rosa",
        "top hat": "sombrero de copa",
        "party hat": "gorro de fiesta",
        "crown": "corona",
        "with": "con",
        "and": "y",
        "left": "a la izquierda",
        "right": "a la derecha",
        "white": "sobre fondo blanco",
        "grey": "sobre fondo gris",
        "pink": "sobre fondo rosa",
        "black": "sobre fondo negro",
        "cyan": "sobre fondo celeste",
        "says": "dice",
        "the left one says": "La de la izquierda dice",
        "the right one says": "La de la derecha dice",
        "then": "Después",
        "high": "con voz aguda",
        "low": "con voz grave",
        "in en": "en inglés",
        "in es": "en español",
        "in de": "en alemán",
        "in fr": "en francés",
        "in it": "en italiano",
        "ball": "una pelota {skin}",
        "wood": "bota sobre madera",
        "metal": "bota sobre metal",
        "water": "bota sobre agua",
        "xylophone": "un xilófono",
        "plays": "toca primero {}, luego {}, al final {}",
        "rain": "Llueve.",
        "wind": "Sopla el viento.",
        "zoom in": "La cámara se acerca.",
        "pan left": "La cámara gira a la izquierda.",
        "pan right": "La cámara gira a la derecha.",
    },
    "de": {
        "puppet": "eine {skin} Puppe",
        "red": "rote",
        "green": "grüne",
        "blue": "blaue",
        "yellow": "gelbe",
        "purple": "violette",
        "orange": "orange",
        "brown": "braunem Haar",
        "white hair": "weißem Haar",
        "pink hair": "rosa Haar",
        "top hat": "Zylinder",
        "party hat": "Partyhut",
        "crown": "Krone",
        "with": "mit",
        "and": "und",
        "left": "links",
        "right": "rechts",
        "white": "vor weißem Hintergrund",
        "grey": "vor grauem Hintergrund",
        "pink": "vor rosa Hintergrund",
        "black": "vor schwarzem Hintergrund",
        "cyan": "vor türkisem Hintergrund",
        "says": "sagt",
        "the left one says": "Die linke sagt",
        "the right one says": "Die rechte sagt",
        "then": "Danach",
        "high": "mit hoher Stimme",
        "low": "mit tiefer Stimme",
        "in en": "auf Englisch",
        "in es": "auf Spanisch",
        "in de": "auf Deutsch",
        "in fr": "auf Französisch",
        "in it": "auf Italienisch",
        "ball": "eine {skin} Kugel",
        "wood": "springt auf Holz",
        "metal": "springt auf Metall",
        "water": "springt auf Wasser",
        "xylophone": "ein Xylophon",
        "plays": "spielt erst {}, dann {}, zuletzt {}",
        "rain": "Es regnet.",
        "wind": "Der Wind weht.",
        "zoom in": "Die Kamera fährt heran.",
        "pan left": "Die Kamera schwenkt nach links.",
        "pan right": "Die Kamera schwenkt nach rechts.",
    },
    "fr": {
        "puppet": "une marionnette {skin}",
        "red": "rouge",
        "green": "verte",
        "blue": "bleue",
        "yellow": "jaune",
        "purple": "violette",
        "orange": "orange",
        "brown": "des cheveux bruns",
        "white hair": "des cheveux blancs",
        "pink hair": "des cheveux roses",
        "top hat": "un haut-de-forme",
        "party hat": "un chapeau de fête",
        "crown": "une couronne",
        "with": "avec",
        "and": "et",
        "left": "à gauche",
        "right": "à droite",
        "white": "sur fond blanc",
        "grey": "sur fond gris",
        "pink": "sur fond rose",
        "black": "sur fond noir",
        "cyan": "sur fond turquoise",
        "says": "dit",
        "the left one says": "Celle de gauche dit",
        "the right one says": "Celle de droite dit",
        "then": "Ensuite",
        "high": "d'une voix aiguë",
        "low": "d'une voix grave",
        "in en": "en anglais",
        "in es": "en espagnol",
        "in de": "en allemand",
        "in fr": "en français",
        "in it": "en italien",
        "ball": "une balle {skin}",
        "wood": "rebondit sur du bois",
        "metal": "rebondit sur du métal",
        "water": "rebondit sur l'eau",
        "xylophone": "un xylophone",
        "plays": "joue d'abord {}, puis {}, enfin {}",
        "rain": "Il pleut.",
        "wind": "Le vent souffle.",
        "zoom in": "La caméra s'approche.",
        "pan left": "La caméra tourne à gauche.",
        "pan right": "La caméra tourne à droite.",
    },
    "it": {
        "puppet": "una marionetta {skin}",
        "red": "rossa",
        "green": "verde",
        "blue": "blu",
        "yellow": "gialla",
        "purple": "viola",
        "orange": "arancione",
        "brown": "capelli castani",
        "white hair": "capelli bianchi",
        "pink hair": "capelli rosa",
        "top hat": "cilindro",
        "party hat": "cappello da festa",
        "crown": "corona",
        "with": "con",
        "and": "e",
        "left": "a sinistra",
        "right": "a destra",
        "white": "su sfondo bianco",
        "grey": "su sfondo grigio",
        "pink": "su sfondo rosa",
        "black": "su sfondo nero",
        "cyan": "su sfondo turchese",
        "says": "dice",
        "the left one says": "Quella a sinistra dice",
        "the right one says": "Quella a destra dice",
        "then": "Poi",
        "high": "con voce acuta",
        "low": "con voce grave",
        "in en": "in inglese",
        "in es": "in spagnolo",
        "in de": "in tedesco",
        "in fr": "in francese",
        "in it": "in italiano",
        "ball": "una palla {skin}",
        "wood": "rimbalza sul legno",
        "metal": "rimbalza sul metallo",
        "water": "rimbalza sull'acqua",
        "xylophone": "uno xilofono",
        "plays": "suona prima {}, poi {}, infine {}",
        "rain": "Piove.",
        "wind": "Soffia il vento.",
        "zoom in": "La camera si avvicina.",
        "pan left": "La camera gira a sinistra.",
        "pan right": "La camera gira a destra.",
    },
}


def translated(scene: Scene, language: str) -> str:
    """A caption in Spanish, German, French or Italian."""
    words = VOCABULARY[language]
    around = scene.surroundings
    match scene:
        case Talk():
            sentences = _translated_talk(scene, words)
        case BouncingBall():
            subject = words["ball"].format(skin=words[scene.colour])
            place = "" if scene.position == "centre" else f" {words[scene.position]}"
            sentences = [f"{subject}{place} {words[around.background]} {words[scene.material]}."]
        case Xylophone():
            subject = f"{words['xylophone']} {words[around.background]}"
            melody = words["plays"].format(*(words[key] for key in scene.melody))
            sentences = [f"{subject} {melody}."]
    sentences += [words[word] for word in (around.ambience, around.camera) if word in words]
    sentences[0] = sentences[0][0].upper() + sentences[0][1:]
    return " ".join(sentences)


def _translated_talk(scene: Talk, words: dict[str, str]) -> list[str]:
    background = words[scene.surroundings.background]
    looks = [_translated_looks(puppet, words) for puppet in scene.puppets]
    said = [
        f'"{line.word}" {words[f"in {line.language}"]} {words[scene.puppets[line.speaker].voice]}.'
        for line in scene.lines
    ]
    if len(looks) == 1:
        position = scene.puppets[0].position
        place = "" if position == "centre" else f" {words[position]}"
        return [f"{looks[0]}{place} {background} {words['says']} {said[0]}"]
    pair = f"{looks[0]} {words['left']} {words['and']} {looks[1]} {words['right']} {background}."
    sentences = [pair]
    for number, (line, text) in enumerate(zip(scene.lines, said, strict=True)):
        opening = words[f"the {scene.puppets[line.speaker].position} one says"]
        sentences.append(f"{opening if number == 0 else words['then'] + ': ' + opening} {text}")
    return sentences


def _translated_looks(puppet: Puppet, words: dict[str, str]) -> str:
    parts = []
    if puppet.hair != "none":
        parts.append(words["brown" if puppet.hair == "brown" else f"{puppet.hair} hair"])
    if puppet.hat != "none":
        parts.append(words[puppet.hat])
    looks = words["puppet"].format(skin=words[puppet.skin])
    if not parts:
        return looks
    return f"{looks} {words['with']} " + f" {words['and']} ".join(parts)
