import pytest
from pydantic import ValidationError

from ltx2.prompting.vocabulary import Vocabulary, nearest, vocabulary_of, words_outside_quotes


def test_a_vocabulary_survives_json(puppet):
    assert Vocabulary.model_validate_json(puppet.model_dump_json()) == puppet


def test_unknown_fields_and_empty_vocabularies_are_errors(puppet):
    fields = puppet.model_dump(mode="json")
    with pytest.raises(ValidationError, match="colour"):
        Vocabulary.model_validate({**fields, "colour": "red"})
    with pytest.raises(ValidationError, match="words"):
        Vocabulary.model_validate({**fields, "words": []})
    with pytest.raises(ValidationError, match="frozen"):
        puppet.words = ("new",)


def test_words_and_lengths_come_from_the_captions_and_lines_do_not_count_as_words():
    vocabulary = vocabulary_of(
        ['A puppet says "Banana".', "Une marionnette d'eau"],
        languages=("en", "fr"),
        sayings={"en": ("banana",)},
        talk=None,
    )
    assert vocabulary.words == ("a", "d'eau", "marionnette", "puppet", "says", "une")
    assert (vocabulary.min_words, vocabulary.max_words) == (3, 4)


def test_words_are_lower_case_and_in_order():
    assert words_outside_quotes('The T-shirt, 3 "quoted words" größer!') == [
        "the",
        "t-shirt",
        "größer",
    ]


def test_looks_and_settings_are_all_combinations_of_the_parts(puppet_talk):
    looks = puppet_talk.all_looks()
    assert len(looks) == len(set(looks)) == 6 * 4 * 4
    assert {"an orange puppet", "a red puppet with pink hair and a top hat"} <= set(looks)
    settings = puppet_talk.all_settings()
    assert len(settings) == len(set(settings)) == 5 * 3 * 4
    assert {"cyan background", "grey background. It rains. The camera pans left"} <= set(settings)


def test_the_nearest_word_is_found_or_none():
    assert nearest("Bananna", ("apple", "banana")) == "banana"
    assert nearest("zzz", ("apple", "banana")) is None
