import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltx2.prompting.enhance import Proposal, Refused, Run, diff_words, propose
from ltx2.prompting.quotes import ALL_MARKS, find_quotes
from ltx2.request import MAX_PROMPT_CHARACTERS

PROMPT = 'A man says “Wait…  \u2013 no!” and a woman answers "Yes".'


def writes(text):
    return lambda prompt: text


def replaces(old, new):
    return lambda prompt: prompt.replace(old, new)


def test_quoted_lines_are_hidden_from_the_language_model_and_restored_unchanged():
    seen = []

    def enhancer(prompt):
        seen.append(prompt)
        return "**A tall man** says softly \u2013 [LINE 1]\n\nand a woman “[LINE 2]”."

    proposal = propose(PROMPT, enhancer)
    assert seen == ["A man says [LINE 1] and a woman answers [LINE 2]."]
    assert isinstance(proposal, Proposal)
    assert proposal.original == PROMPT
    assert proposal.enhanced == ('A tall man says softly - “Wait…  \u2013 no!” and a woman "Yes".')


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("  …  ", "wrote nothing"),
        ("A man says [LINE 1].", "left out quoted line 2"),
        ("[LINE 2] and [LINE 1]", "changed the order"),
        ("[LINE 1] [LINE 2] [LINE 1]", "repeated a quoted line"),
        ("[LINE 1] [LINE 2] [LINE 3]", "made up a quoted line"),
        ('[LINE 1] [LINE 2] and "more"', "quotation marks of its own"),
        ('[LINE 1] [LINE 2] and " more', "quotation marks of its own"),
        ('He says "well, [LINE 1], indeed" and [LINE 2]', "quotation marks of its own"),
        (f"[LINE 1] [LINE 2] {'a' * MAX_PROMPT_CHARACTERS}", "too long"),
    ],
)
def test_a_text_that_changes_what_is_said_is_refused_with_the_reason(written, reason):
    refused = propose(PROMPT, writes(written))
    assert isinstance(refused, Refused)
    assert reason in refused.reason


@pytest.mark.parametrize("prompt", ['A man says "yes', "A man says [LINE 1]."])
def test_a_prompt_that_cannot_be_locked_is_not_shown_to_the_language_model(prompt):
    def enhancer(prompt):
        raise AssertionError("called")

    assert isinstance(propose(prompt, enhancer), Refused)


def test_without_quoted_lines_the_language_model_may_add_one():
    proposal = propose("A man greets us.", writes('A man says: "Hello!"'))
    assert isinstance(proposal, Proposal)
    assert Run("added", 'says: "Hello!"') in proposal.diff


def test_marks_around_the_whole_answer_are_dropped():
    assert propose("A dog", writes('"A big dog."')).enhanced == "A big dog."


def test_the_difference_is_runs_of_words():
    assert diff_words("A man walks slowly.", "A tall man runs.") == (
        Run("kept", "A"),
        Run("added", "tall"),
        Run("kept", "man"),
        Run("removed", "walks slowly."),
        Run("added", "runs."),
    )


def test_a_quoted_line_is_never_split_by_the_difference():
    runs = diff_words('He says "one two three".', 'She says "one two three".')
    assert runs[-1] == Run("kept", 'says "one two three".')


texts = st.lists(st.sampled_from(["a", "b", '"c d"', "é", "\n", " "])).map(" ".join)


@given(texts, texts)
def test_the_difference_holds_both_texts(original, enhanced):
    runs = diff_words(original, enhanced)
    for gone, text in (("added", original), ("removed", enhanced)):
        parts = [run.text for run in runs if run.kind != gone]
        assert " ".join(parts) == " ".join(text.split())


@given(st.lists(st.text(max_size=20).filter(lambda t: not ALL_MARKS & set(t)), max_size=4))
def test_whatever_is_quoted_comes_back_as_it_was(lines):
    prompt = " ".join(f'Somebody says "{line}" and' for line in lines) + " all is still."
    proposal = propose(prompt, replaces("Somebody", "A tall man"))
    if not isinstance(proposal, Refused):
        assert [quote.text for quote in find_quotes(proposal.enhanced).quotes] == lines
    else:
        assert any("[LINE" in line for line in lines)
