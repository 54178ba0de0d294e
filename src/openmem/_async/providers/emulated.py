"""Base of the providers that translate to the SDK of another service; `openmem._emulation` describes the contract."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Final, TypeVar

from openmem._async.embedders import AsyncEmbedder
from openmem._async.provider import AsyncProvider
from openmem._config.settings import Settings
from openmem._emulation import importing, overview, reading, writing
from openmem._emulation.backend import Backend, Task
from openmem._io.concurrency.call import Call, Deadline
from openmem._io.concurrency.primitives import async_gather, async_sleep
from openmem._io.vendors.blocking_sdk import AsyncBlockingClient
from openmem._io.vendors.call_deadline import fresh_deadline
from openmem._io.vendors.workers import workers_of
from openmem._io.vendors.writer_locks import WriterLocks
from openmem._model.checks import MAX_CONTENT
from openmem._model.ids import Key
from openmem._model.requests import Change, Draft, Erasure, ListQuery, ScopesQuery, SearchQuery, TagsQuery, UsersQuery
from openmem._model.retry import DEFAULT_RETRY
from openmem._model.scopes import ScopePattern
from openmem._rules.capabilities import OMP_VERSION
from openmem._rules.understanding import BY_KEY, METADATA, ORDERS, PAGES, SEARCHABLE, WHERE
from openmem._rules.validation import MAX_SEARCH
from openmem.errors import DeadlineExceededError, IngestionTimeoutError
from openmem.types import (
    Capabilities,
    ErasureReceipt,
    Health,
    ImportConflict,
    ImportReport,
    MemoryPage,
    MemoryRecord,
    Overview,
    ScopeInfo,
    SearchMode,
    SearchResult,
    TagInfo,
    UserPage,
)

T = TypeVar("T")

_PART: Final = 20  # memories that one call of a worker looks up, at most
_FIRST_PAUSE: Final = 0.01
_OVERVIEWS: Final = ("scopes", "tags", "users")  # no service counts for us
VERBS: Final = (
    "add",
    "add_many",
    "get",
    "update",
    "delete",
    "delete_all",
    "list",
    "search",
    "scopes",
    "tags",
    "users",
    "context",
    "export",
    "import",
    "wait_for_ingest",
    "health",
)


class AsyncEmulatedProvider(AsyncProvider):
    """Every verb as one call of a worker over a `Backend`. A subclass makes the backend and says what it can do.

    Args:
        settings: What the provider is built from; `options["workers"]` is how many calls may run at once (8).
        embedder: Not used: the service makes its own vectors.
    """

    modes: ClassVar[frozenset[SearchMode]] = frozenset({"hybrid"})
    """The modes of search that the service has."""
    native: ClassVar[tuple[str, ...]] = ()
    """The features that the service itself has, for `capabilities`."""
    emulated: ClassVar[tuple[str, ...]] = ()
    """The features that are emulated on this side, for `capabilities`."""
    takes_retry: ClassVar[bool] = True
    understands: ClassVar[frozenset[str]] = METADATA | SEARCHABLE | {BY_KEY} | ORDERS | PAGES | WHERE
    absent: frozenset[str] = frozenset()
    """Verbs that are refused as the provider is set up; `capabilities` leaves them out."""
    poll: ClassVar[float] = 1.0
    """Seconds between two looks at what is being taken in, at most."""

    def __init__(self, settings: Settings, embedder: AsyncEmbedder | None) -> None:
        super().__init__(settings, embedder)
        self._workers = workers_of(settings)
        self._sdk = AsyncBlockingClient[Backend](
            self.make_backend, self.dispose, self._workers, self.name, settings.retry or DEFAULT_RETRY
        )
        self._locks = WriterLocks()

    @abstractmethod
    def make_backend(self) -> Backend:
        """Return the backend; called once, in a worker, before the first verb that needs it."""

    @abstractmethod
    def dispose(self, backend: Backend) -> None:
        """Close what `make_backend` opened; called once, in a worker, after the last verb."""

    def forked(self) -> None:
        """Start without a client: connections must not cross a fork."""
        self._sdk.forked()
        self._locks = WriterLocks()

    async def aclose(self) -> None:
        """Close the client once no call uses it."""
        await self._sdk.aclose()

    async def capabilities(self, call: Call) -> Capabilities:
        """Say what the service does itself, what is done on this side, and what is not to be had."""
        call.deadline.check()
        return Capabilities.model_validate(
            {
                "omp_version": OMP_VERSION,
                "provider": self.name,
                "verbs": [verb for verb in VERBS if verb not in self.absent],
                "features": self.features(),
                "limits": {"max_search_results": MAX_SEARCH},
            }
        )

    def features(self) -> dict[str, object]:
        """Return the feature flags; subclasses add to them."""
        emulated = dict.fromkeys((*self.emulated, *_OVERVIEWS, *sorted(self.understands)))
        return {
            "vector_search": "vector" in self.modes,
            "keyword_search": "keyword" in self.modes,
            "graph_queries": False,
            "temporal": True,
            "scopes": "tags",
            "max_content_length": MAX_CONTENT,
            "supports_e2e": False,
            "supports_audit": False,
            "supports_supersession": True,
            "status_field": False,
            "async_ingestion": False,
            "auto_chunking": False,
            "native": [name for name in self.native if name not in self.absent],
            "emulated": [name for name in emulated if name not in self.absent],
        }

    async def taken_in(self, records: list[MemoryRecord], call: Call) -> list[MemoryRecord]:
        """Return what was stored; with `OMP_INGEST_BLOCK=1` once it can be found.

        Raises:
            IngestionTimeoutError: It is stored, and could not be found in time.
        """
        pending = [record for record in records if record.status in ("queued", "indexing")]
        if not pending or not self.settings.ingest_block:
            return records
        limit = self.settings.ingest_timeout
        waiting = call if limit is None else replace(call, deadline=Deadline.after(limit))
        for user_id in dict.fromkeys(record.user_id for record in pending):
            own = [record.id for record in pending if record.user_id == user_id]
            await self.wait_for_ingest(own, user_id, waiting)
        return [record.model_copy(update={"status": "done"} if record in pending else {}) for record in records]

    async def add(
        self, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, call: Call
    ) -> list[MemoryRecord]:
        """Store drafts; if one fails, those before it are taken back."""
        self._check_users(draft.user_id for draft in drafts)
        report = None if on_progress is None else self._sdk.call_on_loop(on_progress)
        records = await self._do(lambda backend, task: writing.add(backend, drafts, report, task), call)
        return await self.taken_in(records, call)

    async def get(self, id: str, user_id: str | None, call: Call) -> MemoryRecord:
        """Return one memory, after a look at whose it is."""
        self._check_users([user_id])
        return await self._do(lambda backend, task: reading.find(backend, id, user_id).record, call)

    async def update(self, id: str, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change one memory, after a look at whose it is."""
        self._check_users([user_id])
        if change.if_version is not None:
            raise self.cannot("update(if_version=)")
        return await self._do(lambda backend, task: writing.update(backend, id, user_id, change, task), call)

    async def delete(self, id: str, user_id: str | None, call: Call) -> None:
        """Erase one memory, after a look at whose it is."""
        self._check_users([user_id])
        await self._do(lambda backend, task: writing.delete(backend, id, user_id, task), call)

    async def get_by_key(self, key: str, user_id: str | None, call: Call) -> MemoryRecord:
        """Return the memory of a user that has a key."""
        owner = self.key_owner(user_id)
        return await self._do(lambda backend, task: reading.find(backend, Key(key), owner).record, call)

    async def update_by_key(self, key: str, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change the memory of a user that has a key."""
        owner = self.key_owner(user_id)
        if change.if_version is not None:
            raise self.cannot("update(if_version=)")
        return await self._do(lambda backend, task: writing.update(backend, Key(key), owner, change, task), call)

    async def delete_by_key(self, key: str, user_id: str | None, call: Call) -> str:
        """Erase the memory of a user that has a key, and return its id."""
        owner = self.key_owner(user_id)
        return await self._do(lambda backend, task: writing.delete(backend, Key(key), owner, task), call)

    async def delete_all(self, user_id: str, scope: ScopePattern | None, call: Call) -> ErasureReceipt:
        """Erase a user's memories one by one and count again."""
        self._check_users([user_id])
        return await self._do(lambda backend, task: writing.erase(backend, user_id, scope, task), call)

    async def delete_matching(self, erasure: Erasure, call: Call) -> ErasureReceipt:
        """Erase those of a user's memories that a filter is true of, one by one, and count again."""
        user_id, scope, where = erasure.user_id, erasure.scope, erasure.where
        self._check_users([user_id])
        return await self._do(lambda backend, task: writing.erase(backend, user_id, scope, task, where), call)

    async def list(self, query: ListQuery, call: Call) -> MemoryPage:
        """Return a page of memories, newest first."""
        self._check_users([query.view.user_id])
        return await self._do(lambda backend, task: reading.page(backend, query, task), call)

    async def scopes(self, query: ScopesQuery, call: Call) -> Overview[ScopeInfo]:
        """Return the scopes of a user, counted over all that the service has of it."""
        self._check_users([query.view.user_id])
        return await self._do(lambda backend, task: overview.scopes(backend, query, task), call)

    async def tags(self, query: TagsQuery, call: Call) -> Overview[TagInfo]:
        """Return the tags of a user, counted in the same way."""
        self._check_users([query.view.user_id])
        return await self._do(lambda backend, task: overview.tags(backend, query, task), call)

    async def users(self, query: UsersQuery, call: Call) -> UserPage:
        """Return a page of the users whom the service knows, each counted in the same way."""
        return await self._do(lambda backend, task: overview.users(backend, query, task), call)

    async def search(self, query: SearchQuery, call: Call) -> Sequence[SearchResult]:
        """Return the best matches, best first."""
        self._check_users([query.view.user_id])
        if query.mode not in self.modes:
            raise self.cannot(f'search(mode="{query.mode}")')
        return await self._do(lambda backend, task: reading.search(backend, query, task), call)

    async def wait_for_ingest(self, ids: Sequence[str], user_id: str, call: Call) -> None:
        """Look again and again until none of the memories is being taken in any more."""
        self._check_users([user_id])
        waiting, pause = await self.unready(ids, user_id, call), _FIRST_PAUSE
        try:
            while waiting:
                left = call.deadline.remaining()
                await async_sleep(pause if left is None else min(pause, left))
                waiting, pause = await self.unready(waiting, user_id, call), min(self.poll, pause * 2)
        except DeadlineExceededError:
            raise IngestionTimeoutError(f"{self.name} is still taking in the text", provider=self.name) from None

    async def unready(self, ids: Sequence[str], user_id: str, call: Call) -> Sequence[str]:
        """Return which memories of a user cannot be found yet: none here, where storing makes them so.

        Raises:
            NotFoundError: The user has no memory of one of the ids.
            ProviderError: The service gave one up.
        """
        size = min(_PART, -(-len(ids) // self._workers))
        await self._spread(ids, size, lambda backend, part, task: reading.check_all(backend, part, user_id, task), call)
        return ()

    async def export(
        self, user_id: str | None, cursor: str | None, limit: int, call: Call
    ) -> tuple[Sequence[MemoryRecord], str | None]:
        """Return the next records, user by user."""
        self._check_users([user_id])
        return await self._do(lambda backend, task: reading.export_page(backend, user_id, cursor, limit, task), call)

    async def import_(self, drafts: Sequence[Draft], conflict: ImportConflict, call: Call) -> ImportReport:
        """Store records of another store; if one fails, those before it are taken back."""
        self._check_users(draft.user_id for draft in drafts)
        return await self._do(lambda backend, task: importing.take_in(backend, drafts, conflict, task), call)

    async def health(self, call: Call) -> Health:
        """Ask the service something small."""
        detail: Mapping[str, object] = await self._do(lambda backend, task: backend.ping(), call)
        return Health(ok=True, provider=self.name, detail=dict(detail))

    async def _do(self, work: Callable[[Backend, Task], T], call: Call) -> T:
        task = Task(call.now, call.deadline.check, self._locks.hold, fresh_deadline)
        return await self._sdk.run(lambda backend: work(backend, task), call.deadline)

    async def _spread(
        self, ids: Sequence[str], size: int, work: Callable[[Backend, Sequence[str], Task], T], call: Call
    ) -> Sequence[T]:
        """Return what a function makes of parts of some ids, in any order; as many run at once as there are workers.

        Args:
            ids: The ids.
            size: How many make a part.
            work: The function. Once it has failed no further part is begun.
            call: The call.
        """
        parts = iter([ids[at : at + size] for at in range(0, len(ids), size or 1)])
        results: list[T] = []

        async def lane() -> None:
            for part in parts:
                result = await self._do(lambda backend, task: work(backend, part, task), call)  # noqa: B023 - before the next
                results.append(result)

        await async_gather(*[lane] * min(self._workers, len(ids)))
        return results

    def key_owner(self, user_id: str | None) -> str:
        """Return whose key is meant, a user whose memories can be kept apart."""
        owner = super().key_owner(user_id)
        self.check_user(owner)
        return owner

    def _check_users(self, users: Iterable[str | None]) -> None:
        for user_id in users:
            if user_id is not None:
                self.check_user(user_id)
