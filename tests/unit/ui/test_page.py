import inspect
import subprocess
import sys

import pytest

from ltx2.ui.api import GENERATE_VIDEO, GENERATE_VIDEO_PARAMETERS
from ltx2.ui.page import build_page, render_colophon
from ltx2.ui.studio import Offer, Studio
from tests.conftest import ROOT
from tests.fakes.model import PROFILE, FakeModel


@pytest.fixture
def page():
    return build_page(Studio([Offer("stand-in", PROFILE, lambda loras: FakeModel())]))


def test_the_public_endpoint_keeps_its_name_and_parameters(page):
    endpoints = page.get_api_info()["named_endpoints"]
    assert list(endpoints) == [f"/{GENERATE_VIDEO}"]
    endpoint = endpoints[f"/{GENERATE_VIDEO}"]
    names = tuple(parameter["parameter_name"] for parameter in endpoint["parameters"])
    assert names == GENERATE_VIDEO_PARAMETERS
    optional = [p["parameter_name"] for p in endpoint["parameters"] if p["parameter_has_default"]]
    assert optional == [name for name in names if name != "prompt"]
    assert [answer["component"] for answer in endpoint["returns"]] == ["Video", "Number"]


def test_one_clip_is_made_at_a_time(page):
    made = next(fn for fn in page.fns.values() if fn.api_name == GENERATE_VIDEO)
    assert (made.concurrency_limit, made.queue) == (1, True)


def test_the_licence_of_the_weights_is_shown():
    licensed = Offer("ltx-2-19b-dev", PROFILE, FakeModel, "LTX-2 Community License")
    mine = Offer("mine", PROFILE, FakeModel)
    shown = render_colophon([licensed])
    assert shown.startswith("Model: ltx-2-19b-dev (LTX-2 Community License). ")
    assert render_colophon([mine]).startswith("Model: mine. ")
    both = render_colophon([licensed, mine])
    assert both.startswith("Models: ltx-2-19b-dev (LTX-2 Community License), mine. ")


@pytest.mark.parametrize("module", ["app", "ltx2", "ltx2.ui.page"])
def test_pytorch_is_not_imported_before_the_first_clip(module):
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_the_page_is_built_without_pytorch(puppet_folder):
    code = inspect.cleandoc(
        """
        import sys
        from ltx2.settings import Settings
        from ltx2.ui.page import build_page, render_colophon
        from ltx2.ui.studio import open_studio
        build_page(open_studio(Settings()))
        sys.exit('torch' in sys.modules)
        """
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
