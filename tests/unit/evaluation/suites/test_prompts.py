import re
from collections import Counter

import pytest

from evaluation.suites.schema import load_suite
from ltx2.prompting.dialogue import Dialogue, read
from ltx2.prompting.languages import LANGUAGES
from ltx2.training.puppet.captions import BALL_TEMPLATES, FLOORS, SOUNDS, TURNS
from ltx2.training.puppet.scenes import KEYS, WORDS
from tests.conftest import ROOT

FILES = sorted((ROOT / "prompts").glob("*.yaml"))
SUITES = {path.stem: load_suite(path) for path in FILES}
OFFICIAL = ("en", "de", "es", "fr", "ja", "ko", "zh", "it", "pt")
SCRIPTS = {"ja": r"[\u3040-\u30ff]", "ko": r"[\uac00-\ud7a3]", "zh": r"[\u4e00-\u9fff]"}
OTHER_SCRIPTS = {"ar": r"[\u0600-\u06ff]", "hi": r"[\u0900-\u097f]", "ru": r"[\u0400-\u04ff]"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_suite_is_called_as_its_file(path):
    assert SUITES[path.stem].name == path.stem


def lines_of(language, length=None):
    return [
        item.lines[0].text
        for item in SUITES["multilingual"].items
        if item.language == language and "face" in item.tags and (length or "face") in item.tags
    ]


@pytest.mark.parametrize("language", OFFICIAL)
def test_every_language_has_five_short_ten_medium_and_five_named_lines(language):
    counts = [len(lines_of(language, length)) for length in ("short", "medium", "named")]
    assert counts == [5, 10, 5]
    if language in SCRIPTS:
        assert all(re.search(SCRIPTS[language], line) for line in lines_of(language))
    elif language != "ko":
        words = [len(line.replace(" ?", "?").split()) for line in lines_of(language, "medium")]
        assert all(8 <= count <= 14 for count in words), words
    assert all(re.search(r"\d", line) for line in lines_of(language, "named"))


def test_no_line_of_a_language_comes_twice():
    lines = [line for language in OFFICIAL for line in lines_of(language)]
    assert len(lines) == 180
    assert [line for line, count in Counter(lines).items() if count > 1] == []


def test_only_the_language_and_the_line_differ_between_items_of_one_view():
    frames = {
        item.prompt.replace(f'"{item.lines[0].text}"', "").replace(LANGUAGES[item.language], "")
        for item in SUITES["multilingual"].items
        if "face" in item.tags
    }
    assert len(frames) == 1


@pytest.mark.parametrize(("language", "script"), OTHER_SCRIPTS.items())
def test_languages_outside_the_list_are_written_in_their_script(language, script):
    lines = [i.lines[0].text for i in SUITES["dialects"].items if i.language == language]
    assert len(lines) == 6
    assert all(re.search(script, line) for line in lines)


def readable(name):
    return [item for item in SUITES[name].items if "narrator" not in item.tags]


@pytest.mark.parametrize("name", ["speakers", "multilingual"])
def test_prompts_are_worded_as_dialogue_that_reads_back_with_the_same_lines_and_places(name):
    for item in readable(name):
        if "voice-over" in item.tags:
            continue
        found = read(item.prompt)
        assert isinstance(found, Dialogue), item.id
        places = {speaker.name: speaker.place for speaker in item.speakers}
        said = [(line.text, found.speakers[line.speaker].place) for line in found.lines]
        assert said == [(line.text, places[line.speaker or ""]) for line in item.lines], item.id
        assert sorted(s.place or "" for s in found.speakers) == sorted(places.values())


@pytest.mark.parametrize("name", ["speakers", "puppet-speakers"])
def test_every_group_crosses_two_positions_with_two_orders(name):
    groups = {}
    for item in SUITES[name].items:
        groups.setdefault(item.group, []).append(item)
    for group, items in groups.items():
        variants = {(item.variant["position"], item.variant["order"]) for item in items}
        assert len(items) == len(variants) == 4, group
        assert len({item.prompt for item in items}) == 4, group
        if "narrator" not in group and "three" not in group:
            # The side, and the person, that speaks first says nothing about the other.
            places = [{s.name: s.place for s in item.speakers} for item in items]
            first = Counter(
                (item.lines[0].speaker, where[item.lines[0].speaker])
                for item, where in zip(items, places, strict=True)
            )
            assert sorted(first) == [("a", "left"), ("a", "right"), ("b", "left"), ("b", "right")]


def test_the_speaker_suite_has_about_120_scenes_of_every_kind():
    items = SUITES["speakers"].items
    assert 110 <= len(items) <= 130
    tags = Counter(tag for item in items for tag in item.tags)
    for tag in (
        "one-turn",
        "two-turns",
        "four-turns",
        "three-speakers",
        "narrator",
        "silent-other",
    ):
        assert tags[tag] >= 8, tag
    for pair in ("man-woman", "same-gender", "adult-child", "same-look"):
        assert tags[pair] >= 20, pair


def test_puppet_dialogue_is_worded_as_the_captions():
    from ltx2.prompting.dialogue import write
    from ltx2.training.puppet.taught import puppet_vocabulary

    known = puppet_vocabulary()
    for name in ("puppet-speakers", "puppet-languages"):
        for item in SUITES[name].items:
            found = read(item.prompt, known)
            assert isinstance(found, Dialogue), item.id
            assert write(found, known) == item.prompt
            assert [line.text for line in found.lines] == [line.text for line in item.lines]
            places = {speaker.name: speaker.place for speaker in item.speakers}
            said_at = [found.speakers[line.speaker].place for line in found.lines]
            assert said_at == [places[line.speaker or ""] for line in item.lines]


def test_puppet_languages_say_every_word_of_the_world_in_both_voices():
    said = Counter((item.language, item.lines[0].text) for item in SUITES["puppet-languages"].items)
    assert said == Counter({(code, word): 2 for code, words in WORDS.items() for word in words})


def test_puppet_balls_and_xylophones_are_worded_as_the_captions():
    for item in SUITES["puppet-foley"].items:
        if "music" in item.tags:
            keys = item.events[0].what.split(", ")
            assert set(keys) <= set(KEYS)
            assert item.prompt.endswith(f" background plays {TURNS.format(*keys)}.")
        else:
            assert any(
                item.prompt.endswith(f"bounces on {FLOORS[m]} with {SOUNDS[m]}.")
                for m in item.tags
                if m in FLOORS
            )
    assert BALL_TEMPLATES[0].startswith("{A} {colour} ball {place} bounces on")


def test_long_prompts_are_asked_at_seven_lengths():
    groups = {}
    for item in SUITES["long"].items:
        groups.setdefault(item.group, set()).add(item.shape.duration_s)
    assert len(groups) == 12
    assert all(lengths == {5, 10, 15, 20, 30, 40, 60} for lengths in groups.values())
