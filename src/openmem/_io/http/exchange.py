"""The parts that both forms of the HTTP client share: limits, failures, and silence in the logs."""

from __future__ import annotations

import functools
import http.cookiejar
import logging
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from openmem._io.concurrency.call import Deadline
from openmem._model.retry import FailedAttempt
from openmem._protocol.http_content import ACCEPTED, BodyDecoder, EncodingError
from openmem._protocol.http_errors import Endpoint, failure_of_reply
from openmem._protocol.http_messages import Header, HttpReply, Route
from openmem.errors import InvalidRequestError, OMPError, ProviderError, ProviderUnavailableError

if TYPE_CHECKING:  # it takes long to load, so that waits for the first request
    import httpx

C = TypeVar("C")

CONNECT_LIMIT = 10.0
MAX_REPLY = 64 * 1024 * 1024
"""Most bytes of one reply, as it comes and as it is decoded."""
MAX_CONNECTIONS = 100
IDLE_LIMIT = 4.0
"""Seconds for which an idle connection is kept: less than servers keep theirs, which is 5 at least."""

_LOGGERS = ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))
_ours: ContextVar[bool] = ContextVar("openmem_request", default=False)
_bound: ContextVar[Deadline] = ContextVar("openmem_exchange", default=Deadline())  # noqa: B039 - it cannot change


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


class bounded_by:  # noqa: N801 - it is used like a function
    """Has every exchange of a blocking client that begins in the context end by a deadline; see `http_network`."""

    __slots__ = ("_deadline", "_token")

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __enter__(self) -> None:
        self._token = _bound.set(self._deadline)

    def __exit__(self, *exc_info: object) -> None:
        _bound.reset(self._token)


def exchange_deadline() -> Deadline:
    """Return the deadline of the exchange that this thread is at."""
    return _bound.get()


def new_client(make: Callable[..., C], **options: Any) -> C:
    """Return a client of the HTTP library: redirects are ours to follow, and no cookie is kept.

    Proxies and certificates are those of the environment, as the library takes them. No `.netrc` is read.

    Raises:
        InvalidRequestError: The environment names a proxy or certificates that cannot be used.
    """
    import httpx

    try:
        return make(**options, **_client_settings())
    except (ValueError, ImportError, OSError, httpx.InvalidURL):
        message = (
            "a proxy or certificates that the environment names cannot be used: look at "
            "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
        )
    raise InvalidRequestError(message)  # out here it has no context, which would quote the proxy's password


def _client_settings() -> dict[str, Any]:
    import httpx

    no_domain = http.cookiejar.DefaultCookiePolicy(allowed_domains=[])
    return {
        "headers": {"Accept-Encoding": ACCEPTED},
        "cookies": http.cookiejar.CookieJar(policy=no_domain),
        "follow_redirects": False,
        "verify": trusted(),
        "limits": httpx.Limits(
            max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS, keepalive_expiry=IDLE_LIMIT
        ),
    }


@functools.cache
def trusted() -> ssl.SSLContext:
    """Return the certificates that the environment trusts."""
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
    """The body of a reply as it arrives, decoded, up to a limit.

    Args:
        endpoint: Who answers.
        reply: The head of the reply.

    Raises:
        ProviderError: The reply says of itself that it is too large, or is encoded in a way that was not asked for.
    """

    def __init__(self, endpoint: Endpoint, reply: httpx.Response) -> None:
        self._endpoint, self._reply = endpoint, reply
        self._body = bytearray()
        self._taken = 0
        # Refused by what it says of itself, before a byte of it is read; else when it has become too large.
        length = reply.headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 18 or int(length) > MAX_REPLY):
            raise self._too_large()
        # A transport of the caller's own may hand over a reply that is read, and so decoded, already.
        encodings = [] if reply.is_stream_consumed else reply.headers.get_list("content-encoding", split_commas=True)
        try:
            self._decoder = BodyDecoder(encodings)
        except EncodingError as error:
            raise self._unreadable(error) from None

    def add(self, chunk: bytes) -> None:
        """Keep a part, as it came over the wire.

        Raises:
            ProviderError: The body is too large, or not what its encoding says.
        """
        self._taken += len(chunk)
        if self._taken > MAX_REPLY:
            raise self._too_large()
        try:
            for piece in self._decoder.feed(chunk):
                if len(self._body) + len(piece) > MAX_REPLY:
                    raise self._too_large()
                self._body += piece
        except EncodingError as error:
            raise self._unreadable(error) from None

    def reply(self) -> HttpReply:
        """Return the whole.

        Raises:
            ProviderError: The body breaks off.
        """
        try:
            self._decoder.finish()
        except EncodingError as error:
            raise self._unreadable(error) from None
        return HttpReply(self._reply.status_code, dict(self._reply.headers), bytes(self._body))

    def _too_large(self) -> ProviderError:
        message = f"{self._endpoint.server} answered more than {MAX_REPLY >> 20} MiB"
        return ProviderError(message, provider=self._endpoint.provider)

    def _unreadable(self, error: EncodingError) -> ProviderError:
        return ProviderError(f"{self._endpoint.server} answered {error}", provider=self._endpoint.provider)


def outcome(endpoint: Endpoint, reply: HttpReply) -> HttpReply | FailedAttempt:
    """Return the reply if it is a success, else what it stands for."""
    if 200 <= reply.status < 300:
        return reply
    return failure_of_reply(endpoint, reply.status, reply.headers, reply.body, datetime.now(UTC))


def failure_of_exception(endpoint: Endpoint, exc: Exception, deadline: Deadline) -> FailedAttempt:
    """Return what an exception of the library stands for; raise it again if it is none of the library's."""
    import httpx

    if not isinstance(exc, httpx.HTTPError | httpx.InvalidURL | httpx.StreamError):
        raise exc
    # 1. The deadline of the call.
    connecting = isinstance(exc, httpx.ConnectTimeout)
    # Every limit but that of connecting is the deadline itself.
    if isinstance(exc, httpx.TimeoutException) and (deadline.passed() or not connecting):
        return FailedAttempt(deadline.exceeded())
    # 2. Never connected: the server did not see the request, which may always be sent again.
    refused = connecting or isinstance(exc, httpx.ConnectError)
    error: OMPError
    if isinstance(exc, httpx.NetworkError | httpx.ConnectTimeout | httpx.RemoteProtocolError):
        # 3. The connection broke: passing, but the server may have acted on the request.
        error = ProviderUnavailableError(_trouble(endpoint, refused), provider=endpoint.provider)
        passing = True
    else:
        # 4. The reply is none, or the request cannot be sent: another attempt would end the same way.
        error = ProviderError(f"the exchange with {endpoint.server} failed", provider=endpoint.provider)
        passing = False
    # The library's own exception carries the request, with its headers, wherever it is pickled or logged.
    error.__cause__ = ConnectionError(type(exc).__name__)
    return FailedAttempt(error, passing=passing, untouched=refused)


def check_open(closed: bool) -> None:
    """Raise `RuntimeError` if the client was closed."""
    if closed:
        raise RuntimeError("the HTTP client is closed")


def _trouble(endpoint: Endpoint, refused: bool) -> str:
    return f"cannot connect to {endpoint.server}" if refused else f"{endpoint.server} broke off the exchange"
