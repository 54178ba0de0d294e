"""A provider as a third party might write it: it knows nothing of grants, and takes no part in enforcing them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

from openmem._async.providers.sqlite import AsyncSqliteProvider
from openmem._config.registry import ProviderSpec
from openmem._io.concurrency.call import Call
from openmem._model.candidates import Candidate
from openmem._model.ids import Named
from openmem._model.requests import Change, Draft, HistoryQuery, ListQuery, SearchQuery
from openmem._model.results import HistoryPage
from openmem.types import MemoryPage, MemoryRecord, SearchResult

SPEC = ProviderSpec(
    "outside", "tests._async.outside_provider:AsyncOutsideProvider", "tests._sync.outside_provider:OutsideProvider"
)


class AsyncOutsideProvider(AsyncSqliteProvider):
    """The embedded provider, made blind to the caller."""

    name: ClassVar[str] = "outside"
    enforces_access: ClassVar[bool] = False

    async def add(
        self, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, call: Call
    ) -> list[MemoryRecord]:
        return await super().add(drafts, on_progress, _blind(call))

    async def get(self, id: Named, user_id: str | None, call: Call) -> MemoryRecord:
        return await super().get(id, user_id, _blind(call))

    async def update(self, id: Named, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        return await super().update(id, user_id, change, _blind(call))

    async def delete(self, id: str, user_id: str | None, call: Call) -> None:
        await super().delete(id, user_id, _blind(call))

    async def delete_by_key(self, key: str, user_id: str | None, call: Call) -> str:
        return await super().delete_by_key(key, user_id, _blind(call))

    async def list(self, query: ListQuery, call: Call) -> MemoryPage:
        assert query.view.visible is None, "a third party does not know this field"
        return await super().list(query, _blind(call))

    async def search(self, query: SearchQuery, call: Call) -> Sequence[SearchResult]:
        assert query.view.visible is None, "a third party does not know this field"
        return await super().search(query, _blind(call))

    async def candidates(self, query: SearchQuery, call: Call) -> Sequence[Candidate]:
        assert query.view.visible is None, "a third party does not know this field"
        return await super().candidates(query, _blind(call))

    async def history(self, id: str, user_id: str | None, call: Call) -> Sequence[MemoryRecord]:
        return await super().history(id, user_id, _blind(call))

    async def history_by_key(self, query: HistoryQuery, call: Call) -> HistoryPage:
        return await super().history_by_key(query, _blind(call))

    async def wait_for_ingest(self, ids: Sequence[str], user_id: str, call: Call) -> None:
        await super().wait_for_ingest(ids, user_id, _blind(call))


def _blind(call: Call) -> Call:
    return replace(call, access=None)
