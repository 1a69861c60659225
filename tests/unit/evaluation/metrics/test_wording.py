import pytest

from evaluation.metrics.wording import align, count_edits, tokens


@pytest.mark.parametrize(
    ("language", "written", "spoken"),
    [
        ("en", "Place white in J3, please.", "place white in j three please"),
        ("en-GB", "It's 1,200 STEPS!", "its one thousand two hundred steps"),
        ("de", "Ich habe 21 Äpfel.", "ich habe einundzwanzig äpfel"),
        ("fr", "C\u2019est l'été", "c est l été"),
        ("es", "¿Qué hora es?", "qué hora es"),
    ],
)
def test_spelling_is_no_difference(language, written, spoken):
    assert tokens(written, language) == tokens(spoken, language)


def test_chinese_and_japanese_are_compared_by_character():
    assert tokens("你好, 世界!", "zh") == ["你", "好", "世", "界"]
    assert tokens("こんにちは。", "ja") == list("こんにちは")


def test_accents_are_a_difference():
    assert tokens("pájaro", "es") != tokens("pajaro", "es")


def test_every_kind_of_edit_is_counted():
    edits = count_edits(["a", "b", "c", "d"], ["a", "x", "c", "d", "e"])
    assert (edits.substitutions, edits.deletions, edits.insertions) == (1, 0, 1)
    assert edits.rate == pytest.approx(0.5)
    assert count_edits(["a", "b"], []).rate == 1.0


@pytest.mark.parametrize(
    ("asked", "heard"),
    [("the cat sat", "a cat sat down"), ("one two three", "two three four five"), ("x", "y z")],
)
def test_the_rate_is_that_of_jiwer(asked, heard):
    jiwer = pytest.importorskip("jiwer")
    assert count_edits(asked.split(), heard.split()).rate == pytest.approx(jiwer.wer(asked, heard))


def test_words_keep_their_order_when_aligned():
    pairs = align(["how", "are", "you", "fine"], ["how", "you", "fine", "thanks"])
    assert pairs == [(0, 0), (1, None), (2, 1), (3, 2), (None, 3)]
