"""The audit log of providers that keep none: the server enters what was done, and answers `audit` itself."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from openmem import AsyncMemory, AsyncServerStore, OMPError, ProviderError
from openmem.errors import ScopeDeniedError
from openmem.server.services.current_request import MIN_TIME_AFTER_WRITE, CurrentRequest
from openmem.server.services.timing import off_loop
from openmem.types import AuditEntry

if TYPE_CHECKING:
    from openmem import MemoryRecord

logger = logging.getLogger("openmem.server")

_MANY: Final = 200  # entries that are made off the event loop


class Touched(NamedTuple):
    """The target of a verb: a memory of a user, or all that a user has in a scope."""

    user_id: str
    memory_id: str | None = None
    scope: str | None = None


class AuditLog:
    """Enters verbs into the server's store if the provider does not keep an audit log of its own."""

    def __init__(self, memory: AsyncMemory, store: AsyncServerStore | None) -> None:
        self._memory = memory
        self._store = store
        self._needed: bool | None = None if store is not None else False

    async def needed(self) -> bool:
        """Return whether the server keeps the audit log."""
        if self._needed is None:
            capabilities = await self._memory.capabilities()
            self._needed = not capabilities.features.supports_audit
        return self._needed

    @asynccontextmanager
    async def writing(self, request: CurrentRequest, action: str, *touched: Touched) -> AsyncIterator[None]:
        """Enter a write that failed in its block in a way that leaves open whether it was made.

        One that succeeds is entered by the route, which knows its result; one that was refused is not entered.
        """
        request.mark_write_started()
        try:
            yield
        except BaseException as error:
            if is_open(error):
                await self.enter(request, action, *touched)
            raise

    async def enter_records(self, request: CurrentRequest, action: str, records: Iterable[MemoryRecord]) -> None:
        """Enter that something was done to memories."""
        if self._needed is False:  # there may be ten thousand
            return
        await self.enter(request, action, *(Touched(one.user_id, one.id, one.scope) for one in records))

    async def enter(self, request: CurrentRequest, action: str, *touched: Touched) -> None:
        """Enter that a caller did something. What was done stays done if the entry cannot be written."""
        if self._needed is False or not await self.needed():
            return
        named = {"timestamp": datetime.now(UTC), "app": request.app, "action": action}
        named["request_id"] = request.request_id
        many = len(touched) > _MANY
        entries = await off_loop(_entries_of, named, touched) if many else _entries_of(named, touched)
        try:
            await request.in_time(self._write(entries), least=MIN_TIME_AFTER_WRITE)
        except OMPError as error:
            logger.error("the audit log could not be written: %s req=%s", error.code, request.request_id)

    async def _write(self, entries: Mapping[str, Sequence[AuditEntry]]) -> None:
        assert self._store is not None
        for user_id, some in entries.items():
            await self._store.enter(user_id, *some)

    async def forget(self, user_id: str, scope: str | None) -> dict[str, tuple[int, int]]:
        """Make the audit log forget which memories were erased: those of a user, or of a scope.

        Returns:
            For an `ErasureReceipt`: how many entries of a store were changed, and how many should be but are not;
            nothing if the provider keeps the audit log.
        """
        if not await self.needed():
            return {}
        assert self._store is not None
        return {"audit": await self._store.forget_entries_of(user_id, scope=scope)}

    async def entries(
        self, request: CurrentRequest, user_id: str, app: str | None, since: datetime | None, limit: int
    ) -> list[AuditEntry]:
        """Return a user's entries, newest first.

        Raises:
            ScopeDeniedError: The caller may not read all that the user has.
        """
        assert self._store is not None
        access = request.caller.access
        if access.user_id not in (None, user_id):
            raise ScopeDeniedError("the key is bound to another user")
        access.need("read", None)
        return await self._store.entries(user_id, app=app, since=since, limit=limit)


def _entries_of(named: Mapping[str, object], touched: Sequence[Touched]) -> dict[str, list[AuditEntry]]:
    """Return the entries of each user that say the same of everything touched."""
    entries: dict[str, list[AuditEntry]] = {}
    for user_id, memory_id, scope in touched:
        entry = AuditEntry.model_validate({**named, "memory_id": memory_id, "scope": scope})
        entries.setdefault(user_id, []).append(entry)
    return entries


def is_open(error: BaseException) -> bool:
    """Return whether a write that ended like this may have been made all the same."""
    return isinstance(error, ProviderError) or not isinstance(error, OMPError)
