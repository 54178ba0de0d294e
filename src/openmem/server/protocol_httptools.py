"""The guard in front of the parser in C. Only importable where httptools is installed."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from openmem.server.protocol import Guard


class GuardedHttpTools(Guard, HttpToolsProtocol):  # type: ignore[misc]
    """The parser in C."""
