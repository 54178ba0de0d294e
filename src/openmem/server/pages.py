"""Web pages: which of them may use the server, and that no other page can when it lets everybody in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from openmem.server.addresses import is_loopback
from openmem.server.asgi import ASGIApp, Receive, Scope, Send, envelope, header, request_id_of
from openmem.server.refusals import ForeignPageError, RefusedError, refuse

METHODS: Final = ("GET", "POST", "PATCH", "DELETE")
REQUEST_HEADERS: Final = (
    *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Traceparent"),
    *("X-API-Key", "X-OMP-App", "X-OMP-Timeout", "X-Request-Id", "X-User-Id"),
)
REPLY_HEADERS: Final = ("ETag", "Idempotent-Replayed", "Location", "Retry-After", "X-Next-Cursor", "X-Request-Id")


class Cors(CORSMiddleware):
    """Lets pages of the listed origins use the server, without cookies."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=REPLY_HEADERS,
            allow_credentials=False,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the answer to a browser that asks first; a refusal is an envelope like any other."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return Response(status_code=204, headers=_without_body(response))
        return _Refusal(headers=_without_body(response))


class _Refusal(Response):
    """The envelope, which is made when the request is known, as it holds its id."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = RefusedError("a page of this origin may not send such a request", code="invalid_request")
        body = envelope(error, request_id_of(scope))
        headers = {**self.headers, "content-length": str(len(body))}
        await Response(body, 400, headers=headers, media_type="application/json")(scope, receive, send)


def _without_body(response: Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if not name.startswith("content-")}


class PageGuard:
    """Keeps web pages from a server without keys, which a browser on the same machine can reach.

    A page gives itself away by the `Origin` that browsers add, or, if it made its own name point to this machine, by
    the `Host` it asks for.

    Args:
        app: Whom the others go to.
        origins: Pages that may.
        local: The server listens on loopback only.
        is_open: Asks whether there are still no keys; only asked when a request looks foreign.
    """

    def __init__(
        self, app: ASGIApp, origins: tuple[str, ...], *, local: bool, is_open: Callable[[], Awaitable[bool]]
    ) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._local = local
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_foreign(scope) and await self._is_open():
            message = "a server without keys does not serve pages of other sites: list the origin, or make a key"
            await refuse(scope, receive, send, ForeignPageError(message))
            return
        await self._app(scope, receive, send)

    def _is_foreign(self, scope: Scope) -> bool:
        host = (header(scope, b"host") or b"").decode("latin-1")
        if self._local and host and not is_loopback(_name_in(host)):
            return True
        origin = header(scope, b"origin")
        if origin is None or "*" in self._origins or origin.decode("latin-1") in self._origins:
            return False
        return urlsplit(origin.decode("latin-1")).netloc != host


def _name_in(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
