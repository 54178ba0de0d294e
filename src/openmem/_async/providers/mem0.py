"""mem0, hosted or in process: texts are stored verbatim, and what mem0 cannot do is done on this side or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, cast

from openmem._async.embedders import AsyncEmbedder
from openmem._async.providers.emulated import AsyncEmulatedProvider
from openmem._config.registry import built_in_options
from openmem._config.settings import Settings
from openmem._emulation import writing
from openmem._emulation.backend import Backend, Task
from openmem._io.concurrency.call import Call
from openmem._io.vendors.mem0 import client as clients
from openmem._io.vendors.mem0.errors import NAME
from openmem._io.vendors.mem0.hosted import EVENT
from openmem._io.vendors.mem0.oss import LISTS_ALL_USERS
from openmem._model.ids import unknown_id
from openmem._model.requests import Draft, UsersQuery
from openmem.errors import InvalidRequestError
from openmem.types import MemoryRecord, SearchMode, UserPage

_EXACT_COSINE: Final = ("qdrant", "pgvector")


class AsyncMem0Provider(AsyncEmulatedProvider):
    """Memories in mem0.

    Options:
        mode: "hosted" (with `api_key`) or "oss", mem0 in this process (with `config`).
        config: What `mem0.Memory.from_config` takes.
        client: A ready `mem0.Memory` or `mem0.MemoryClient` instead; it stays the caller's, who closes it.
        infer: Let mem0's language model choose and reword what is stored (False: texts are stored as given).
        workers: How many calls may run at once (8).
    """

    name: ClassVar[str] = "mem0"
    takes_base_url: ClassVar[bool] = True
    poll: ClassVar[float] = 0.5
    options: ClassVar[frozenset[str]] = built_in_options("mem0")
    native: ClassVar[tuple[str, ...]] = (
        "add",
        "get",
        "update",
        "delete",
        "search",
        "wait_for_ingest",
        "health",
        "user_id",
        "exact scope",
        "get without user_id",
        "score",
    )
    emulated: ClassVar[tuple[str, ...]] = (
        "add_many",
        "delete_all",
        "list",
        "context",
        "export",
        "import",
        "scope/*",
        "tags",
        "since",
        "until",
        "valid_from",
        "valid_to",
        "as_of",
        "supersedes",
        "where",
        "key",
        "cursor",
    )

    def __init__(self, settings: Settings, embedder: AsyncEmbedder | None) -> None:
        super().__init__(settings, embedder)
        self._access = clients.access_of(settings)
        if self._access.mode == "oss" and self._store in _EXACT_COSINE:
            self.modes: frozenset[SearchMode] = frozenset({"hybrid", "vector"})  # type: ignore[misc]
        if self._access.infer:
            self.absent = frozenset({"add_many", "key"})
        if self._access.mode == "oss" and self._store not in LISTS_ALL_USERS:
            self.absent |= {"users"}

    def make_backend(self) -> Backend:
        """Make the client of the SDK, or take the ready one."""
        return clients.make(self._access)

    def dispose(self, backend: Backend) -> None:
        """Close the client, unless it is the caller's."""
        clients.close(self._access, cast("clients.Mem0Backend", backend))

    def check_user(self, user_id: str) -> None:
        """Refuse white space, which mem0 trims or refuses."""
        if user_id.split() != [user_id]:
            raise InvalidRequestError("user_id must not hold white space: mem0 does not take it", provider=self.name)

    def features(self) -> dict[str, object]:
        """Return the feature flags; with `infer` what is stored comes later and in other words."""
        later = self._access.infer and self._access.mode == "hosted"
        return {
            **super().features(),
            "async_ingestion": later,
            "status_field": later,
            "mode": self._access.mode,
            "verbatim": not self._access.infer,
        }

    async def add(
        self, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, call: Call
    ) -> list[MemoryRecord]:
        """Store drafts as they are, or let mem0 make of one what it likes."""
        if not self._access.infer:
            return await super().add(drafts, on_progress, call)
        if len(drafts) != 1:
            raise self.cannot("add_many with infer=True")
        draft = drafts[0]
        if draft.key is not None:
            raise self.cannot("add(key=) with infer=True")
        self.check_user(draft.user_id)
        record = await self._do(lambda backend, task: _extract(backend, draft, task), call)
        return await self.taken_in([record], call)

    async def unready(self, ids: Sequence[str], user_id: str, call: Call) -> Sequence[str]:
        """Return which events among the ids are not done, after a look whether the memories are there."""
        events = [id_ for id_ in ids if id_.startswith(EVENT)]
        await super().unready([id_ for id_ in ids if not id_.startswith(EVENT)], user_id, call)
        done = {*await self._spread(events, 1, lambda backend, part, task: _if_done(backend, part[0], user_id), call)}
        return [event for event in events if event not in done]

    async def users(self, query: UsersQuery, call: Call) -> UserPage:
        """Return a page of the users, where mem0 can be asked for the memories of all."""
        if "users" in self.absent:
            raise self.cannot("users on this store of mem0's")
        return await super().users(query, call)

    @property
    def _store(self) -> str:
        if self._access.client is not None:
            store = getattr(getattr(self._access.client, "config", None), "vector_store", None)
            return str(getattr(store, "provider", ""))
        return str(((self._access.config or {}).get("vector_store") or {}).get("provider", "qdrant"))


def _extract(backend: Backend, draft: Draft, task: Task) -> MemoryRecord:
    writing.mark_superseded(backend, draft)
    record: MemoryRecord = cast(Any, backend).extract(writing.record_of(draft, task))
    return record


def _if_done(backend: Backend, event: str, user_id: str) -> str | None:
    """Return the event if it is done, `None` if not."""
    records = cast(Any, backend).event_records(event)
    if records is None:
        return None
    if all(record.user_id != user_id for record in records):
        raise unknown_id(event, NAME)
    return event
