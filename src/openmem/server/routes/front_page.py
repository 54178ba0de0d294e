"""The page at `/`: what answers here, where, how it is, and where to read on. It needs no script and loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable
from html import escape
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

import openmem
from openmem.server.middleware.asgi import request_id_of

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;color:#1b1b1f;"
    "background:#fff}h1{font-size:1.5rem;margin:0 0 .5rem}code,pre{font:14px/1.5 ui-monospace,monospace}"
    "pre{background:#f3f3f5;padding:.8rem 1rem;overflow-x:auto;border-radius:4px}dt{font-weight:600;margin-top:.6rem}"
    "dd{margin:0}a{color:#0b57d0}"
    "@media(prefers-color-scheme:dark){body{color:#e6e6ea;background:#17171a}pre{background:#242429}a{color:#8ab4f8}}"
)
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_REFERENCE: Final = '<dt><a href="docs">docs</a></dt><dd>Every route, to read and to try, in the browser.</dd>'
_PAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>openmem</title>
<style>{style}</style></head>
<body>
<h1>openmem {version}</h1>
<p>A memory for programs: this server keeps short texts about people, and finds them again. It speaks the Open Memory
Protocol over HTTP: programs ask it, in any language.</p>
<pre>curl {address}/capabilities</pre>
<dl>
{reference}
<dt><a href="openapi.json">openapi.json</a></dt><dd>The same as a document for programs.</dd>
<dt><a href="capabilities">capabilities</a></dt><dd>What the memory behind it can do.</dd>
<dt><a href="health/ready">health/ready</a></dt><dd>Whether it should get requests;
<a href="health/live">health/live</a> whether the process is there; <a href="version">version</a> which one.</dd>
</dl>
<p>Where keys were made, requests carry one: <code>Authorization: Bearer …</code></p>
</body>
</html>
"""


def front_page(reference: bool) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers GET /.

    Args:
        reference: Whether there is `/docs` to point to.
    """

    async def show(request: Request) -> Response:
        address = escape(str(request.base_url).rstrip("/"))
        text = _PAGE.format(
            style=_STYLE, version=openmem.__version__, address=address, reference=_REFERENCE if reference else ""
        )
        return HTMLResponse(
            text, headers={"content-security-policy": POLICY, "x-request-id": request_id_of(request.scope)}
        )

    return show
