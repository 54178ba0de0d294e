"""Connections: none may dawdle over the head of a request or its answer, send a huge one, or be one too many.

uvicorn waits for ever for the rest of a head and for a client to take its answer. Its protocols are used with a guard
in front.
"""

from __future__ import annotations

import logging
import socket
import sys
from contextlib import suppress
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from uvicorn.protocols.http.h11_impl import H11Protocol

from openmem import InvalidRequestError, OMPError
from openmem.server.asgi import UNMATCHED, envelope, error_headers, request_id_of
from openmem.server.edge import write_access
from openmem.server.refusals import HeaderTooLargeError, OverloadedError, SlowRequestError

if TYPE_CHECKING:
    from openmem.server.serve import EdgeConfig

log: Final = logging.getLogger("openmem.server")

# Else the kernel says that there is room again only after it sent megabytes: a slow reader would look like none at all.
UNSENT_BYTES: Final = 65_536
_LOW_WATER: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux and macOS


class Guard:
    """What stands in front of a protocol of uvicorn."""

    # What uvicorn's protocols have; they share no base that says so.
    config: EdgeConfig
    transport: Any
    cycle: Any
    loop: Any
    connections: set[Any]

    _timer: Any = None
    _head = 0  # bytes of a head that is not complete
    _sending: Any = None
    _unsent = 0  # bytes that the client had not taken when the clock was started

    def connection_made(self, transport: Any) -> None:
        """Start the clock for the first request, unless there are too many connections."""
        super().connection_made(transport)  # type: ignore[misc]
        transport.set_write_buffer_limits(high=0)  # whatever cannot be sent at once is watched
        if _LOW_WATER is not None:
            with suppress(OSError):  # of a connection that is gone already
                transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _LOW_WATER, UNSENT_BYTES)
        if len(self.connections) > self.config.settings.max_connections:
            self.reject(OverloadedError("the server has too many connections", retry_after=1.0))
            return
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on; watch those of a head."""
        if self.transport.is_closing():
            return
        before = self.cycle
        if self._is_idle():
            self._head += len(data)
        super().data_received(data)  # type: ignore[misc]
        if self.cycle is not before:
            self._disarm()
        elif self._is_idle() and not self.transport.is_closing():
            self._arm()
            if self._is_too_large():
                self.reject(_too_large(self.config.settings.max_header_bytes))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._disarm()
        self._watch_sending(False)
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
        """Answer to what is no HTTP, or to a head that h11 finds too large, with an envelope."""
        hint = getattr(sys.exception(), "error_status_hint", HTTPStatus.BAD_REQUEST)
        if hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE or self._is_too_large():
            self.reject(_too_large(self.config.settings.max_header_bytes))
        else:
            self.reject(InvalidRequestError("this is no valid HTTP request"))

    def reject(self, error: OMPError) -> None:
        """Send an error without a request, and close the connection."""
        request_id = uuid4().hex
        body = envelope(error, request_id)
        status = HTTPStatus(error.http_status)
        headers = [*error_headers(error, len(body)), (b"connection", b"close"), (b"x-request-id", request_id.encode())]
        headers += [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
        lines = b"".join(b"%s: %s\r\n" % pair for pair in headers)
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, status.phrase.encode(), lines, body))
            self.transport.close()
        self._disarm()
        write_access("-", UNMATCHED, status, 0.0, request_id)

    def _is_too_large(self) -> bool:
        return self._head > self.config.settings.max_header_bytes

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
        if self.transport.get_write_buffer_size() < self._unsent:
            self._watch_sending(True)
            return
        request_id = request_id_of(self.cycle.scope) if self.cycle else None
        log.info("a connection was closed whose client did not take its answer req=%s", request_id or "-")
        self.transport.abort()


def _too_large(limit: int) -> HeaderTooLargeError:
    return HeaderTooLargeError(f"the head of the request is larger than {limit} bytes")


class GuardedH11(Guard, H11Protocol):  # type: ignore[misc]
    """The parser in Python."""


def protocol_class() -> type[Any]:
    """Return the protocol with the faster parser of those that are installed."""
    if find_spec("httptools") is None:
        return GuardedH11
    from openmem.server.protocol_httptools import GuardedHttpTools

    return GuardedHttpTools
