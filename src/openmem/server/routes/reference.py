"""`/docs`: the contract as pages that can be tried, by Swagger UI.

Its files come from the package `fastapi-offline`, which is part of the extra `server`; a browser gets them from this
server and nothing from elsewhere.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from openmem._config.extras import install_extra

PACKAGE: Final = "fastapi_offline"
PATH: Final = "/docs"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_BUNDLE: Final = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_KEPT: Final = "public, max-age=86400"
# It asks nobody about the document, and keeps no key that was typed.
_START: Final = """window.onload = () => SwaggerUIBundle({
  url: "openapi.json", dom_id: "#reference", validatorUrl: null, persistAuthorization: false, deepLinking: true,
});
"""
_PAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>openmem: reference</title>
<link rel="stylesheet" href="docs/swagger-ui.css"></head>
<body><div id="reference"></div>
<script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script></body>
</html>
"""


def is_available() -> bool:
    """Return whether the package with the files is installed."""
    return find_spec(PACKAGE) is not None


def reference_routes() -> list[Route]:
    """Return the routes of the page and its files; without the package, a page that says what to install."""
    if not is_available():
        return [Route(PATH, _missing, include_in_schema=False)]
    return [
        Route(PATH, _page, include_in_schema=False),
        Route(f"{PATH}/start.js", _start, include_in_schema=False),
        Route(f"{PATH}/{{name}}", _file, include_in_schema=False),
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
    folder: Traversable = files(PACKAGE) / "static"
    return (folder / name).read_bytes()
