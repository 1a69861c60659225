"""Tabs that somebody else brings to the page: `app.py` passes those of the workbench in."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from ltx2.serving.access import Door
from ltx2.serving.worker import JobQueue
from ltx2.settings import Settings


@dataclass(frozen=True)
class Surroundings:
    """What a tab may use of the page that it is on.

    Attributes:
        page: all of it, for events such as `load`.
        tabs: to select a tab.
        tab: the tab itself, empty so far.
        visitor: number of whoever looks; see `ltx2.ui.visitors`.
        queue: makes clips and knows those that visitors have.
        door: who owns the server, and how often visitors may ask.
        settings: that the server was started with.
    """

    page: gr.Blocks
    tabs: gr.Tabs
    tab: gr.Tab
    visitor: gr.BrowserState
    queue: JobQueue
    door: Door
    settings: Settings


@dataclass(frozen=True)
class ExtraTab:
    """A tab after the page's own ones.

    Attributes:
        id: what `gr.Tabs(selected=...)` calls it; other than those of all other tabs.
        title: text, or what Gradio translates.
        build: lays it out and binds its events; called inside the tab, once all of the page's own
            parts are there.
        styles: files of CSS that it needs.
    """

    id: str
    title: Any
    build: Callable[[Surroundings], None]
    styles: tuple[Path, ...] = field(default=())
