import pytest

from evaluation.metrics.cp_error import cp_edits


def split(**texts):
    return {name: text.split() for name, text in texts.items()}


def test_names_of_the_voices_do_not_matter():
    edits, match = cp_edits(split(anna="hello there", ben="go away"), split(x="go away", y="hello"))
    assert (edits.deletions, edits.rate) == (1, 0.25)
    assert match == {"anna": "y", "ben": "x"}


def test_a_line_said_by_the_wrong_voice_costs_twice():
    edits, _ = cp_edits(split(a="one two three", b="four"), split(x="one two three four"))
    assert edits.rate == 0.5


def test_without_anybody_there_are_no_edits():
    assert cp_edits({}, {})[0].rate == 0


@pytest.mark.parametrize(
    ("asked", "heard"),
    [
        (split(a="one two", b="three"), split(x="three", y="one two")),
        (split(a="one two", b="three four"), split(x="one two three four")),
        (split(a="one two"), split(x="one", y="five six")),
    ],
)
def test_the_rate_is_that_of_meeteval(asked, heard):
    wer = pytest.importorskip("meeteval.wer")
    reference = wer.cp_word_error_rate(
        {name: " ".join(words) for name, words in asked.items()},
        {name: " ".join(words) for name, words in heard.items()},
    )
    assert cp_edits(asked, heard)[0].rate == pytest.approx(reference.error_rate)
