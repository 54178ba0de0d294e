"""Parts that all requests share: the memory, the server's store, authentication, and the audit log."""

from __future__ import annotations

from typing import Final, Protocol

from openmem import AsyncMemory, AsyncServerStore
from openmem._protocol.routes import Effect
from openmem.server.middleware.admission import Admission, Streams
from openmem.server.middleware.body_budget import BodyBudget, ParsedBudget
from openmem.server.services.audit import AuditLog
from openmem.server.services.authentication import Callers
from openmem.server.services.idempotency import Replies

MAX_STREAMS: Final = 200
"""Streams of changes that a process has open at once."""


class RouteSettings(Protocol):
    """The settings that the routes read."""

    @property
    def open_without_keys(self) -> bool:
        """Whether every request may do everything as long as no key was made."""

    @property
    def verb_timeout(self) -> float | None:
        """Seconds that a verb may take; `None` for as long as the memory itself allows."""

    @property
    def docs(self) -> bool:
        """Whether `/docs` shows the contract in a browser."""


class Service:
    """The parts of a running server that the routes use."""

    def __init__(
        self,
        memory: AsyncMemory,
        store: AsyncServerStore | None,
        settings: RouteSettings | None,
        admission: Admission | None = None,
    ) -> None:
        self.memory = memory
        self.admission = admission or Admission()
        self.streams = Streams(MAX_STREAMS)
        self.bodies = BodyBudget()
        self.parsed = ParsedBudget()
        self.store = store
        self.timeout = None if settings is None else settings.verb_timeout
        self.callers = Callers(store, open_without_keys=settings is None or settings.open_without_keys)
        self.replies = Replies(store)
        self.audit = AuditLog(memory, store)

    async def must_end(self, effect: Effect) -> bool:
        """Return whether a request is brought to its end even if its client leaves.

        What follows a write must not be left out: the entry in the server's audit log, and after a deletion the erasure
        of replies that hold the memory. A write that a provider enters by itself needs nothing more.
        """
        if effect == "erase":
            return self.store is not None
        return effect == "write" and await self.audit.needed()
