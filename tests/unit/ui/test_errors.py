import logging

import gradio as gr
import pytest

from ltx2.errors import GenerationCancelled, RequestError
from ltx2.ui.errors import errors_on_page


def test_our_error_is_shown_with_its_next_step():
    with pytest.raises(gr.Error) as shown, errors_on_page():
        raise RequestError("The width is 9 px.", next_step="Choose 64 to 128 px.")
    assert shown.value.message == "The width is 9 px. Choose 64 to 128 px."


def test_an_unexpected_error_shows_nothing_of_itself_and_is_logged_once(caplog):
    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(gr.Error) as shown,
        errors_on_page(),
    ):
        raise RuntimeError("/secret/path")
    assert "secret" not in shown.value.message
    assert "try again" in shown.value.message
    assert len(caplog.records) == 1
    assert "/secret/path" in caplog.text


def test_a_stop_is_not_an_error():
    with pytest.raises(GenerationCancelled), errors_on_page():
        raise GenerationCancelled


def test_messages_of_gradio_pass_unchanged():
    error = gr.Error("as it is")
    with pytest.raises(gr.Error) as shown, errors_on_page():
        raise error
    assert shown.value is error
