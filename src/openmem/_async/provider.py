"""The base class of providers. A provider is a subclass; a verb that it lacks raises `UnsupportedCapabilityError`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, Final, TypeVar

from openmem._async.embedders import AsyncEmbedder
from openmem._async.listed_counts import list_scopes, list_tags
from openmem._config.extras import install_extra
from openmem._config.settings import Settings
from openmem._embedding.ready import agreed_model
from openmem._io.concurrency.call import Call
from openmem._io.concurrency.primitives import async_compute, async_import_module, async_to_thread
from openmem._model.candidates import Candidate, candidate_of
from openmem._model.cursors import CursorTrail
from openmem._model.feed import FeedQuery
from openmem._model.ids import new_memory_ids
from openmem._model.requests import (
    AuditQuery,
    Change,
    Draft,
    Erasure,
    HistoryQuery,
    ListQuery,
    ScopesQuery,
    SearchQuery,
    TagsQuery,
    UsersQuery,
)
from openmem._model.results import HistoryPage
from openmem._model.retention import MaintenanceReport, Retention
from openmem._model.scopes import ScopePattern
from openmem._model.urls import redacted_url
from openmem._rules.drafting import is_large
from openmem._rules.paging import page_of_history
from openmem._rules.understanding import not_understood
from openmem._rules.validation import MAX_HISTORY, check_key_owner
from openmem.errors import UnsupportedCapabilityError
from openmem.types import (
    AuditEntry,
    Capabilities,
    ChangePage,
    ContextBlock,
    ErasureReceipt,
    Health,
    ImportConflict,
    ImportReport,
    MemoryPage,
    MemoryRecord,
    Overview,
    ReembedReport,
    ScopeInfo,
    SearchResult,
    TagInfo,
    TokenCounter,
    UserPage,
)

T = TypeVar("T")

_log = logging.getLogger("openmem")
_CONTEXT: Final = "openmem._context.packing"
_MANY_IDS: Final = 256  # which take more than a millisecond to make


class AsyncProvider:
    """Base of every provider.

    Requests arrive validated. A provider must put the user, the scope, the tags and the time of a `View` into its
    query, must treat a foreign memory exactly as a missing one, and must raise errors of `openmem.errors` only.

    Args:
        settings: What the provider is built from. The constructor does no I/O.
        embedder: Turns texts into vectors, or `None`.
    """

    name: ClassVar[str] = "provider"
    options: ClassVar[frozenset[str]] = frozenset()
    """The keyword arguments of the facade that only this provider knows."""
    takes_base_url: ClassVar[bool] = False
    """Whether `base_url` may be the address of this provider's service."""
    takes_retry: ClassVar[bool] = False
    """Whether requests are repeated as `Settings.retry` says."""
    embeds: ClassVar[bool] = False
    """Whether the provider uses an embedder of this side; if not, none is made for it."""
    pages_history: ClassVar[bool] = False
    """Whether the provider has a `history_page` of its own, of which the base makes `history`."""
    enforces_access: ClassVar[bool] = False
    """Whether the provider itself checks `call.access` against what is stored, and knows `View.visible`."""
    understands: ClassVar[frozenset[str]] = frozenset()
    """The arguments of verbs that the provider acts on, of those that came later than this contract.

    A request that makes use of another one is refused before it gets here.
    """

    _told: bool = False
    made: bool = False
    """Whether `open` made the store, as there was none."""

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        if "enforces" in vars(cls):
            message = f"{cls.__name__}.enforces is called enforces_access; the old name goes in the next version"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            cls.enforces_access = vars(cls)["enforces"]

    def __init__(self, settings: Settings, embedder: AsyncEmbedder | None) -> None:
        self.settings = settings
        self.embedder = embedder

    @property
    def place(self) -> str | None:
        """The location of the store, as a file or an address without secrets; `None` if it has no such location."""
        where = self.settings.url or self.settings.base_url
        return None if where is None else redacted_url(where)

    def forked(self) -> None:
        """Drop what must not cross a fork; called in the child, before its first verb."""

    async def resolve(self, call: Call) -> AsyncProvider:
        """Return the provider that does the verbs, opened: this one, unless its address belongs to another.

        Called once, before the first verb.
        """
        await self.open(call)
        return self

    async def open(self, call: Call) -> None:
        """Make ready; called once, before the first verb."""

    async def aclose(self) -> None:
        """Release everything. Called once, after the last verb."""

    def check_user(self, user_id: str) -> None:
        """Refuse a user whose memories cannot be kept apart from another's; none is refused by default.

        Raises:
            InvalidRequestError: The backend would read the id as another one.
        """

    def key_owner(self, user_id: str | None) -> str:
        """Return whose key is meant, for the verbs that take one.

        Raises:
            InvalidRequestError: No user is named.
        """
        return check_key_owner(user_id)

    async def capabilities(self, call: Call) -> Capabilities:
        """Say what this provider can do, and nothing that it cannot."""
        raise self.cannot("capabilities")

    async def add(
        self, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, call: Call
    ) -> list[MemoryRecord]:
        """Store all drafts or none, and return the records in order."""
        raise self.cannot("add")

    async def get(self, id: str, user_id: str | None, call: Call) -> MemoryRecord:
        """Return one memory."""
        raise self.cannot("get")

    async def update(self, id: str, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change one memory and return it."""
        raise self.cannot("update")

    async def delete(self, id: str, user_id: str | None, call: Call) -> None:
        """Erase one memory."""
        raise self.cannot("delete")

    async def get_by_key(self, key: str, user_id: str | None, call: Call) -> MemoryRecord:
        """Return the memory of a user that has a key. No user is named only to a backend that may know its own."""
        raise self.cannot("get(key=)")

    async def update_by_key(self, key: str, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change the memory of a user that has a key, and return it."""
        raise self.cannot("update(key=)")

    async def delete_by_key(self, key: str, user_id: str | None, call: Call) -> str | None:
        """Erase the memory of a user that has a key, and return its id; `None` if the backend does not tell it."""
        raise self.cannot("delete(key=)")

    async def delete_all(self, user_id: str, scope: ScopePattern | None, call: Call) -> ErasureReceipt:
        """Erase all memories of a user, or those of a part of the scopes."""
        raise self.cannot("delete_all")

    async def delete_matching(self, erasure: Erasure, call: Call) -> ErasureReceipt:
        """Erase the memories that a request names; without a filter, `delete_all` does it."""
        if erasure.where is not None:
            raise self.cannot("where")
        return await self.delete_all(erasure.user_id, erasure.scope, call)

    async def list(self, query: ListQuery, call: Call) -> MemoryPage:
        """Return a page of memories, newest first."""
        raise self.cannot("list")

    async def scopes(self, query: ScopesQuery, call: Call) -> Overview[ScopeInfo]:
        """Return the scopes, with counts; by default everything is listed for it."""
        return await list_scopes(lambda asked: self.list(asked, call), query, call)

    async def tags(self, query: TagsQuery, call: Call) -> Overview[TagInfo]:
        """Return the tags, with counts; by default everything is listed for it."""
        return await list_tags(lambda asked: self.list(asked, call), query, call)

    async def users(self, query: UsersQuery, call: Call) -> UserPage:
        """Return a page of the users who have memories."""
        raise self.cannot("users")

    async def new_ids(self, drafts: Sequence[Draft], at: datetime, start: int) -> Sequence[str]:
        """Return an id for each draft, as `new_memory_ids` makes them; those of many beside the event loop."""
        owners = [draft.user_id for draft in drafts]
        if len(owners) < _MANY_IDS:
            return new_memory_ids(owners, at, start)
        return await async_compute(new_memory_ids, owners, at, start)

    async def search(self, query: SearchQuery, call: Call) -> Sequence[SearchResult]:
        """Return the best matches, best first."""
        raise self.cannot("search")

    async def candidates(self, query: SearchQuery, call: Call) -> Sequence[Candidate]:
        """Return what a search would, best first, with no more of each memory than a context needs."""
        return [candidate_of(result) for result in await self.search(query, call)]

    async def context(
        self, query: SearchQuery, token_budget: int, token_counter: TokenCounter | None, call: Call
    ) -> ContextBlock:
        """Return the best matches as a block of text within a budget of tokens."""
        packing = await async_import_module(_CONTEXT, call.deadline)  # no other verb needs it
        found = await self.candidates(query, call)
        pack: Callable[[], ContextBlock] = partial(
            packing.build_context, found, token_budget=token_budget, token_counter=token_counter
        )
        if token_counter is None and packing.is_quick(found, token_budget):
            return pack()
        return await async_to_thread(pack)

    async def history(self, id: str, user_id: str | None, call: Call) -> Sequence[MemoryRecord]:
        """Return earlier versions and what the memory supersedes, newest first."""
        if self.pages_history:
            return await whole_history(self, id, user_id, call)
        raise self.cannot("history")

    async def history_page(self, query: HistoryQuery, call: Call) -> HistoryPage:
        """Return a page of the same; by default it is taken from the whole."""
        states = await self.history(query.id, query.user_id, call)
        return await compute_over(states, page_of_history, states, query)

    async def history_by_key(self, query: HistoryQuery, call: Call) -> HistoryPage:
        """Return a page of the history of the memory of a user that has the key of the query."""
        raise self.cannot("history(key=)")

    async def audit(self, query: AuditQuery, call: Call) -> Sequence[AuditEntry]:
        """Return the newest audit entries."""
        raise self.cannot("audit")

    async def changes(self, query: FeedQuery, call: Call) -> ChangePage:
        """Return the next changes, oldest first."""
        raise self.cannot("changes")

    async def wait_for_ingest(self, ids: Sequence[str], user_id: str, call: Call) -> None:
        """Return once the memories can be found."""
        raise self.cannot("wait_for_ingest")

    async def export(
        self, user_id: str | None, cursor: str | None, limit: int, call: Call
    ) -> tuple[Sequence[MemoryRecord], str | None]:
        """Return the next records, hidden ones too, and the cursor of the page after them."""
        raise self.cannot("export")

    async def import_(self, drafts: Sequence[Draft], conflict: ImportConflict, call: Call) -> ImportReport:
        """Store records of another store under their own ids: all or none."""
        raise self.cannot("import")

    async def reembed(self, on_progress: Callable[[int, int], object] | None, call: Call) -> ReembedReport:
        """Move every memory to the embedder's model."""
        raise self.cannot("reembed")

    async def maintain(self, retention: Retention, call: Call, *, dry_run: bool) -> MaintenanceReport:
        """Remove old audit entries and old versions, or count them; what is not given is as in the options."""
        raise self.cannot("maintain")

    async def health(self, call: Call) -> Health:
        """Do something small and real, and say how it went."""
        raise self.cannot("health")

    def tell_of_words_only(self, query: SearchQuery, results: Sequence[SearchResult]) -> Sequence[SearchResult]:
        """Return the results; say in the log, once, if a hybrid search found memories without a vector to compare."""
        if self._told or self.embedder is None or query.mode != "hybrid":
            return results
        bare = sum(result.memory.embedding_model is None for result in results)
        if bare:
            self._told = True
            _log.warning(
                "%d of %d memories found have no vector of the model %s and were compared by their words only: "
                "reembed() or the command omp reembed makes the vectors",
                *(bare, len(results), self.embedder.model),
            )
        return results

    def cannot(self, what: str) -> UnsupportedCapabilityError:
        """Return the error for something this provider cannot do."""
        return UnsupportedCapabilityError(f"{what} is not supported by this provider", provider=self.name)

    def needs_embedder(self, what: str) -> UnsupportedCapabilityError:
        """Return the error for something that takes vectors, when there is nothing to make them."""
        message = f"{what} needs an embedder: give embedder=, or {install_extra('local')}"
        return UnsupportedCapabilityError(message, provider=self.name)


def check_understood(provider: AsyncProvider, request: object) -> None:
    """Refuse a request, or drafts, that make use of an argument which the provider does not understand."""
    unknown = not_understood(provider.understands, request)
    if unknown is not None:
        raise provider.cannot(unknown)


async def query_vector(
    provider: AsyncProvider, query: SearchQuery, text: str, call: Call
) -> tuple[Any, tuple[str, int]]:
    """Return the vector to compare with, its model and its length: the one that the caller brings, or that of a text.

    Raises:
        InvalidRequestError: The caller brings one of another model than the embedder's.
        UnsupportedCapabilityError: There is none, and no embedder to make one.
    """
    given, embedder = query.embedding, provider.embedder
    if given is not None:
        own = () if embedder is None else (embedder.model, embedder.dim)
        return given.values, agreed_model([given], *own) or (given.model, given.dim)
    if embedder is None:
        raise provider.needs_embedder('mode="vector"')
    vector = await embedder.embed_query(text, call.deadline)
    return vector, (embedder.model, len(vector))


async def compute_over(records: Iterable[MemoryRecord], function: Callable[..., T], *args: Any) -> T:
    """Return what a function of records returns, which would keep others waiting if they have large extensions."""
    extras = [part for record in records for part in (record.model_extra, record.metadata) if part]
    if extras and is_large(*extras):
        return await async_compute(function, *args)
    return function(*args)


async def whole_history(provider: AsyncProvider, id: str, user_id: str | None, call: Call) -> Sequence[MemoryRecord]:
    """Return a history of a provider that reads it page by page."""
    states: list[MemoryRecord] = []
    trail = CursorTrail()
    cursor: str | None = None
    while True:
        page = await provider.history_page(HistoryQuery(id, user_id, MAX_HISTORY, cursor), call)
        states += page
        cursor = trail.follow(page.next_cursor)
        if cursor is None:
            return states
