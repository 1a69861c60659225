"""Failures as one sentence on the page; the only place here that catches everything."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from ltx2.errors import GenerationCancelled, LTX2Error
from ltx2.ui.language import phrase, retold, say

logger = logging.getLogger(__name__)

MESSAGE_S = 20.0
"""How long a message stays, unless it is closed: long enough to read twice."""


BROKEN = phrase(
    "Something broke on our side. Your settings are kept: try again, and if it happens again, look "
    "at the server's log."
)


def error_in_words(error: LTX2Error) -> str:
    """What happened and what to do, for the visitor who asked."""
    return retold(str(error))


@contextmanager
def errors_on_page() -> Iterator[None]:
    """Whatever goes wrong inside becomes a `gr.Error` that a visitor can act on.

    Our own errors are shown as they are. Anything else is logged with its traceback and shown as
    a sentence that gives nothing away. `GenerationCancelled` passes: it is not a failure.

    Raises:
        gr.Error: for every failure.
    """
    try:
        yield
    except (gr.Error, GenerationCancelled):
        raise
    except LTX2Error as error:
        raise gr.Error(
            error_in_words(error),
            title=say("Error"),
            duration=MESSAGE_S,
            print_exception=False,
        ) from error
    except Exception as error:
        logger.exception("A generation failed unexpectedly")
        raise gr.Error(
            say(BROKEN),
            title=say("Error"),
            duration=MESSAGE_S,
            print_exception=False,
        ) from error
