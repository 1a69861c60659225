"""Limits of buttons, as Gradio calls them."""

from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.helpers import special_args

from ltx2.serving.access import Door
from ltx2.settings import Settings
from ltx2.ui.limits import limited


def on_press(owner, text):
    return owner, text


def test_gradio_hands_the_request_over_and_the_values_keep_their_order():
    ask = limited(on_press, Door())
    request = SimpleNamespace(client=SimpleNamespace(host="1.1.1.1"), headers={})
    values, *_ = special_args(ask, ["ann", "hello"], request)
    assert ask(*values) == ("ann", "hello")
    assert ask.__name__ == "on_press"


def test_who_presses_too_often_is_told_how_long_to_wait():
    ask = limited(on_press, Door(Settings(visitor_rate=2)))
    assert [ask(None, "ann", "x") for _ in range(2)] == [("ann", "x")] * 2
    with pytest.raises(gr.Error, match=r"Try again in \d+ s"):
        ask(None, "ann", "x")
