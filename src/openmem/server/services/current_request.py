"""The request as the services see it."""

from __future__ import annotations

from collections.abc import Awaitable, MutableMapping
from typing import Any, Final, Protocol, TypeVar

from openmem import AsyncMemory
from openmem.server.services.authentication import Caller

T = TypeVar("T")

MIN_TIME_AFTER_WRITE: Final = 1.0
"""Seconds for what must follow a write, however little time is left."""


class CurrentRequest(Protocol):
    """A request that a handler answers."""

    caller: Caller
    request_id: str
    body: bytes
    scope: MutableMapping[str, Any]

    @property
    def app(self) -> str | None:
        """The app that audit entries name."""

    def header(self, name: str) -> str | None:
        """Return the text of a header."""

    def memory(self) -> AsyncMemory:
        """Return the memory as the caller may use it."""

    def mark_write_started(self) -> None:
        """Note that a write is about to begin."""

    async def in_time(self, work: Awaitable[T], *, least: float = 0.0) -> T:
        """Return what `work` returns, or raise once the time for the request is up."""
