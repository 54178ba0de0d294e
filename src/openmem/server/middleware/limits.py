"""Limits of a request: the size, encoding and time of its head and body.

The head is looked at before anything else. The body is watched while it is read: that is after the key was looked at,
and before the request is admitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openmem import InvalidRequestError, OMPError
from openmem._protocol.refusals import HeaderTooLargeError, SlowRequestError, TooLargeError, UnsupportedMediaError
from openmem._protocol.request_heads import MAX_HEADERS, fields_of
from openmem.server.middleware.asgi import has_body, method_of, operation_of, route_of
from openmem.server.middleware.errors import refuse
from openmem.server.services.timing import clock, within

# What a header takes on the wire besides its name and value.
_HEADER_EXTRA: Final = 4
_VERSIONS: Final = frozenset({"1.0", "1.1"})


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers.

    Attributes:
        body: Bytes of a body, or of a line of an import.
        head: Bytes of the request line and the headers.
        idle: Seconds without a byte of the body.
        total: Seconds that a body may take, unless it is an import.
    """

    body: int = 1_048_576
    head: int = 16_384
    idle: float = 10.0
    total: float = 60.0


class RequestLimits:
    """Refuses what is too large, too slow or encoded, before it is parsed."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        operation = operation_of(method_of(scope), route_of(scope))
        streamed = operation is not None and operation.body == "lines"
        try:
            self._check_head(scope, streamed)
        except OMPError as error:
            await refuse(scope, send, error)
            return
        if has_body(scope):
            receive = (LineWatch if streamed else BodyWatch)(receive, self._limits).receive
        await self._app(scope, receive, send)

    def _check_head(self, scope: Scope, streamed: bool) -> None:
        headers = scope["headers"]
        size = len(scope.get("raw_path") or scope["path"].encode()) + len(scope.get("query_string", b""))
        size += sum(len(name) + len(value) + _HEADER_EXTRA for name, value in headers)
        if size > self._limits.head:
            raise HeaderTooLargeError(f"the head of the request is larger than {self._limits.head} bytes")
        if len(headers) > MAX_HEADERS:
            raise HeaderTooLargeError(f"the request has more than {MAX_HEADERS} headers")
        fields = scope.setdefault("state", {})["fields"] = fields_of(headers)
        if b"host" not in fields and scope.get("http_version", "1.1") == "1.1":
            raise InvalidRequestError("the header host is missing")
        if scope.get("http_version", "1.1") not in _VERSIONS:
            raise InvalidRequestError("the server speaks HTTP/1.1 and 1.0")
        if fields.get(b"transfer-encoding", b"chunked").strip().lower() != b"chunked":
            raise InvalidRequestError("the body may be sent in chunks, and not in any other transfer coding")
        if fields.get(b"content-encoding", b"").strip().lower() not in (b"", b"identity"):
            raise UnsupportedMediaError("the body must not be compressed: send it without Content-Encoding")
        length = fields.get(b"content-length")
        if not streamed and length is not None and length.isdigit() and int(length[:20]) > self._limits.body:
            raise _too_large(self._limits.body)


class BodyWatch:
    """A body that is taken as it comes: not too long, and not too slow.

    Args:
        receive: Its source.
        limits: The numbers.
    """

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._length = 0
        self._ended = False
        self._end: float | None = None

    async def receive(self) -> Message:
        """Return the next message.

        Raises:
            TooLargeError: There is too much of it.
            SlowRequestError: Nothing came for too long, or not all in time.
        """
        if self._ended:
            return await self._receive()
        try:
            message = await within(self._receive(), self._time_left())
        except TimeoutError:
            raise SlowRequestError("the body of the request did not arrive in time") from None
        self._ended = message["type"] != "http.request" or not message.get("more_body")
        self._measure(message.get("body", b""))
        return message

    def _time_left(self) -> float:
        now = clock()
        if self._end is None:
            self._end = now + self._limits.total
        return min(self._limits.idle, self._end - now)

    def _measure(self, chunk: bytes) -> None:
        self._length += len(chunk)
        if self._length > self._limits.body:
            raise _too_large(self._limits.body)


class LineWatch(BodyWatch):
    """The same for lines: none may be too long, all together as long as they like, and they may not stand still."""

    _line = 1

    def _time_left(self) -> float:
        return self._limits.idle

    def _measure(self, chunk: bytes) -> None:
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._grow(end - start)
            self._line += 1
            self._length = 0
            start = end + 1
        self._grow(len(chunk) - start)

    def _grow(self, count: int) -> None:
        self._length += count
        if self._length > self._limits.body:
            raise TooLargeError(
                f"line {self._line} is longer than {self._limits.body} bytes", details={"line": self._line}
            )


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body is larger than {limit} bytes")
