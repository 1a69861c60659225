"""What is told from samples: words of all languages, turns, materials, notes, sides, weather."""

import itertools
import shutil

import numpy as np
import pytest

from ltx2.training.puppet import heard
from ltx2.training.puppet.impacts import impact_sound
from ltx2.training.puppet.scenes import AMBIENCES, KEYS, LANGUAGES, MATERIALS, VOICES, WORDS
from ltx2.training.puppet.surroundings import ambient_sound
from ltx2.training.puppet.voices import num_variants, speak
from ltx2.training.puppet.xylophone import note_sound

RATE = heard.SAMPLE_RATE
needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"
)


def said(*words: tuple[str, str, float], voice: str = "low", variant: int = 2) -> np.ndarray:
    """Words of languages at times, in two seconds [S]."""
    mono = np.zeros(2 * RATE)
    for word, language, start_s in words:
        sound = speak(word, language=language, voice=voice, variant=variant, sample_rate=RATE)
        first = round(start_s * RATE)
        mono[first : first + sound.size] += sound
    return mono


def with_ambience(mono: np.ndarray, ambience: str, seed: int = 4) -> np.ndarray:
    return mono + ambient_sound(ambience, mono.size, RATE, seed)


def word_in(mono: np.ndarray, ambience: str = "none") -> heard.HeardWord | None:
    (span,) = heard.spoken_spans(mono, 1, ambience)
    assert span is not None
    return heard.hear_word(heard.cut(mono, span), ambience)


@pytest.mark.slow
@needs_espeak
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_and_voice_is_heard_among_all_languages(language: str) -> None:
    variants = itertools.cycle(range(num_variants("low")))
    rng = np.random.default_rng(1)
    for word, voice in itertools.product(WORDS[language], VOICES):
        clean = said((word, language, 0.5), voice=voice, variant=next(variants))
        found = word_in(clean + 0.004 * rng.standard_normal(clean.size))
        assert found is not None
        assert (found.word, found.language, found.voice) == (word, language, voice)
        assert found.margin > 0
        assert set(found.in_language) == set(LANGUAGES)


@needs_espeak
@pytest.mark.parametrize("ambience", ["rain", "wind"])
def test_a_word_is_heard_through_rain_and_wind_in_each_language(ambience: str) -> None:
    for seed, language in enumerate(LANGUAGES):
        word = WORDS[language][seed]
        mono = with_ambience(said((word, language, 0.6)), ambience, seed)
        found = word_in(mono, heard.hear_ambience(mono))
        assert found is not None
        assert found.word == word


@needs_espeak
@pytest.mark.parametrize("ambience", AMBIENCES)
def test_two_lines_are_parted_between_them_and_not_at_a_pause_within_a_word(ambience: str) -> None:
    mono = with_ambience(said(("goodbye", "en", 0.2), ("window", "en", 1.15)), ambience)
    first, second = heard.spoken_spans(mono, 2, ambience)
    assert first is not None
    assert second is not None
    assert 0.15 < first[0] < 0.3 < first[1] < 1.1 < second[0] < 1.25


@needs_espeak
def test_a_single_word_where_two_were_asked_for_leaves_the_second_turn_empty() -> None:
    first, second = heard.spoken_spans(said(("banana", "en", 0.2)), 2)
    assert first is not None
    assert second is None


@pytest.mark.parametrize("material", MATERIALS)
@pytest.mark.parametrize("ambience", AMBIENCES)
def test_materials_are_told_apart_in_any_weather(material: str, ambience: str) -> None:
    sound = impact_sound(material, strength=0.9, pitch=1.03, sample_rate=RATE, seed=3)
    mono = np.zeros(2 * RATE)
    mono[RATE // 2 : RATE // 2 + sound.size] = sound[: RATE + RATE // 2]
    assert heard.hear_material(with_ambience(mono, ambience), ambience) == material


@pytest.mark.parametrize("ambience", AMBIENCES)
def test_notes_are_heard_with_key_time_and_side_even_where_one_is_struck_again(
    ambience: str,
) -> None:
    keys = ("red", "red", "blue", "yellow")
    stereo = np.zeros((2, 3 * RATE))
    for number, key in enumerate(keys):
        start = round((0.2 + 0.5 * number) * RATE)
        sound = note_sound(key, sample_rate=RATE)
        left = 1.0 if KEYS.index(key) < 2 else 0.2
        right = 1.0 if KEYS.index(key) > 0 else 0.2
        stereo[:, start : start + sound.size] += np.outer((left, right), sound)
    notes = heard.hear_notes(stereo + ambient_sound(ambience, stereo.shape[1], RATE, 2))
    assert tuple(note.key for note in notes) == keys
    assert [note.side for note in notes] == ["left", "left", "right", "centre"]
    assert [note.time_s for note in notes] == pytest.approx([0.2, 0.7, 1.2, 1.7], abs=0.03)


@pytest.mark.parametrize("ambience", AMBIENCES)
@pytest.mark.parametrize("event", ["silence", "metal", "notes"])
def test_weather_is_heard_behind_what_rings_and_not_mistaken_for_it(
    ambience: str, event: str
) -> None:
    mono = np.zeros(2 * RATE)
    if event == "metal":
        for start_s, strength in ((0.5, 1.0), (1.1, 0.7), (1.6, 0.5)):
            sound = impact_sound("metal", strength=strength, pitch=1, sample_rate=RATE, seed=1)
            start = round(start_s * RATE)
            mono[start:] += sound[: mono.size - start]
    if event == "notes":
        for number in range(3):
            start = round((0.1 + 0.5 * number) * RATE)
            sound = note_sound("red", sample_rate=RATE)
            mono[start : start + sound.size] += sound[: mono.size - start]
    assert heard.hear_ambience(with_ambience(mono, ambience)) == ambience


def test_warping_finds_a_slower_sound_and_costs_what_the_cells_of_its_best_path_cost() -> None:
    rng = np.random.default_rng(0)
    spectrum, other = rng.uniform(0, 40, (6, 3)), rng.uniform(0, 40, (4, 3))
    slower = spectrum.repeat(2, axis=0)
    found = heard.warped_distances(spectrum, [slower, other])
    assert found[0] == pytest.approx(0, abs=1e-2)
    cost = np.sqrt(((spectrum[:, None] - other[None]) ** 2).mean(axis=-1))
    best = np.full((7, 5), np.inf)
    best[0, 0] = 0
    for i, j in itertools.product(range(6), range(4)):
        steps = (
            best[i, j] + 2 * cost[i, j],
            best[i, j + 1] + cost[i, j],
            best[i + 1, j] + cost[i, j],
        )
        best[i + 1, j + 1] = min(steps)
    assert found[1] == pytest.approx(best[6, 4] / 10, rel=1e-3)


def test_a_sound_of_another_rate_is_brought_to_the_one_that_is_measured() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000).astype(np.float32)
    stereo = heard.at_rate(np.stack([tone, 0 * tone]), 24_000)
    assert stereo is not None
    assert stereo.shape == (2, RATE)
    assert np.abs(np.fft.rfft(stereo[0])).argmax() == 440
    assert heard.side_of(stereo) == "left"
    assert heard.at_rate(np.zeros((2, 24_000), np.float32), 24_000) is None
