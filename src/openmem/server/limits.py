"""What a request may bring: how large its head and body are, how they are encoded, and how long they take.

A body is read whole before the application sees any of it, except that of an import, which is as long as it likes and
is watched line by line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from openmem.server.asgi import ASGIApp, Message, Receive, Scope, Send, header, method_of, route_of, verb_of
from openmem.server.refusals import (
    HeaderTooLargeError,
    RefusedError,
    SlowRequestError,
    TooLargeError,
    UnsupportedMediaError,
    has_body,
    refuse,
    take_rest,
)
from openmem.server.waiting import clock, within

# What a header takes on the wire besides its name and value.
_HEADER_EXTRA: Final = 4


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


class BodyLimits:
    """Refuses what is too large, too slow or encoded, before anybody parses it."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        streamed = verb_of(method_of(scope), route_of(scope)) == "import"
        try:
            self._check_head(scope, streamed)
            body = b"" if streamed or not has_body(scope) else await self._read(receive)
        except RefusedError as error:
            await refuse(scope, receive, send, error)
            return
        if body is None:
            return  # the client left before it had sent all
        if streamed:
            watch = LineWatch(receive, send, self._limits)
            await self._app(scope, watch.receive, watch.send)
        else:
            await self._app(scope, _replay(body, receive), send)

    def _check_head(self, scope: Scope, streamed: bool) -> None:
        size = len(scope.get("raw_path") or scope["path"].encode()) + len(scope.get("query_string", b""))
        size += sum(len(name) + len(value) + _HEADER_EXTRA for name, value in scope["headers"])
        if size > self._limits.head:
            raise HeaderTooLargeError(f"the head of the request is larger than {self._limits.head} bytes")
        for name, value in scope["headers"]:
            if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
                raise UnsupportedMediaError("the body must not be compressed: send it without Content-Encoding")
        length = header(scope, b"content-length")
        if not streamed and length is not None and length.isdigit() and int(length[:20]) > self._limits.body:
            raise self._too_large()

    async def _read(self, receive: Receive) -> bytes | None:
        body = bytearray()
        last = clock() + self._limits.total
        while True:
            message = await _next(receive, min(self._limits.idle, last - clock()))
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if len(body) > self._limits.body:
                raise self._too_large()
            if not message.get("more_body"):
                return bytes(body)

    def _too_large(self) -> TooLargeError:
        return TooLargeError(f"the body is larger than {self._limits.body} bytes")


class LineWatch:
    """A body that is taken as it comes: no line may be too long, and it may not stand still."""

    def __init__(self, receive: Receive, send: Send, limits: Limits) -> None:
        self._receive = receive
        self._send = send
        self._limits = limits
        self._line = 1
        self._length = 0
        self._ended = False

    async def receive(self) -> Message:
        """Return the next message.

        Raises:
            TooLargeError: A line is too long.
            SlowRequestError: Nothing came for too long.
        """
        if self._ended:
            return await self._receive()
        message = await _next(self._receive, self._limits.idle)
        self._ended = message["type"] != "http.request" or not message.get("more_body")
        self._measure(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """Pass a message on; a reply that comes before the end of the body is its last on this connection."""
        if self._ended:
            await self._send(message)
        elif message["type"] == "http.response.start":
            await self._send({**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]})
        elif message.get("more_body"):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            await take_rest(self._receive)
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

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


async def _next(receive: Receive, seconds: float) -> Message:
    try:
        return await within(receive(), seconds)
    except TimeoutError:
        raise SlowRequestError("the body of the request did not arrive in time") from None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the whole body first, and then what comes on the connection."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
