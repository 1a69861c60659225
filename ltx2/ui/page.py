"""The whole page: its frame, its look, its views, and how it is served."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import APIRouter

from ltx2.serving.access import Door
from ltx2.serving.downloads import Downloads
from ltx2.serving.http import build_router
from ltx2.serving.models import Offer
from ltx2.serving.shelf import downloads_root
from ltx2.serving.worker import JobQueue
from ltx2.settings import Settings
from ltx2.ui.examination import Examine
from ltx2.ui.generate import GENERATE, bind_generate, bind_open, build_generate
from ltx2.ui.grid import GRID, bind_grid, build_grid
from ltx2.ui.language import Label, label, translations
from ltx2.ui.library import bind_library, build_library
from ltx2.ui.models import bind_models, build_models
from ltx2.ui.tabs import ExtraTab, Surroundings
from ltx2.ui.visitors import build_visitor

STATIC = Path(__file__).parent / "static"

TITLE = "LTX-2 Workbench"

CACHE_SWEEP_S = 3_600
"""How often old clips are looked for."""

CACHE_AGE_S = 24 * 3_600
"""How long a clip can be played and downloaded after it was made."""

MAX_WAITING = 256
"""Calls that may wait, mostly of programs; later ones are told to come back."""


def build_page(
    queue: JobQueue,
    *,
    door: Door | None = None,
    downloads: Downloads | None = None,
    settings: Settings | None = None,
    extra_tabs: Sequence[ExtraTab] = (),
    examine: Examine | None = None,
) -> gr.Blocks:
    """The page around a queue, with every event bound, ready for `serve`.

    Args:
        queue: makes the clips.
        door: who may do what, how often; usually that of the usual settings.
        downloads: of weights; usually into the usual settings' folder.
        settings: that the server was started with.
        extra_tabs: after the page's own.
        examine: what is told beside every clip that was made.
    """
    settings = settings or Settings()
    door = door or Door(settings)
    downloads = downloads or Downloads(downloads_root(settings))
    with gr.Blocks(
        title=TITLE,
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(CACHE_SWEEP_S, CACHE_AGE_S),
    ) as page:
        about = label("Write what is seen and heard. One model makes picture and sound together.")
        gr.Markdown(f"# {TITLE}\n{about}", elem_id="masthead")
        visitor = build_visitor(page)
        with gr.Tabs() as tabs:
            with gr.Tab(label("Generate"), id=GENERATE):
                generate = build_generate(queue)
            with gr.Tab(label("Library"), id="library", render_children=True) as tab:
                library = build_library(tab)
            with gr.Tab(label("Grid"), id=GRID, render_children=True) as grid_tab:
                grid = build_grid(grid_tab, queue.models[0])
            with gr.Tab(label("Models"), id="models", render_children=True) as models_tab:
                models = build_models(models_tab, downloads)
        bind_generate(generate, queue, visitor, page, door, examine)
        bind_library(library, queue, visitor)
        bind_grid(grid, queue, visitor, page, tabs, door)
        bind_models(models, queue, downloads, door, settings)
        bind_open(library.open, library.job, generate, queue, visitor, tabs)
        for extra in extra_tabs:
            with tabs, gr.Tab(extra.title, id=extra.id, render_children=True) as tab:
                extra.build(Surroundings(page, tabs, tab, visitor, queue, door, settings))
        gr.Markdown(describe_origin(queue.models[0].offers), elem_id="colophon")
    return page


def describe_origin(offers: Sequence[Offer]) -> Label:
    """Which models make the clips, under which licences, and what the clips are."""
    named = ", ".join(o.name if o.licence is None else f"{o.name} ({o.licence})" for o in offers)
    if len(offers) == 1:
        return label("Model: {names}. Clips are AI-generated, and each file says so.", names=named)
    return label("Models: {names}. Clips are AI-generated, and each file says so.", names=named)


def build_theme() -> gr.themes.Base:
    """Quiet paper and one green; only fonts that the visitor's machine already has."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_md,
        font=["ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color_subdued="*neutral_500",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="1px",
        block_shadow="none",
        block_info_text_color="*neutral_500",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        input_background_fill_dark="*neutral_800",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        checkbox_background_color_selected="*primary_700",
        checkbox_background_color_selected_dark="*primary_600",
        checkbox_border_color_selected="*primary_700",
        loader_color="*primary_700",
        loader_color_dark="*primary_500",
        slider_color="*primary_700",
        slider_color_dark="*primary_500",
    )


def serve(
    page: gr.Blocks,
    queue: JobQueue,
    *,
    door: Door | None = None,
    open_browser: bool = False,
    routers: Sequence[APIRouter] = (),
    styles: Sequence[Path] = (),
    look: str = "system",
    **launch: Any,
) -> None:
    """Serve the page and the interface for programs until the process is stopped.

    Args:
        page: what `build_page` made.
        queue: what it was made for.
        door: who may come in.
        open_browser: show it on this machine's screen.
        routers: further pages of the same server.
        styles: further files of CSS.
        look: "light", "dark", or what each browser wants.
        launch: further arguments of Gradio's `launch`.
    """
    # Gradio leaves direct posts open by default, past the queue and its limit of one at a time.
    page.queue(api_open=False, max_size=MAX_WAITING)
    app, _, _ = page.launch(
        inbrowser=open_browser,
        prevent_thread_lock=True,
        footer_links=["api", "settings"],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        theme=build_theme(),
        i18n=translations(),
        js=_script(look),
        # Else a machine too busy to answer itself within three seconds would not start at all.
        _frontend=False,
        css_paths=[STATIC / "page.css", *styles],
        **launch,
    )
    # Before Gradio's own routes, the last of which takes every address.
    own = list(app.router.routes)
    for router in (build_router(queue, door), *routers):
        app.include_router(router)
    app.router.routes[:] = [*(route for route in app.router.routes if route not in own), *own]
    page.block_thread()


def _script(look: str) -> str:
    """What runs once the page is there; an address that names a look goes before the server's."""
    repair = (STATIC / "page.js").read_text("utf-8")
    if look == "system":
        return repair
    return f"""
    () => {{
        ({repair.rstrip().rstrip(";").partition("*/")[2]})();
        if (!new URL(location.href).searchParams.has("__theme"))
            document.body.classList.toggle("dark", {str(look == "dark").lower()});
    }}
    """
