from pathlib import Path

import gradio as gr
import pytest

from ltx2.request import AppliedLora, Guidance
from ltx2.ui.compare import SETTINGS, ComparisonHandlers, differences
from ltx2.ui.result import Shown
from tests.unit.ui.stand_ins import OTHER, VISITOR, a_recipe, made, submitted


@pytest.fixture
def handlers(queue, tmp_path):
    return ComparisonHandlers(queue, tmp_path / "cache")


def test_finished_clips_of_the_visitor_but_the_shown_one_are_offered(queue, handlers):
    shown, other = made(queue, prompt="first"), made(queue, prompt="second")
    made(queue, OTHER)
    submitted(queue)
    update, pair = handlers.on_list(VISITOR, Shown(shown.id))
    assert [job for _, job in update["choices"]] == [other.id]
    assert "second" in update["choices"][0][0]
    assert (update["value"], pair) == (None, None)


def test_who_has_no_number_yet_has_no_clips(handlers):
    assert handlers.on_list("", Shown())[0]["choices"] == []


def test_both_clips_can_be_played_and_what_differs_is_said(queue, handlers):
    one, two = made(queue, seed=1), made(queue, seed=2)
    pair = handlers.on_choose(VISITOR, Shown(one.id), two.id)
    assert [Path(path).read_bytes()[4:8] for path in pair["clips"]] == [b"ftyp"] * 2
    assert pair["differences"] == [("Seed", "1", "2")]
    assert handlers.on_choose(VISITOR, Shown(one.id), None) is None


def test_a_clip_of_another_visitor_is_refused(queue, handlers):
    one, two = made(queue), made(queue, OTHER)
    with pytest.raises(gr.Error):
        handlers.on_choose(VISITOR, Shown(one.id), two.id)


def test_while_a_clip_is_made_there_is_nothing_to_compare_with(queue, handlers):
    with pytest.raises(gr.Error, match="not made yet"):
        handlers.on_choose(VISITOR, Shown(submitted(queue).id), made(queue).id)


def test_differences_are_named_in_the_words_of_the_form():
    lora = AppliedLora(file="paper.safetensors", strength=0.5, digest="")
    one = a_recipe(num_steps=4)
    two = a_recipe(num_steps=8, video_guidance=Guidance(cfg_scale=3.5), loras=(lora,))
    assert list(differences(one, two)) == [
        ("LoRAs", "-", "paper.safetensors 0.5"),
        ("Steps", "4", "8"),
        ("Guidance, picture: cfg scale", "2", "3.5"),
    ]
    assert list(differences(one, one)) == []


def test_every_setting_that_is_named_is_one_of_a_recipe():
    known = {*a_recipe().request.model_dump(), "model", "loras"}
    assert set(SETTINGS) <= known
