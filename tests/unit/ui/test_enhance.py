import gradio as gr
import pytest

from ltx2.prompting.enhance import Run
from ltx2.prompting.local_enhancer import NoEnhancer
from ltx2.ui.enhance import ImprovementHandlers, enhancer_beside, render_diff
from tests.unit.ui.stand_ins import an_offer

PROMPT = 'a man says  "Oh <b>no</b>"'


def without_model():
    return ImprovementHandlers(lambda name: an_offer(), lambda offer: NoEnhancer("There is none."))


def with_model(answer):
    return ImprovementHandlers(lambda name: an_offer(), lambda offer: lambda prompt: answer)


def test_without_a_language_model_it_says_so_and_tidies():
    column, diff, edited, use, original = without_model().on_improve(PROMPT, None)
    assert column["visible"]
    assert use["visible"]
    assert "There is none." in diff
    assert (edited["value"], original) == ('A man says "Oh <b>no</b>".', PROMPT)


def test_a_prompt_that_is_tidy_offers_nothing_to_take():
    _, diff, edited, use, _ = without_model().on_improve("A man.", None)
    assert "Nothing to put right" in diff
    assert not edited["visible"]
    assert not use["visible"]


def test_what_a_language_model_writes_is_shown_or_refused_with_the_reason():
    good = with_model("A tall man says [LINE 1].").on_improve(PROMPT, None)
    assert good[2]["value"] == 'A tall man says "Oh <b>no</b>".'
    bad = with_model("A tall man is silent.").on_improve(PROMPT, None)
    assert "left out quoted line 1" in bad[1]
    assert not bad[3]["visible"]


def test_an_empty_prompt_is_refused():
    with pytest.raises(gr.Error, match="prompt is empty"):
        without_model().on_improve("  ", None)


def test_quoted_lines_are_locked_byte_for_byte():
    page = without_model()
    assert page.on_use('He says "Oh <b>no</b>"!', PROMPT)[0] == 'He says "Oh <b>no</b>"!'
    with pytest.raises(gr.Error, match="not those of your prompt"):
        page.on_use('He says "oh <b>no</b>"!', PROMPT)


def test_the_diff_marks_words_by_signs_and_shows_them_as_text():
    shown = render_diff("Note", (Run("kept", "a"), Run("removed", "<i>"), Run("added", '"c"')))
    assert "<del" in shown
    assert "\u2212&lt;i&gt;</del>" in shown
    assert "+&quot;c&quot;</ins>" in shown


def test_an_offer_without_files_has_no_language_model():
    assert isinstance(enhancer_beside(an_offer()), NoEnhancer)
