import gradio as gr
import pytest

from ltx2.serving.models import Models
from ltx2.ui.form import LORA_FIELDS
from ltx2.ui.memory import RESTORED, recall
from tests.unit.ui.stand_ins import ASKED, an_offer

KEPT = {
    **vars(ASKED),
    "shape": "Square",
    "mode": "dialogue",
    "frame_rate": 30.0,
    "sampler": "res_2s",
    "upscale": True,
    **{of_sound: 0.25 for _, _, of_sound in LORA_FIELDS},
}


@pytest.fixture
def models():
    return Models([an_offer()], device="cpu")


def test_fields_come_back_with_their_limits(models):
    updates = dict(zip(RESTORED, recall(KEPT, models), strict=True))
    assert {name: update["value"] for name, update in updates.items()} == KEPT
    assert updates["num_steps"]["maximum"] == 60


def test_what_an_earlier_page_kept_still_comes_back(models):
    earlier = {name: KEPT[name] for name in KEPT if name not in ("frame_rate", "sampler", "lora_2")}
    updates = dict(zip(RESTORED, recall(earlier, models), strict=True))
    assert updates["prompt"]["value"] == ASKED.prompt
    assert (updates["frame_rate"]["value"], updates["lora_2"]["value"]) == (25.0, "None")
    assert updates["sampler"]["value"] == "euler"


@pytest.mark.parametrize("mode", [None, "gone"])
def test_a_mode_that_is_not_there_is_that_of_text(models, mode):
    updates = dict(zip(RESTORED, recall(KEPT | {"mode": mode}, models), strict=True))
    assert updates["mode"]["value"] == "text"
    assert updates["prompt"]["value"] == ASKED.prompt


@pytest.mark.parametrize(
    "memory",
    [
        None,
        {},
        "text",
        ["prompt"],
        {"prompt": "a"},
        KEPT | {"model": "gone"},
        KEPT | {"prompt": 3},
        KEPT | {"num_steps": "many"},
        KEPT | {"randomize_seed": "yes"},
    ],
)
def test_what_is_of_no_use_changes_nothing(models, memory):
    assert all(update == gr.skip() for update in recall(memory, models))
