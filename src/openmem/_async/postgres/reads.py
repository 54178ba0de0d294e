"""The verbs of the Postgres provider that read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar

from openmem._async.postgres.session import AsyncPostgresSession, seen_by, stamp_of
from openmem._async.provider import query_vector
from openmem._io.concurrency.call import Call
from openmem._io.concurrency.primitives import async_compute
from openmem._model.candidates import Candidate
from openmem._model.feed import FeedQuery
from openmem._model.ids import Key, Named
from openmem._model.requests import (
    AuditQuery,
    HistoryQuery,
    ListQuery,
    ScopesQuery,
    SearchQuery,
    TagsQuery,
    UsersQuery,
)
from openmem._model.results import HistoryPage
from openmem._retrieval.ranking import clean_query
from openmem._rules.workload import LONG_TEXT
from openmem._sql.postgres import (
    audit,
    feed,
    history,
    hnsw,
    overview,
    portable,
    read,
    search,
)
from openmem._sql.postgres.hnsw_trials import Trials
from openmem._sql.postgres.search import Projection
from openmem._sql.writing import Model, Stamp
from openmem.types import (
    AuditEntry,
    ChangePage,
    MemoryPage,
    MemoryRecord,
    Overview,
    ScopeInfo,
    SearchResult,
    TagInfo,
    UserPage,
)

T = TypeVar("T")


class AsyncPostgresReads(AsyncPostgresSession):
    """The part of the provider that reads: one statement each, its audit entry included, wherever that is possible."""

    async def get(self, id: Named, user_id: str | None, call: Call) -> MemoryRecord:
        """Return one memory."""
        seen = seen_by(call)
        owner = await self._owner(id, user_id, seen, call)
        make = partial(read.get, self._names, id, owner, stamp_of(call), seen)
        return await self._read(make, call)

    async def get_by_key(self, key: str, user_id: str | None, call: Call) -> MemoryRecord:
        """Return the memory of a user that has a key."""
        return await self.get(Key(key), user_id, call)

    async def list(self, query: ListQuery, call: Call) -> MemoryPage:
        """Return a page of memories, newest first."""
        return await self._read(partial(read.page, self._names, query, stamp_of(call)), call)

    async def scopes(self, query: ScopesQuery, call: Call) -> Overview[ScopeInfo]:
        """Return the scopes of a user, with counts."""
        return await self._read(partial(overview.scopes, self._names, query, stamp_of(call)), call)

    async def tags(self, query: TagsQuery, call: Call) -> Overview[TagInfo]:
        """Return the tags of a user, with counts."""
        return await self._read(partial(overview.tags, self._names, query, stamp_of(call)), call)

    async def users(self, query: UsersQuery, call: Call) -> UserPage:
        """Return a page of the users who have memories, by bucket and id."""
        return await self._db.run(partial(overview.users, self._names, query, call.now), call.deadline, retry=True)

    async def search(self, query: SearchQuery, call: Call) -> Sequence[SearchResult]:
        """Return the best matches, best first."""
        if query.mode == "vector":
            return await self._search_by_vector(query, call)
        return self.tell_of_words_only(query, await self._fused(query, search.RESULTS, call))

    async def candidates(self, query: SearchQuery, call: Call) -> Sequence[Candidate]:
        """Return what a search would, best first, with no more of each memory than a context needs."""
        if query.mode == "vector":
            return await super().candidates(query, call)
        return await self._fused(query, search.CANDIDATES, call)

    async def _fused(self, query: SearchQuery, projection: Projection[T], call: Call) -> Sequence[T]:
        vector, model = None, None
        long = len(query.text) > LONG_TEXT
        fused = query.mode != "keyword" and (self.embedder is not None or query.embedding is not None)
        if fused and await self._has_vectors(call.deadline):
            given = (query.text, frozenset[str](), frozenset[str]())
            text = await async_compute(clean_query, *given) if long else clean_query(*given)
            vector, named = await query_vector(self, query, text, call)
            model = Model(*named)
        make = partial(search.hybrid, self._names, query, vector, model, stamp_of(call), projection, fused=fused)
        return await self._read(make, call, heavy=long)

    async def _search_by_vector(self, query: SearchQuery, call: Call) -> Sequence[SearchResult]:
        vector, named = await query_vector(self, query, query.text, call)
        model, stamp = Model(*named), stamp_of(call)
        if not search.is_far(query) and self._hnsw.fits(query.view, model) and await self._has_index(model, call):
            return await self._search_large(query, vector, model, stamp, call)
        make = partial(search.by_vector, self._names, query, vector, model, stamp)
        return await self._read(make, call)

    async def _search_large(
        self, query: SearchQuery, vector: Any, model: Model, stamp: Stamp, call: Call
    ) -> Sequence[SearchResult]:
        # Shared by all instances with the same options: one that lives for a request only has no time for trials.
        trials = self._db.server.trials.setdefault(self._names, Trials())
        who = (query.view.user_id, model)
        way = trials.way(who)
        if way == "exact":
            make = partial(search.by_vector, self._names, query, vector, model, stamp)
            return await self._read(make, call)
        given = (self._names, query, vector, model, self._hnsw.from_rows, stamp)
        if way == "index":
            return await self._db.transact(partial(hnsw.by_vector, *given), call.deadline, retry=True)
        results, share = await self._db.transact(partial(hnsw.by_trial, *given), call.deadline, retry=True)
        if share is not None:
            trials.note(who, share)
        return results

    async def history_page(self, query: HistoryQuery, call: Call) -> HistoryPage:
        """Return a page of earlier versions and of what the memory supersedes, newest first."""
        owner = await self._owner(query.named, query.user_id, seen_by(call), call)
        make = partial(history.page, self._names, query, owner, stamp_of(call), seen_by(call))
        return await self._db.transact(make, call.deadline)

    async def history_by_key(self, query: HistoryQuery, call: Call) -> HistoryPage:
        """Return a page of the history of the memory of a user that has a key."""
        return await self.history_page(query, call)

    async def audit(self, query: AuditQuery, call: Call) -> Sequence[AuditEntry]:
        """Return the newest audit entries."""
        return await self._db.run(partial(audit.entries, self._names, query), call.deadline, retry=True)

    async def changes(self, query: FeedQuery, call: Call) -> ChangePage:
        """Return the next changes.

        Raises:
            UnsupportedCapabilityError: The tables are spread over servers, whose transactions are in no order.
        """
        if self._names.distributed:
            raise self.cannot("changes of tables that are spread over servers")
        return await self._db.run(partial(feed.page, self._names, query), call.deadline, retry=True)

    async def wait_for_ingest(self, ids: Sequence[str], user_id: str, call: Call) -> None:
        """Check that the memories are there: what `add` returned can be found at once."""
        await self._db.run(partial(read.check_all, self._names, ids, user_id, seen_by(call)), call.deadline, retry=True)

    async def export(
        self, user_id: str | None, cursor: str | None, limit: int, call: Call
    ) -> tuple[Sequence[MemoryRecord], str | None]:
        """Return the next records, ordered by bucket and id."""
        make = partial(portable.export_page, self._names, user_id, cursor, limit)
        records, following = await self._db.run(make, call.deadline, retry=True)
        owners = dict.fromkeys([record.user_id for record in records] or ([user_id] if user_id else []))
        for number, owner in enumerate(owners):
            await self._db.run(partial(audit.note, self._names, owner, "list", stamp_of(call, number)), call.deadline)
        return records, following
