import zipfile
from pathlib import Path

import gradio as gr
import pytest

from ltx2.serving.jobs import Done
from ltx2.ui.grid import GridHandlers
from tests.unit.ui.stand_ins import OTHER, VISITOR

FORM = ["A <b>ball</b>.", "1-2", "2, 3", "", "0.4", [], [], "", None]


@pytest.fixture
def handlers(queue, tmp_path):
    return GridHandlers(queue, tmp_path / "cache")


def test_the_plan_counts_the_clips_and_shows_prompts_as_text(handlers):
    plan = handlers.on_preview(*FORM)
    assert "4 clips" in plan
    assert "A &lt;b&gt;ball&lt;/b&gt;." in plan
    assert "<b>" not in plan


def test_a_file_goes_before_the_fields(handlers, tmp_path):
    path = tmp_path / "grid.csv"
    path.write_text("prompt,seed\nx,1|2|3\n")
    assert "3 clips" in handlers.on_preview(*FORM[:-1], str(path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(gr.Error, match="UTF-8"):
        handlers.on_preview(*FORM[:-1], str(path))


def test_a_grid_fills_with_links_to_its_clips_and_can_be_taken_away(handlers, queue):
    _, group, plan = handlers.on_run(VISITOR, *FORM)
    assert plan == ""
    status, matrix, _, stop, timer, seen = handlers.on_show(VISITOR, group)
    assert "0 of 4 clips made" in status
    assert matrix.count("waiting") == 4
    assert stop["visible"]
    assert timer.active
    assert handlers.on_poll(VISITOR, group, seen)[1] == gr.skip()
    for cell in queue.group(VISITOR, group):
        assert isinstance(queue.make_now(cell.job, queue.models[0]).state, Done)
    status, matrix, _, stop, timer, _ = handlers.on_poll(VISITOR, group, seen)
    assert "4 of 4 clips made" in status
    assert matrix.count('href="?job=') == matrix.count("data:image/jpeg") == 4
    assert not stop["visible"]
    assert not timer.active
    with zipfile.ZipFile(handlers.on_archive(VISITOR, group)) as archive:
        assert len(archive.namelist()) == 5
    assert "made_in_s" in Path(handlers.on_csv(VISITOR, group)).read_text()


def test_a_stopped_grid_says_so(handlers):
    _, group, _ = handlers.on_run(VISITOR, *FORM)
    assert "4 failed or stopped" in handlers.on_stop(VISITOR, group)[0]


def test_a_grid_is_shown_to_its_visitor_alone(handlers):
    _, group, _ = handlers.on_run(VISITOR, *FORM)
    assert "not here" in handlers.on_show(OTHER, group)[0]
    assert handlers.on_list(OTHER, group)["choices"] == []
    ((name, listed),) = handlers.on_list(VISITOR, group)["choices"]
    assert listed == group
    assert "4 clips" in name


def test_a_program_that_waits_is_answered_when_the_queue_closes(queue):
    import threading

    from tests.unit.ui.stand_ins import handlers as generating

    answers = []

    def ask():
        try:
            generating(queue).generate_video(prompt="A ball.")
        except gr.Error as error:
            answers.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    while queue.store.num_queued() == 0:
        asking.join(0.05)
    queue.close()
    asking.join(20.0)
    assert not asking.is_alive()
    assert "stopping" in answers[0]
