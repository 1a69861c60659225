import inspect
import subprocess
import sys

import gradio as gr
import pytest

from ltx2.ui.api import GENERATE_VIDEO, GENERATE_VIDEO_PARAMETERS
from ltx2.ui.page import build_page, describe_origin, serve
from ltx2.ui.tabs import ExtraTab
from tests.conftest import ROOT
from tests.fakes.model import PROFILE
from tests.unit.ui.stand_ins import an_offer


@pytest.fixture
def page(queue):
    return build_page(queue)


def test_the_public_endpoint_keeps_its_name_and_parameters(page):
    endpoints = page.get_api_info()["named_endpoints"]
    assert list(endpoints) == [f"/{GENERATE_VIDEO}"]
    endpoint = endpoints[f"/{GENERATE_VIDEO}"]
    names = tuple(parameter["parameter_name"] for parameter in endpoint["parameters"])
    assert names == GENERATE_VIDEO_PARAMETERS
    optional = [p["parameter_name"] for p in endpoint["parameters"] if p["parameter_has_default"]]
    assert optional == [name for name in names if name != "prompt"]
    assert [answer["component"] for answer in endpoint["returns"]] == ["Video", "Number"]


def test_programs_that_wait_leave_threads_for_the_page(page):
    generate = next(fn for fn in page.fns.values() if fn.api_name == GENERATE_VIDEO)
    assert generate.queue
    assert 1 < generate.concurrency_limit <= page.max_threads / 2


def test_every_other_event_is_private(page):
    public = [fn.api_name for fn in page.fns.values() if fn.api_visibility != "private"]
    assert public == [GENERATE_VIDEO]


def test_what_a_visitor_asks_for_can_be_refused_aloud(page):
    queued = {fn.fn.__name__ for fn in page.fns.values() if fn.queue and fn.fn is not None}
    assert queued >= {"on_submit", "on_again", "on_stop", "on_clip", "on_use"}
    assert queued >= {"on_list", "on_choose", "on_favourite", "on_delete", "on_restore"}


def test_asking_how_far_a_job_is_does_not_wait_behind_clips(page):
    ticks = [fn for fn in page.fns.values() if "tick" in str(fn.targets)]
    assert ticks
    assert not any(tick.queue for tick in ticks)


def test_no_folder_is_served_and_nobody_skips_the_queue(queue, page, monkeypatch):
    monkeypatch.setattr(page, "block_thread", lambda: None)
    serve(page, queue, server_name="127.0.0.1", quiet=True)
    try:
        assert page.allowed_paths == []
        assert page.api_open is False
    finally:
        page.close(verbose=False)


def test_the_licence_of_the_weights_is_shown():
    licensed = an_offer(name="ltx-2-19b-dev", licence="LTX-2 Community License")
    mine = an_offer(name="mine")
    shown = describe_origin([licensed]).text
    assert shown.startswith("Model: ltx-2-19b-dev (LTX-2 Community License). ")
    assert "AI-generated" in shown
    assert describe_origin([mine]).text.startswith("Model: mine. ")
    both = describe_origin([licensed, mine]).text
    assert both.startswith("Models: ltx-2-19b-dev (LTX-2 Community License), mine. ")


@pytest.mark.parametrize("examples", [(), ("a ball",) * 9])
def test_the_page_is_built_with_any_number_of_examples(open_queue, examples):
    build_page(
        open_queue(an_offer(profile=PROFILE.model_copy(update={"example_prompts": examples})))
    )


def test_an_extra_tab_is_built_last_with_what_the_page_has(queue):
    seen = []

    def build(surroundings):
        seen.append(surroundings)
        gr.Markdown("inside")

    page = build_page(queue, extra_tabs=[ExtraTab("extra", "Extra", build)])
    (around,) = seen
    assert (around.page, around.queue) == (page, queue)
    assert [tab.id for tab in around.tabs.children][-1] == "extra"
    assert [child.value for child in around.tab.children] == ["inside"]


@pytest.mark.slow
@pytest.mark.parametrize("module", ["app", "ltx2", "ltx2.ui.page"])
def test_pytorch_is_not_imported_before_the_first_clip(module):
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


@pytest.mark.slow
def test_the_page_is_built_without_pytorch(puppet_folder, tmp_path):
    code = inspect.cleandoc(
        """
        import sys
        from pathlib import Path
        from ltx2.serving.models import Models, open_offers
        from ltx2.serving.store import Store
        from ltx2.serving.worker import JobQueue
        from ltx2.settings import Settings
        from ltx2.ui.page import build_page
        folder = Path(sys.argv[1])
        models = Models(open_offers(Settings()))
        build_page(JobQueue(Store(folder / "jobs.sqlite"), [models], folder / "clips"))
        sys.exit('torch' in sys.modules)
        """
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
