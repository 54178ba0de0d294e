"""The protocols of uvicorn with the guard in front: which one there is depends on what is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from openmem.server.runtime.connection_limits import Guard


class GuardedH11(Guard, H11Protocol):  # type: ignore[misc]
    """The parser in Python. It bounds trailers like a head and keeps them apart by itself."""

    def _is_too_large(self) -> bool:
        return self._head > self.config.settings.max_header_bytes


def protocol_class() -> type[Any]:
    """Return the protocol with the faster parser of those that are installed."""
    if find_spec("httptools") is None:
        return GuardedH11
    from openmem.server.runtime.protocols_httptools import GuardedHttpTools

    return GuardedHttpTools
