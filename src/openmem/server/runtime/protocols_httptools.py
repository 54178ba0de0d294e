"""The guard in front of the parser in C. Only importable where httptools is installed."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from openmem._protocol.request_heads import MAX_HEADERS
from openmem.server.runtime.connection_limits import Guard


class TooManyHeadersError(Exception):
    """The head has too many headers; the parser stops."""


class GuardedHttpTools(Guard, HttpToolsProtocol):  # type: ignore[misc]
    """The parser in C.

    It calls `on_header` for trailers, too. A trailer is never a header (RFC 9110, 6.5.1): it is dropped.
    """

    _in_head = False

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; drop a trailer."""
        if not self._in_head:
            return
        if len(self.headers) >= MAX_HEADERS:
            self._head = self.config.settings.max_header_bytes + 1
            raise TooManyHeadersError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End the head: what is called a header from now on is a trailer."""
        self._in_head = False
        self._framing = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._framing = 0
        super().on_body(body)
