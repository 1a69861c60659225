"""Captions name everything that was chosen, in every wording and language."""

import dataclasses
import re

import numpy as np
import pytest

from ltx2.training.puppet.captions import (
    CAPTION_LANGUAGES,
    ENGLISH_NAMES,
    ENGLISH_SHARE,
    VOCABULARY,
    caption,
    translated,
)
from ltx2.training.puppet.scenes import (
    BouncingBall,
    Line,
    Puppet,
    Surroundings,
    Talk,
    Xylophone,
    sample_scene,
)

PLAIN = Surroundings("white")
RED = Puppet("red", "none", "top hat", "high", "centre")
ALONE = Talk((RED,), (Line(0, "hello"),), PLAIN, 0.4, 7)
PAIR = Talk(
    (
        Puppet("orange", "pink", "none", "high", "left"),
        Puppet("blue", "none", "crown", "low", "right"),
    ),
    (Line(1, "hola", "es"), Line(0, "yes")),
    Surroundings("grey", "rain", "zoom in"),
    0.2,
    7,
)
BALL = BouncingBall("orange", "metal", "left", Surroundings("cyan"), 0.4, 7)
KEYS = Xylophone(("red", "blue", "red"), Surroundings("black", camera="pan left"), 0.2, 7)


def test_the_canonical_captions_read_like_this():
    assert caption(ALONE) == (
        'A red puppet with a top hat on a white background says "hello" in a high voice.'
    )
    assert caption(PAIR) == (
        "An orange puppet with pink hair on the left and a blue puppet with a crown on the right "
        'on a grey background. The one on the right says "hola" in Spanish in a low voice, then '
        'the one on the left "yes" in a high voice. It rains. The camera zooms in.'
    )
    assert caption(BALL) == (
        "An orange ball on the left of a cyan background bounces on a metal floor with a long ring."
    )
    assert caption(KEYS) == (
        "A xylophone on a black background plays first red, then blue, finally red. "
        "The camera pans left."
    )


def test_the_other_languages_read_like_this():
    assert translated(ALONE, "es") == (
        "Una marioneta roja con sombrero de copa sobre fondo blanco dice "
        '"hello" en inglés con voz aguda.'
    )
    assert translated(PAIR, "de") == (
        "Eine orange Puppe mit rosa Haar links und eine blaue Puppe mit Krone rechts vor grauem "
        'Hintergrund. Die rechte sagt "hola" auf Spanisch mit tiefer Stimme. Danach: Die linke '
        'sagt "yes" auf Englisch mit hoher Stimme. Es regnet. Die Kamera fährt heran.'
    )
    assert translated(BALL, "fr") == (
        "Une balle orange à gauche sur fond turquoise rebondit sur du métal."
    )
    assert translated(KEYS, "it") == (
        "Uno xilofono su sfondo nero suona prima rossa, poi blu, infine rossa. "
        "La camera gira a sinistra."
    )


@pytest.mark.parametrize("seed", range(4))
def test_every_english_wording_names_everything_that_was_chosen(seed):
    rng = np.random.default_rng(seed)
    for _ in range(60):
        scene = sample_scene(rng)
        text = caption(scene, _AlwaysEnglish(rng))
        around = scene.surroundings
        told = [around.background]
        match scene:
            case Talk():
                for puppet in scene.puppets:
                    told += [f"{puppet.skin} puppet"]
                    told += [puppet.hat] if puppet.hat != "none" else []
                    told += [f"{puppet.hair} hair"] if puppet.hair != "none" else []
                    told += [puppet.position] if puppet.position != "centre" else []
                for line in scene.lines:
                    told += [f'"{line.word}"', f"{scene.puppets[line.speaker].voice} voice"]
                    told += [ENGLISH_NAMES[line.language]] if line.language != "en" else []
                places = [text.index(f'"{line.word}"') for line in scene.lines]
                assert places == sorted(places)
            case BouncingBall():
                told += [f"{scene.colour} ball", scene.material]
                assert (f"the {scene.position}" in text) == (scene.position != "centre")
            case Xylophone():
                assert in_order(scene.melody, text)
        assert all(name in text for name in told), text
        assert ("rain" in text.lower()) == (around.ambience == "rain")
        assert ("wind" in text.lower().replace('"window"', "")) == (around.ambience == "wind")
        assert ("zoom" in text) == (around.camera == "zoom in")
        assert (" pan" in text) == around.camera.startswith("pan"), text
        assert text[0].isupper() or text[0] == '"'
        assert text[-1] == "."
        assert "  " not in text


def in_order(names, text):
    """Whether a sentence ends with these three names, each after the one before."""
    first, second, third = names
    return re.search(rf"\b{first}, [^,]*\b{second}, [^,]*\b{third}\.", text)


class _AlwaysEnglish:
    """A generator whose first draw, which chooses the language, is 0."""

    def __init__(self, rng):
        self.rng = rng

    def random(self):
        return 0.0

    def integers(self, options):
        return self.rng.integers(options)


@pytest.mark.parametrize("language", CAPTION_LANGUAGES[1:])
def test_every_translation_names_everything_that_was_chosen_and_nothing_else(language):
    rng, words = np.random.default_rng(3), VOCABULARY[language]
    for _ in range(150):
        scene = sample_scene(rng)
        text = translated(scene, language)
        around = scene.surroundings
        told = [words[around.background]]
        told += [words[w] for w in (around.ambience, around.camera) if w not in ("none", "still")]
        match scene:
            case Talk():
                for puppet in scene.puppets:
                    told += [words["puppet"].format(skin=words[puppet.skin])]
                    told += [words[HAIR_WORDS[puppet.hair]]] if puppet.hair != "none" else []
                    told += [words[puppet.hat]] if puppet.hat != "none" else []
                told += [
                    f'"{line.word}" {words[f"in {line.language}"]}'
                    f" {words[scene.puppets[line.speaker].voice]}"
                    for line in scene.lines
                ]
                places = {puppet.position for puppet in scene.puppets}
            case BouncingBall():
                told += [words["ball"].format(skin=words[scene.colour]), words[scene.material]]
                places = {scene.position}
            case Xylophone():
                assert in_order([words[key] for key in scene.melody], text)
                places = {"centre"}
        # Only the first name begins a sentence.
        assert all(name[1:] in text for name in told), text
        for place in ("left", "right"):
            # The same words say where the camera goes to.
            seen = text.replace(words[f"pan {place}"], "")
            assert (words[place] in seen) == (place in places), text
        hats_and_hair = [*HAIR_WORDS.values(), "top hat", "party hat", "crown", "rain", "wind"]
        for name in (*hats_and_hair, "zoom in", "pan left", "pan right"):
            assert (words[name] in text) == (words[name] in told), text
        assert text[0].isupper()
        assert text[-1] == "."
        assert "  " not in text


HAIR_WORDS = {"brown": "brown", "white": "white hair", "pink": "pink hair"}


def turns(**surroundings):
    """Every order in which two puppets may speak, with the word of each."""
    for speakers in ((0,), (1,), (0, 1), (1, 0), (0, 0), (1, 1)):
        lines = tuple(
            Line(s, word) for s, word in zip(speakers, ("banana", "cheese"), strict=False)
        )
        yield dataclasses.replace(PAIR, lines=lines, surroundings=PLAIN), speakers


def test_every_english_wording_tells_who_says_what():
    sides = ("left", "right")
    for scene, speakers in turns():
        for seed in range(12):
            text = caption(scene, _AlwaysEnglish(np.random.default_rng(seed)))
            end = text.index("is silent") if "is silent" in text else len(text)
            before = 0
            for number, (speaker, word) in enumerate(
                zip(speakers, ("banana", "cheese"), strict=False)
            ):
                said = text.index(f'"{word}"')
                last = max(sides, key=lambda side: text[before:said].rfind(f"the {side}"))
                if number == 1 and "then it says" in text:
                    assert speakers[0] == speakers[1]
                else:
                    assert last == sides[speaker], text
                voice = PAIR.puppets[speaker].voice
                assert text[said:].startswith(f'"{word}" in a {voice} voice'), text
                before = said
            silent = {0, 1} - set(speakers)
            if end < len(text) and len(silent) == 1:
                assert f"{sides[silent.pop()]} one is silent" in text


@pytest.mark.parametrize("language", CAPTION_LANGUAGES[1:])
def test_every_translation_tells_who_says_what(language):
    words = VOCABULARY[language]
    for scene, speakers in turns():
        text = translated(scene, language)
        said = [f"the {('left', 'right')[speaker]} one says" for speaker in speakers]
        assert [text.count(words[f"the {side} one says"]) for side in ("left", "right")] == [
            speakers.count(0),
            speakers.count(1),
        ]
        places = []
        for opening, word in zip(said, ("banana", "cheese"), strict=False):
            places.append(text.index(f'{words[opening]} "{word}"'))
        assert places == sorted(places)
        assert (words["then"] in text) == (len(speakers) == 2)


def test_all_languages_translate_the_same_words():
    assert {frozenset(words) for words in VOCABULARY.values()} == {frozenset(VOCABULARY["es"])}


def test_paraphrases_are_chosen_by_the_generator_and_mostly_english():
    rng = np.random.default_rng(0)
    drawn = [caption(ALONE, rng) for _ in range(400)]
    english = [text for text in drawn if "puppet" in text]
    assert len(english) / 400 == pytest.approx(ENGLISH_SHARE, abs=0.06)
    assert len(set(english)) == 4
    assert len(set(drawn)) == 4 + len(CAPTION_LANGUAGES) - 1
    assert caption(PAIR, np.random.default_rng(5)) == caption(PAIR, np.random.default_rng(5))


def test_a_move_that_only_a_loras_clips_have_is_not_named():
    moved = dataclasses.replace(ALONE, surroundings=Surroundings("white", camera="zoom out"))
    assert caption(moved) == caption(ALONE)
