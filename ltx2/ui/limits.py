"""How often a visitor may press a button that costs the server something."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from ltx2.serving.access import Door
from ltx2.ui.errors import errors_on_page


def limited(handler: Callable[..., Any], door: Door) -> Callable[..., Any]:
    """The handler, whose first value is the visitor, behind the door's limits."""

    def ask(request: gr.Request, owner: str, *values: Any) -> Any:
        with errors_on_page():
            door.admit(str(owner), request)
        return handler(owner, *values)

    # Not `functools.wraps`: Gradio has to see the parameter that it fills with the request.
    ask.__name__ = handler.__name__
    return ask
