import gradio as gr
import pytest

from ltx2.serving.models import Models
from ltx2.ui.memory import RESTORED, recall
from tests.unit.ui.stand_ins import ASKED, an_offer

KEPT = {**vars(ASKED), "shape": "Square", "mode": "dialogue"}


@pytest.fixture
def models():
    return Models([an_offer()], device="cpu")


def test_fields_come_back_with_their_limits(models):
    updates = dict(zip(RESTORED, recall(KEPT, models), strict=True))
    assert {name: update["value"] for name, update in updates.items()} == KEPT | {"lora": "None"}
    assert updates["num_steps"]["maximum"] == 60


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
