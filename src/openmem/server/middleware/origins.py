"""Web pages: which of them may use the server, and that no other page can where no keys are asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from openmem._protocol.error_bodies import error_body
from openmem._protocol.hosts import host_in, is_address, is_loopback
from openmem._protocol.refusals import ForeignPageError, RefusedError
from openmem._protocol.routes import PAGES
from openmem.server.middleware.asgi import header, request_id_of
from openmem.server.middleware.errors import refuse

_FOREIGN_PAGE: Final = "a server without keys does not serve pages of other sites: list the origin, or make a key"
_FOREIGN_HOST: Final = (
    "a server without keys answers to its own address only, not to this Host: "
    "name the host with --allowed-host, or make a key"
)

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
        body = error_body(error, request_id_of(scope))
        headers = {**self.headers, "content-length": str(len(body))}
        await Response(body, 400, headers=headers, media_type="application/json")(scope, receive, send)


def _without_body(response: Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if not name.startswith("content-")}


class OriginGuard:
    """Keeps web pages from a server without keys, which a browser that runs them can reach.

    A page gives itself away in one of three ways:

    1. By the `Host` it asks for, if it made its own name point to this machine. Known hosts are loopback, those that
       are listed and, for a server that listens to others, any that is written as an address.
    2. By the `Origin` that browsers add to requests of scripts.
    3. By `Sec-Fetch-Site`, which browsers add to all requests, such as those of images, frames and forms.

    Args:
        app: Whom the others go to.
        origins: Pages that may.
        hosts: Names under which the server may be asked for; `*` for all.
        local: The server listens on loopback only.
        is_open: Asks whether there are still no keys; only asked when a request looks foreign.
    """

    def __init__(
        self,
        app: ASGIApp,
        origins: tuple[str, ...],
        hosts: tuple[str, ...],
        *,
        local: bool,
        is_open: Callable[[], Awaitable[bool]],
    ) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._hosts = frozenset(host.lower() for host in hosts)
        self._local = local
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            message = self._foreign(scope)
            if message is not None and await self._is_open():
                await refuse(scope, send, ForeignPageError(message))
                return
        await self._app(scope, receive, send)

    def _foreign(self, scope: Scope) -> str | None:
        """Return why a request looks like one of another site, or `None`."""
        host = (header(scope, b"host") or b"").decode("latin-1")
        if host and not self._is_known(host_in(host)):
            return _FOREIGN_HOST
        origin = header(scope, b"origin")
        if origin is not None:
            known = "*" in self._origins or origin.decode("latin-1") in self._origins
            return None if known or _host_of(origin.decode("latin-1")) == host.lower() else _FOREIGN_PAGE
        site = header(scope, b"sec-fetch-site")
        if site in (None, b"same-origin", b"none") or _opens_page(scope):
            return None
        return _FOREIGN_PAGE

    def _is_known(self, host: str | None) -> bool:
        if host is None:
            return False
        if is_loopback(host) or host in self._hosts or "*" in self._hosts:
            return True
        return not self._local and is_address(host)


def _host_of(origin: str) -> str:
    scheme, _, host = origin.lower().partition("://")
    return host if scheme in ("http", "https") else ""


def _opens_page(scope: Scope) -> bool:
    """Return whether a browser opens a page for people by a link: that does nothing, and no other page sees it."""
    is_link = header(scope, b"sec-fetch-mode") == b"navigate" and header(scope, b"sec-fetch-dest") == b"document"
    return is_link and scope["method"] == "GET" and scope["path"] in PAGES
