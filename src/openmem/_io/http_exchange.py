"""What both forms of the HTTP client share: limits, failures, and silence in the logs."""

from __future__ import annotations

import functools
import http.cookiejar
import logging
import random
import ssl
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from openmem._io.call import Deadline
from openmem.errors import OMPError, ProviderError, ProviderUnavailableError
from openmem.http_errors import Endpoint, Failure, failure_of_reply
from openmem.http_messages import Header, HttpReply, Route

if TYPE_CHECKING:  # it takes long to load, so that waits for the first request
    import httpx

CONNECT_LIMIT = 10.0
MAX_REPLY = 64 * 1024 * 1024
MAX_CONNECTIONS = 100
IDLE_LIMIT = 4.0
"""Seconds for which an idle connection is kept: less than servers keep theirs, which is 5 at least."""

_LOGGERS = ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))
_ours: ContextVar[bool] = ContextVar("openmem_request", default=False)


class _NotOurs(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _ours.get()


for _name in _LOGGERS:
    # Addresses hold user ids and queries, which belong in no log.
    logging.getLogger(_name).addFilter(_NotOurs())


class Quiet:
    """Keeps what the HTTP library says about this exchange out of the logs."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _ours.set(True)

    def __exit__(self, *exc_info: object) -> None:
        _ours.reset(self._token)


def client_settings() -> dict[str, Any]:
    """Return the settings of a client: redirects are ours to follow, and no cookie is kept."""
    import httpx

    nobody = http.cookiejar.DefaultCookiePolicy(allowed_domains=[])
    return {
        "cookies": http.cookiejar.CookieJar(policy=nobody),
        "follow_redirects": False,
        "verify": _trusted(),
        "limits": httpx.Limits(
            max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS, keepalive_expiry=IDLE_LIMIT
        ),
    }


@functools.cache
def _trusted() -> ssl.SSLContext:
    # Reading the certificates is most of what it takes to make a client.
    import httpx

    return httpx.create_ssl_context()


def arguments(route: Route, deadline: Deadline, deadline_header: str | None) -> dict[str, Any]:
    """Return the next request of a route as the library takes it."""
    import httpx

    remaining = deadline.remaining()
    headers: dict[str, Header] = route.headers
    if deadline_header is not None and remaining is not None:
        headers = {**headers, deadline_header: f"{min(max(remaining, 0.001), 1e8):.3f}"}
    connect = CONNECT_LIMIT if remaining is None else min(CONNECT_LIMIT, remaining)
    return {
        "method": route.request.method,
        "url": route.url,
        "headers": headers,
        "content": route.request.body,
        "timeout": httpx.Timeout(remaining, connect=connect),
    }


class Received:
    """The body of a reply as it arrives, up to a limit."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._chunks: list[bytes] = []
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Keep a part.

        Raises:
            ProviderError: The body is too large.
        """
        self._size += len(chunk)
        if self._size > MAX_REPLY:
            message = f"{self._endpoint.server} answered more than {MAX_REPLY >> 20} MiB"
            raise ProviderError(message, provider=self._endpoint.provider)
        self._chunks.append(chunk)

    def reply(self, reply: httpx.Response) -> HttpReply:
        """Return the whole."""
        return HttpReply(reply.status_code, dict(reply.headers), b"".join(self._chunks))


def outcome(endpoint: Endpoint, route: Route, reply: HttpReply) -> HttpReply | Failure:
    """Return the reply if it is a success, else what it stands for."""
    if 200 <= reply.status < 300:
        return reply
    failure = failure_of_reply(endpoint, reply.status, reply.headers, reply.body, datetime.now(UTC))
    if reply.status in (401, 403) and route.abroad:
        failure.error.message += "; it was not sent on to the server to which the request was redirected"
    return failure


def failure_of_exception(endpoint: Endpoint, exc: Exception, deadline: Deadline) -> Failure:
    """Return what an exception of the library stands for; raise it again if it is none of the library's."""
    import httpx

    if not isinstance(exc, httpx.HTTPError | httpx.InvalidURL | httpx.StreamError):
        raise exc
    connecting = isinstance(exc, httpx.ConnectTimeout)
    # Every limit but that of connecting is the deadline itself.
    if isinstance(exc, httpx.TimeoutException) and (deadline.passed() or not connecting):
        return Failure(deadline.exceeded(), passing=False, refused=False)
    refused = connecting or isinstance(exc, httpx.ConnectError)
    error: OMPError
    if isinstance(exc, httpx.NetworkError | httpx.ConnectTimeout | httpx.RemoteProtocolError):
        error = ProviderUnavailableError(_trouble(endpoint, refused), provider=endpoint.provider)
        passing = True
    else:
        error = ProviderError(f"the exchange with {endpoint.server} failed", provider=endpoint.provider)
        passing = False
    # The library's own exception carries the request, with its headers, wherever it is pickled or logged.
    error.__cause__ = ConnectionError(type(exc).__name__)
    return Failure(error, passing=passing, refused=refused)


def pause_before_next(
    failure: Failure, attempt: int, retries: int, retry_safe: bool, deadline: Deadline
) -> float | None:
    """Return the seconds to wait before the next attempt, or `None` to give up."""
    remaining = 0.0 if deadline.passed() else deadline.remaining()
    return failure.pause(attempt, retries=retries, retry_safe=retry_safe, remaining=remaining, jitter=random.random())


def check_open(closed: bool) -> None:
    """Raise `RuntimeError` if the client was closed."""
    if closed:
        raise RuntimeError("the HTTP client is closed")


def _trouble(endpoint: Endpoint, refused: bool) -> str:
    return f"cannot connect to {endpoint.server}" if refused else f"{endpoint.server} broke off the exchange"
