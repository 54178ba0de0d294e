"""Per-connection limits: time and size of a head, size of trailers, pipelining, write timeout, number of connections.

uvicorn waits for ever for the rest of a head and for a client to take its answer, takes trailers for headers, and
parses all requests that are sent ahead. Its protocols are used with a guard in front. A connection is in one of three
states:

1. It waits for a request: there is none yet, or the last one was answered, and a head may be on its way. It has
   `head_timeout` seconds and `max_header_bytes`.
2. It waits for a body. What is no body (sizes of chunks, their extensions, trailers) has `max_header_bytes` between two
   pieces of it; `openmem.server.middleware.limits` watches the body itself.
3. The request is there and its answer is not. What comes now is held back and reading stops: at most one read.
"""

from __future__ import annotations

import logging
import socket
import sys
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, Protocol

from openmem import InvalidRequestError, OMPError
from openmem._protocol.refusals import HeaderTooLargeError, OverloadedError, SlowRequestError
from openmem._protocol.routes import UNMATCHED
from openmem.server.middleware.access_log import write_access
from openmem.server.middleware.asgi import request_id_of
from openmem.server.routes.error_responses import error_answer
from openmem.server.runtime.connections import ConnectionTable
from openmem.server.runtime.settings import ServerSettings

log: Final = logging.getLogger("openmem.server")

# Else the kernel says that there is room again only after it sent megabytes: a slow reader would look like none at all.
UNSENT_BYTES: Final = 65_536
READ_BYTES: Final = 16_384
"""Bytes taken from a connection at once, and so what a connection can make the server hold back."""
_LOW_WATER: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux and macOS
_END_OF_HEAD: Final = b"\r\n\r\n"


class GuardConfig(Protocol):
    """The part of the server's configuration that the guard reads."""

    @property
    def settings(self) -> ServerSettings:
        """The settings of the server."""

    @property
    def table(self) -> ConnectionTable:
        """The connections of this process."""


class Guard:
    """The mixin in front of a protocol of uvicorn."""

    # What uvicorn's protocols have; they share no base that says so.
    config: GuardConfig
    transport: Any
    cycle: Any
    flow: Any
    loop: Any
    connections: set[Any]
    pipeline: Any = ()  # requests that were parsed before their turn: at most one, sent together with the end of a body

    _timer: Any = None
    _head = 0  # bytes of a head that is not complete
    _framing = 0  # bytes since the last piece of a body that were no body
    _held = b""  # what came before the answer to the request before it
    _sending: Any = None
    _unsent = 0  # bytes that the client had not taken when the clock was started

    def connection_made(self, transport: Any) -> None:
        """Start the clock for the first request, unless there are too many connections."""
        super().connection_made(transport)  # type: ignore[misc]
        transport.set_write_buffer_limits(high=0)  # whatever cannot be sent at once is watched
        if hasattr(transport, "max_size"):  # of asyncio's own transports on sockets
            transport.max_size = READ_BYTES
        if _LOW_WATER is not None:
            with suppress(OSError):  # of a connection that is gone already
                transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _LOW_WATER, UNSENT_BYTES)
        if not self.config.table.make_room(len(self.connections)):
            self.reject(OverloadedError("the server has too many connections", retry_after=1.0))
            return
        self._arm()
        self.config.table.waits_for_request(self)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on, request by request; count those that are no body."""
        if self._held:  # state 3, and more of what was sent ahead
            self._hold(data)
            return
        start = 0
        while start < len(data) and not self.transport.is_closing():
            if self._has_request():  # the piece before this one completed a request
                self._hold(data[start:])
                return
            # Never more than one head at a time: else the parser would take all requests that one read holds.
            end = data.find(_END_OF_HEAD, start)
            end = len(data) if end < 0 else end + len(_END_OF_HEAD)
            self._feed(data[start:end] if start or end < len(data) else data)
            start = end

    def on_response_complete(self) -> None:
        """Let what was held back have its turn."""
        super().on_response_complete()  # type: ignore[misc]
        if self.transport.is_closing():
            return
        self.config.table.waits_for_request(self)
        if self._held:
            self.flow.pause_reading()
            self.config.table.resume_later(self, self.loop)

    def resume(self) -> None:
        """Go on with what was held back."""
        held, self._held = self._held, b""
        if held:
            self.flow.resume_reading()
            self.data_received(held)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self.config.table.works(self)
        self._disarm()
        self._watch_sending(False)
        self._held = b""
        super().connection_lost(exc)  # type: ignore[misc]

    def pause_writing(self) -> None:
        """Start the clock for a client that does not take what it is sent."""
        super().pause_writing()  # type: ignore[misc]
        self._watch_sending(True)

    def resume_writing(self) -> None:
        """Stop that clock: the client has taken everything."""
        self._watch_sending(False)
        super().resume_writing()  # type: ignore[misc]

    def send_400_response(self, msg: str) -> None:
        """Answer to what is no HTTP, or to a head that the parser finds too large, with an envelope."""
        hint = getattr(sys.exception(), "error_status_hint", HTTPStatus.BAD_REQUEST)
        if hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE or self._is_too_large():
            self.reject(_too_large(self.config.settings.max_header_bytes))
        else:
            self.reject(InvalidRequestError("this is no valid HTTP request"))

    def reject(self, error: OMPError) -> None:
        """Send an error without a request, and close the connection; in the middle of an answer, only close it."""
        self._disarm()
        if self.transport.is_closing():
            return
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()
            return
        status, headers, body, request_id = error_answer(error)
        lines = b"".join(b"%s: %s\r\n" % pair for pair in [*headers, (b"connection", b"close")])
        phrase = HTTPStatus(status).phrase.encode()
        self.transport.write(b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, phrase, lines, body))
        self.transport.close()
        write_access("-", UNMATCHED, status, 0.0, request_id)

    def evict(self) -> bool:
        """Close, to make room for another connection; return whether it did.

        It does not while a request runs, nor before a caller whose key was checked has sent or taken everything.
        """
        # It may go 1. idle, with all it was sent taken; 2. in the middle of a request whose key was not checked;
        # 3. with an answer that a caller without a key does not take.
        waits = self._is_idle() and not self.transport.get_write_buffer_size()
        known = self.cycle is not None and "caller" in self.cycle.scope["state"]
        if (known and not waits) or (self._has_request() and not self.flow.write_paused):
            return False
        log.info("a connection was closed to make room for another")
        self.transport.abort()
        return True

    def _feed(self, data: bytes) -> None:
        before, idle = self.cycle, self._is_idle()
        if idle:
            self._head += len(data)
        else:
            self._framing += len(data)
        super().data_received(data)  # type: ignore[misc]
        if self.cycle is not before:  # 1. to 2.: the head is complete
            self._disarm()
            self.config.table.waits_for_body(self)
        elif self.transport.is_closing():
            return
        elif idle:  # still 1.: once the clock runs, more bytes do not set it back
            self._arm()
        if self._is_too_large() and not self.transport.is_closing():
            self.reject(_too_large(self.config.settings.max_header_bytes))

    def _has_request(self) -> bool:
        """Whether a request waits for its answer: nothing that comes after it is parsed yet."""
        cycle = self.cycle
        return bool(self.pipeline) or (cycle is not None and not cycle.more_body and not cycle.response_complete)

    def _hold(self, data: bytes) -> None:
        self._held += data
        self.flow.pause_reading()

    def _is_too_large(self) -> bool:
        return max(self._head, self._framing) > self.config.settings.max_header_bytes

    def _is_idle(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.config.settings.head_timeout, self._is_late)

    def _disarm(self) -> None:
        self._head = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_late(self) -> None:
        self._timer = None
        if self.transport.is_closing() or not self._is_idle():
            return
        if self._head:
            self.reject(SlowRequestError("the head of the request did not arrive in time"))
        else:
            log.debug("a connection was closed on which no request came")
            self.transport.close()

    def _watch_sending(self, on: bool) -> None:
        if self._sending is not None:
            self._sending.cancel()
        self._unsent = self.transport.get_write_buffer_size() if on else 0
        self._sending = self.loop.call_later(self.config.settings.write_timeout, self._is_stuck) if on else None

    def _is_stuck(self) -> None:
        if self.transport.get_write_buffer_size() < self._unsent:  # slow, but it takes something
            self._watch_sending(True)
            return
        request_id = request_id_of(self.cycle.scope) if self.cycle else "-"
        log.info("a connection was closed whose client did not take its answer req=%s", request_id)
        self.transport.abort()


def _too_large(limit: int) -> HeaderTooLargeError:
    return HeaderTooLargeError(f"the head of the request is larger than {limit} bytes")
