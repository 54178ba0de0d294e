"""The journal of providers that keep none: the server enters what was done, and answers `audit` itself."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from openmem import AsyncMemory, AsyncServerStore, AuditEntry, OMPError, ScopeDeniedError

if TYPE_CHECKING:
    from openmem import MemoryRecord
    from openmem.server.exchange import Exchange

logger = logging.getLogger("openmem.server")


class Journal:
    """Enters verbs into the server's store if the provider does not keep a journal of its own."""

    def __init__(self, memory: AsyncMemory, store: AsyncServerStore | None) -> None:
        self._memory = memory
        self._store = store
        self._needed: bool | None = None if store is not None else False

    async def needed(self) -> bool:
        """Return whether the server keeps the journal."""
        if self._needed is None:
            capabilities = await self._memory.capabilities()
            self._needed = not capabilities.features.supports_audit
        return self._needed

    async def enter_records(self, exchange: Exchange, action: str, records: Sequence[MemoryRecord]) -> None:
        """Enter that something was done to memories."""
        if self._needed is False or not await self.needed():
            return
        for record in records:
            await self.enter(exchange, action, record.user_id, record.id, record.scope)

    async def enter(
        self, exchange: Exchange, action: str, user_id: str, memory_id: str | None = None, scope: str | None = None
    ) -> None:
        """Enter that a caller did something. What was done stays done if the entry cannot be written."""
        if self._needed is False or not await self.needed():
            return
        assert self._store is not None
        entry = AuditEntry.model_validate(
            {
                "timestamp": datetime.now(UTC),
                "app": exchange.app,
                "action": action,
                "memory_id": memory_id,
                "scope": scope,
                "request_id": exchange.request_id,
            }
        )
        try:
            await self._store.enter(user_id, entry)
        except OMPError as error:
            logger.error("the journal could not be written: %s req=%s", error.code, exchange.request_id)

    async def entries(
        self, exchange: Exchange, user_id: str, app: str | None, since: datetime | None, limit: int
    ) -> list[AuditEntry]:
        """Return a user's entries, newest first.

        Raises:
            ScopeDeniedError: The caller may not read all that the user has.
        """
        assert self._store is not None
        access = exchange.caller.access
        if access.user_id not in (None, user_id):
            raise ScopeDeniedError("the key is bound to another user")
        access.need("read", None)
        return await self._store.entries(user_id, app=app, since=since, limit=limit)
