"""The page at `/`: the server's version, its address, its health and where to read on, without a script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

import openmem
from openmem.server.middleware.asgi import request_id_of


def page_file(name: str) -> str:
    """Return the text of a file of the pages. It is read when a module is imported, never on the event loop."""
    return files("openmem.server").joinpath("pages", name).read_text(encoding="utf-8")


_PAGE: Final = Template(page_file("front.html"))
_STYLE: Final = page_file("front.css")
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_REFERENCE: Final = '<dt><a href="docs">docs</a></dt><dd>Every route, to read and to try, in the browser.</dd>'


def front_page(reference: bool) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of GET /.

    Args:
        reference: Whether there is `/docs` to point to.
    """
    known = {"style": _STYLE, "version": openmem.__version__, "reference": _REFERENCE if reference else ""}

    async def show(request: Request) -> Response:
        text = _PAGE.substitute(known, address=escape(str(request.base_url).rstrip("/")))
        return HTMLResponse(
            text, headers={"content-security-policy": POLICY, "x-request-id": request_id_of(request.scope)}
        )

    return show
