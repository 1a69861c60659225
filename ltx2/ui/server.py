"""The server: settings, the queue, the page, launch."""

import logging
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter

from ltx2.media.provenance import open_signer
from ltx2.serving.access import Door
from ltx2.serving.downloads import Downloads
from ltx2.serving.models import Models, open_offers
from ltx2.serving.shelf import downloads_root
from ltx2.serving.store import Store
from ltx2.serving.worker import JobQueue, Limits, Score
from ltx2.serving.zero_gpu import Lender
from ltx2.settings import Settings
from ltx2.ui.examination import Examine
from ltx2.ui.page import build_page, serve
from ltx2.ui.tabs import ExtraTab

MCP_MAJOR = 2
"""The first major version of the package `mcp` that Gradio does not know."""


def run_server(
    settings: Settings,
    *,
    lends_gpu: bool = False,
    routers: Sequence[APIRouter] = (),
    extra_tabs: Sequence[ExtraTab] = (),
    examine: Examine | None = None,
    score: Score | None = None,
) -> None:
    """Serves the page until the process is stopped.

    Args:
        settings: of whoever started it.
        lends_gpu: a GPU is there only inside requests, as on ZeroGPU.
        routers: further pages of the same server.
        extra_tabs: of the page, after its own.
        examine: what the page tells beside every clip that was made.
        score: tells which of several clips is the best.

    Raises:
        LTX2Error: the model or the folder of data cannot be used.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio's calls to itself
    sign = None
    if settings.c2pa_certificate is not None and settings.c2pa_key is not None:
        sign = open_signer(settings.c2pa_certificate, settings.c2pa_key)
    lender = Lender() if lends_gpu else None
    offers = open_offers(settings)
    if lender is not None:
        offers = tuple(lender.borrowing(offer) for offer in offers)
    models = Models(offers, device=settings.device)
    queue = JobQueue(
        Store(settings.data / "jobs.sqlite"),
        [models],
        settings.data / "clips",
        limits=Limits(settings.visitor_queue, settings.queue_size),
        sign=sign,
        in_request=lends_gpu,
        score=score,
    )
    downloads = Downloads(downloads_root(settings))
    door = Door(settings)
    if not lends_gpu:
        queue.start()
    try:
        page = build_page(
            queue,
            door=door,
            downloads=downloads,
            settings=settings,
            extra_tabs=extra_tabs,
            examine=examine,
        )
        serve(
            page,
            queue,
            door=door,
            open_browser=settings.open_browser,
            look=settings.theme,
            routers=routers,
            styles=[path for extra in extra_tabs for path in extra.styles],
            server_name=settings.address,
            server_port=settings.port,
            root_path=settings.root_path or None,
            share=settings.share,
            auth=settings.login,
            max_file_size=settings.max_file_size,
            mcp_server=offers_mcp(settings),
        )
    finally:
        downloads.close()
        queue.close()
        queue.store.close()


def offers_mcp(settings: Settings) -> bool:
    """Whether programs that speak MCP find `generate_video`: where Gradio's extra is installed.

    Behind a login they would come in without one.
    """
    try:
        major = int(version("mcp").partition(".")[0])
    except PackageNotFoundError:
        return False
    return settings.mcp_server and major < MCP_MAJOR and settings.login is None
