"""Who a visitor is: a number that their browser keeps and nobody else knows."""

import re
import secrets

import gradio as gr

from ltx2.errors import RequestError

STORAGE_KEY = "ltx2-visitor"
STORAGE_SECRET = "ltx2-workbench"
"""Obfuscates what the browser stores; the number itself is the secret."""

TOKEN_BYTES = 24
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")


def build_visitor(page: gr.Blocks) -> gr.BrowserState:
    """State that holds the visitor's number, drawn on the first visit."""
    visitor = gr.BrowserState("", storage_key=STORAGE_KEY, secret=STORAGE_SECRET)
    page.load(
        recognise, visitor, visitor, queue=False, show_progress="hidden", api_visibility="private"
    )
    return visitor


def is_known(number: object) -> bool:
    """Whether this is a number that a browser of ours keeps."""
    return isinstance(number, str) and _TOKEN.fullmatch(number) is not None


def recognise(number: str | None) -> str:
    """The visitor's number, or a new one."""
    return str(number) if is_known(number) else secrets.token_urlsafe(TOKEN_BYTES)


def checked(number: str | None) -> str:
    """The visitor's number.

    Raises:
        RequestError: the browser keeps none.
    """
    if not is_known(number):
        raise RequestError(
            "Your browser does not keep who you are.",
            next_step="Allow this page to store data, then reload it.",
        )
    return str(number)
