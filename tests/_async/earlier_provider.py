"""A provider as a third party wrote it before arguments came that it does not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from openmem._async.providers.sqlite import AsyncSqliteProvider
from openmem._config.registry import ProviderSpec
from openmem._io.concurrency.call import Call
from openmem._model.ids import Named
from openmem._model.requests import Change, Draft
from openmem.types import ImportConflict, ImportReport, MemoryRecord

SPEC = ProviderSpec(
    "earlier", "tests._async.earlier_provider:AsyncEarlierProvider", "tests._sync.earlier_provider:EarlierProvider"
)


class AsyncEarlierProvider(AsyncSqliteProvider):
    """The embedded provider, which would lose what it does not know."""

    name: ClassVar[str] = "earlier"
    understands: ClassVar[frozenset[str]] = frozenset()

    async def add(
        self, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, call: Call
    ) -> list[MemoryRecord]:
        assert all(draft.metadata is None for draft in drafts), "a third party does not know this field"
        assert not any(draft.if_absent or draft.if_version for draft in drafts), (
            "a third party does not know this field"
        )
        return await super().add(drafts, on_progress, call)

    async def update(self, id: Named, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        assert change.fields.keys() <= {"content", "tags"}, "a third party does not know this field"
        return await super().update(id, user_id, change, call)

    async def import_(self, drafts: Sequence[Draft], conflict: ImportConflict, call: Call) -> ImportReport:
        assert all(draft.metadata is None for draft in drafts), "a third party does not know this field"
        return await super().import_(drafts, conflict, call)
