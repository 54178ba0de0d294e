"""`/docs`: the contract as pages that can be tried, by Swagger UI.

Its files come from the package `openapi-ui-bundles` of the extra `server`, which depends on nothing and is never
imported. A browser gets them from this server, and nothing from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from openmem._config.extras import install_extra
from openmem._protocol.routes import PAGE_FILE
from openmem.server.routes.front_page import page_file

PACKAGE: Final = "openapi_ui_bundles"
_FOLDER: Final = ("swagger_ui", "vendor")
PATH: Final = "/docs"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_BUNDLE: Final = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_PAGE: Final = page_file("docs.html")
_START: Final = page_file("start.js")
_KEPT: Final = "public, max-age=86400"


def is_available() -> bool:
    """Return whether the package with the files is installed."""
    return bool(_folders())


def reference_routes() -> list[Route]:
    """Return the routes of the page and its files; without the package, a page that says what to install."""
    if not is_available():
        return [Route(PATH, _missing)]
    return [
        Route(PATH, _page),
        Route(f"{PATH}/start.js", _start),
        Route(PAGE_FILE, _file),
    ]


async def _page(request: Request) -> Response:
    return HTMLResponse(_PAGE, headers={"content-security-policy": POLICY})


async def _missing(request: Request) -> Response:
    text = f"The reference needs its files: {install_extra('server')}\nThe document itself is at openapi.json.\n"
    return PlainTextResponse(text)


async def _start(request: Request) -> Response:
    return Response(_START, media_type="text/javascript", headers={"cache-control": _KEPT})


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _BUNDLE:
        raise HTTPException(404)
    return Response(_read(name), media_type=_BUNDLE[name], headers={"cache-control": _KEPT})


@cache
def _read(name: str) -> bytes:
    return Path(_folders()[0], *_FOLDER, name).read_bytes()


def _folders() -> Sequence[str]:
    """Return where the package is, without importing it."""
    found = find_spec(PACKAGE)
    return (found and found.submodule_search_locations) or ()
