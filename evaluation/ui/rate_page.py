"""The rater's page: files for the browser, and nothing that knows a study."""

import re
from pathlib import Path

from fastapi import APIRouter, Response

FOLDER = Path(__file__).parent / "rate"

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
}

HEADERS = {
    # The page runs its own scripts alone, sends nothing elsewhere, and is no part of another page.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def rate_router() -> APIRouter:
    """`/rate/STUDY`, what a rater is sent; a session's token follows behind #."""
    router = APIRouter(prefix="/rate")

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        if not re.fullmatch(r"[a-z_]+\.[a-z]+", name) or not (FOLDER / name).is_file():
            return Response(status_code=404)
        return _file(name)

    @router.get("/{study}")
    def page(study: str) -> Response:
        return _file("index.html")

    return router


def _file(name: str) -> Response:
    path = FOLDER / name
    return Response(path.read_bytes(), media_type=TYPES[path.suffix], headers=HEADERS)
