"""The Models view, without a browser."""

from types import SimpleNamespace

import gradio as gr
import pytest

from ltx2.checkpoint.hub import Transfer
from ltx2.serving.access import Door
from ltx2.serving.downloads import Coming, Downloads, Halted
from ltx2.settings import Settings
from ltx2.ui.models import ModelsHandlers, render_states


def asked_from(address):
    return SimpleNamespace(client=SimpleNamespace(host=address), headers={"host": "127.0.0.1"})


@pytest.fixture
def handlers(queue, tmp_path):
    settings = Settings(data=tmp_path)
    return ModelsHandlers(queue, Downloads(tmp_path), Door(settings), settings)


def test_who_is_not_the_owner_is_refused_by_the_server_too(handlers):
    for ask in (handlers.on_start, handlers.on_stop):
        with pytest.raises(gr.Error, match="cannot change what this server holds"):
            ask("ltx-2-19b-dev", asked_from("10.0.0.1"))
    assert not handlers.downloads.is_busy


def test_every_offer_is_listed_with_what_is_known(handlers):
    here = handlers.on_open("ltx-2-19b-dev", asked_from("127.0.0.1"))[0]
    assert "stand-in" in here
    assert "no clip made yet" in here


def test_a_download_tells_bytes_rate_and_time(handlers):
    handlers.downloads._set("ltx-2-19b-dev", Coming(Transfer(10**9, 5 * 10**9, 1e8)))
    shown = render_states(handlers.downloads)
    assert "1.0 GB of 5.0 GB, 100.0 MB/s, 40 s left" in shown
    assert 'value="20.0"' in shown


def test_what_the_hub_says_is_escaped(handlers):
    handlers.downloads._set("ltx-2-19b-dev", Halted("<b>", "&"))
    assert "&lt;b&gt; &amp;" in render_states(handlers.downloads)
