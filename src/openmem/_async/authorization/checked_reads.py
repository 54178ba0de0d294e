"""The guard before a provider that knows nothing of grants: it reads a memory first, then decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from openmem._async.authorization.guard import AsyncGuard
from openmem._async.provider import AsyncProvider, compute_over
from openmem._io.concurrency.call import Call
from openmem._io.concurrency.primitives import async_gather
from openmem._model.access import Access, Patterns, matches_any
from openmem._model.candidates import Candidate, candidate_of
from openmem._model.cursors import CursorTrail, decode_cursor, encode_cursor
from openmem._model.feed import FeedQuery
from openmem._model.ids import Key, unknown_id
from openmem._model.requests import (
    Change,
    Draft,
    HistoryQuery,
    ListQuery,
    ScopesQuery,
    SearchQuery,
    TagsQuery,
    View,
)
from openmem._model.results import HistoryPage, SearchResults
from openmem._model.timestamps import MICROSECOND
from openmem._rules.overview import merged_scopes, merged_tags
from openmem._rules.paging import date_of, fitting, page_of_history, results_of
from openmem._rules.validation import MAX_SEARCH
from openmem._rules.versions import size_of
from openmem.errors import IngestionTimeoutError, InvalidRequestError, NotFoundError, ProviderError
from openmem.types import (
    ChangePage,
    ListOrder,
    MemoryPage,
    MemoryRecord,
    Overview,
    ScopeInfo,
    SearchResult,
    TagInfo,
)


class AsyncOuterGuard(AsyncGuard):
    """Enforces grants around a provider that does not.

    What it reads first may change before the provider acts. A scope that the caller may read becomes the scope of
    the query; several scopes become several queries, whose results are put together.
    """

    async def add(
        self, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, call: Call
    ) -> list[MemoryRecord]:
        """Store drafts that go, and replace only, where the caller may write."""
        self.check_drafts(drafts)
        if self.access.patterns("write") is not None:
            if any(draft.key is not None for draft in drafts):
                raise self.inner.cannot("key by a caller who may write in some scopes only")
            for draft in drafts:
                await self._check_supersedes(draft.supersedes, draft.user_id, call)
        return await self.inner.add(drafts, on_progress, call)

    async def get(self, id: str, user_id: str | None, call: Call) -> MemoryRecord:
        """Return one memory that may be read."""
        return await self._within(self.access.patterns("read"), id, self.owner(user_id), call)

    async def update(self, id: str, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change one memory that may be read and written."""
        owner = self.owner(user_id)
        self.check_change(change)
        record = await self._within(self.access.patterns("read"), id, owner, call)
        self.access.need("write", record.scope)
        await self._check_supersedes(change.fields.get("supersedes"), record.user_id, call)
        return await self.inner.update(id, record.user_id, change, call)

    async def delete(self, id: str, user_id: str | None, call: Call) -> None:
        """Erase one memory that may be deleted."""
        record = await self._within(self.access.patterns("read", "delete"), id, self.owner(user_id), call)
        self.access.need("delete", record.scope)
        await self.inner.delete(id, record.user_id, call)

    async def get_by_key(self, key: str, user_id: str | None, call: Call) -> MemoryRecord:
        """Return the memory with a key, if it may be read."""
        return await self._with_key(self.access.patterns("read"), key, user_id, call)

    async def update_by_key(self, key: str, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change the memory with a key, if it may be read and written: that one, whatever has the key by then."""
        self.check_change(change)
        record = await self._with_key(self.access.patterns("read"), key, user_id, call)
        return await self.update(record.id, record.user_id, change, call)

    async def delete_by_key(self, key: str, user_id: str | None, call: Call) -> str | None:
        """Erase the memory with a key, if it may be deleted: that one, whatever has the key by then."""
        record = await self._with_key(self.access.patterns("read", "delete"), key, user_id, call)
        await self.delete(record.id, record.user_id, call)
        return record.id

    async def history_by_key(self, query: HistoryQuery, call: Call) -> HistoryPage:
        """Return a page of those states of the memory with a key that may be read."""
        assert query.key is not None
        record = await self._with_key(self.access.patterns("read"), query.key, query.user_id, call)
        return await self.history_page(replace(query, id=record.id, user_id=record.user_id, key=None), call)

    async def list(self, query: ListQuery, call: Call) -> MemoryPage:
        """Return a page of the memories that may be read."""
        query = replace(query, view=self.view(query.view))
        views = _views(query.view)
        if len(views) == 1:
            page = await self.inner.list(replace(query, view=views[0]), call)
            self._check_seen(page.items)
            return page
        after = _position(query)
        lists = await async_gather(*(partial(self._first, replace(query, view=one), after, call) for one in views))
        found = [record for records in lists for record in records]
        found.sort(key=lambda record: _place(record, query.order), reverse=query.descending)
        items, cursor = found[: await compute_over(found, _fitting, found, query.limit)], None
        if len(found) > len(items):
            date, id = _place(items[-1], query.order)
            cursor = encode_cursor("list", [date.isoformat(), id], query.binding)
        return MemoryPage.model_construct(items=items, next_cursor=cursor)

    async def scopes(self, query: ScopesQuery, call: Call) -> Overview[ScopeInfo]:
        """Return the scopes of the memories that may be read."""
        views = _views(self.view(query.view))
        lists = await async_gather(*(partial(self.inner.scopes, replace(query, view=one), call) for one in views))
        return merged_scopes(lists, query.depth)

    async def tags(self, query: TagsQuery, call: Call) -> Overview[TagInfo]:
        """Return the tags of the memories that may be read."""
        views = _views(self.view(query.view))
        lists = await async_gather(*(partial(self.inner.tags, replace(query, view=one), call) for one in views))
        return merged_tags(lists)

    async def search(self, query: SearchQuery, call: Call) -> Sequence[SearchResult]:
        """Return the best matches among the memories that may be read."""
        views = _views(self.view(query.view))
        if len(views) == 1:
            found = await self.inner.search(replace(query, view=views[0]), call)
            self._check_seen(result.memory for result in found)
            return found
        lists = await async_gather(*(partial(self._best, replace(query, view=one), call) for one in views))
        results = [result for some in lists for result in some]
        results.sort(key=lambda result: (result.score, *_place(result.memory)), reverse=True)
        truncated = any(some.truncated for some in lists)
        return SearchResults(results[query.offset : query.offset + query.limit], truncated=truncated)

    async def _best(self, query: SearchQuery, call: Call) -> SearchResults:
        """Return the best matches of one view, as many as a page of all views may need, asked for page by page."""
        results = SearchResults()
        while (left := query.offset + query.limit - len(results)) > 0:
            asked = replace(query, offset=len(results), limit=min(left, MAX_SEARCH))
            found = await self.inner.search(asked, call)
            self._check_seen(result.memory for result in found)
            page = await compute_over([result.memory for result in found], results_of, found)
            results += page
            results.truncated = page.truncated
            if len(page) < asked.limit:
                break
        return results

    async def candidates(self, query: SearchQuery, call: Call) -> Sequence[Candidate]:
        """Return the same for a context; by way of the results, whose scopes are checked."""
        return [candidate_of(result) for result in await self.search(query, call)]

    async def history(self, id: str, user_id: str | None, call: Call) -> Sequence[MemoryRecord]:
        """Return those earlier states and superseded memories that may be read."""
        seen = self.access.patterns("read")
        record = await self._within(seen, id, self.owner(user_id), call)
        states = await self.inner.history(id, record.user_id, call)
        readable = [state for state in states if matches_any(seen, state.scope)]
        reached = _reached(record, readable)
        return [state for state in readable if state.id in reached]

    async def history_page(self, query: HistoryQuery, call: Call) -> HistoryPage:
        """Return a page of those: what may be reached is known of the whole only."""
        states = await self.history(query.id, query.user_id, call)
        return await compute_over(states, page_of_history, states, query)

    async def changes(self, query: FeedQuery, call: Call) -> ChangePage:
        """Return those of the next changes that the caller may see; all of a page may be hidden."""
        seen = self.feed(query)
        page = await self.inner.changes(replace(seen, visible=None), call)
        items = [one for one in page if seen.shows(one.memory_id, one.scope)]
        last = items[-1].cursor if items else query.cursor
        if seen.visible is None or page.has_more or last is None:
            last = page.next_cursor
        return page.model_copy(update={"items": items, "next_cursor": last})

    async def wait_for_ingest(self, ids: Sequence[str], user_id: str, call: Call) -> None:
        """Wait for memories that may be read."""
        owner, seen = self.named(user_id), self.access.patterns("read")
        try:
            await self.inner.wait_for_ingest(ids, owner, call)
        except (NotFoundError, IngestionTimeoutError):
            if seen is None:
                raise
            for id in ids:
                await self._within(seen, id, owner, call)
            raise
        if seen is not None:
            for id in ids:
                await self._within(seen, id, owner, call)

    async def _within(self, patterns: Patterns | None, id: str, owner: str | None, call: Call) -> MemoryRecord:
        """Return a memory whose scope matches; any other is exactly a missing one."""
        try:
            record = await self.inner.get(id, owner, call)
        except NotFoundError:
            raise _missing(id) from None
        except InvalidRequestError:
            # Several users have the id: that is known only to who may read all of them.
            if patterns is None or owner is not None:
                raise
            raise _missing(id) from None
        if not matches_any(patterns, record.scope):
            raise _missing(id)
        return record

    async def _with_key(self, patterns: Patterns | None, key: str, user_id: str | None, call: Call) -> MemoryRecord:
        """Return the memory that has a key if its scope matches; any other is exactly a missing one."""
        owner = self.owner(user_id)
        try:
            record = await self.inner.get_by_key(key, owner, call)
        except NotFoundError:
            raise unknown_id(Key(key)) from None
        if not matches_any(patterns, record.scope):
            raise unknown_id(Key(key))
        return record

    async def _check_supersedes(self, ids: Iterable[str] | None, user_id: str, call: Call) -> None:
        patterns = self.access.patterns("write")
        if patterns is not None:
            for id in ids or ():
                await self._within(patterns, id, user_id, call)

    async def _first(self, query: ListQuery, after: tuple[datetime, str] | None, call: Call) -> Sequence[MemoryRecord]:
        """Return the first records behind a position, one more than fit on the page, and all of the last one's time."""
        asked = _narrowed(query, after)
        found: list[MemoryRecord] = []
        trail = CursorTrail()
        while True:
            page = await self.inner.list(asked, call)
            self._check_seen(page.items)
            found += [record for record in page.items if _is_behind(record, after, query)]
            last = _place(found[-1], query.order)[0] if found else None
            enough = len(found) > query.limit and last != _place(found[query.limit], query.order)[0]
            cursor = trail.follow(page.next_cursor)
            if cursor is None or enough:
                return found
            asked = replace(asked, cursor=cursor)

    def _check_seen(self, records: Iterable[MemoryRecord]) -> None:
        seen = self.access.patterns("read")
        if not all(matches_any(seen, record.scope) for record in records):
            raise ProviderError("the provider answered with a memory of another scope than was asked for")


def guarded(provider: AsyncProvider, access: Access) -> AsyncGuard:
    """Return a provider that does for a caller what the caller may do."""
    return (AsyncGuard if provider.enforces_access else AsyncOuterGuard)(provider, access)


def _views(view: View) -> Sequence[View]:
    """Return the views that make up one, none of which needs more than a scope."""
    if view.visible is None or view.scope is not None:
        return [replace(view, visible=None)]
    return [replace(view, scope=pattern, visible=None) for pattern in view.visible]


def _reached(record: MemoryRecord, states: Sequence[MemoryRecord]) -> set[str]:
    """Return the ids that a memory supersedes, one after the other, by way of some states alone."""
    newest = {state.id: state for state in sorted(states, key=lambda state: state.version)} | {record.id: record}
    reached, following = {record.id}, [record]
    while following:
        for id in following.pop().supersedes or ():
            if id in newest and id not in reached:
                reached.add(id)
                following.append(newest[id])
    return reached


def _position(query: ListQuery) -> tuple[datetime, str] | None:
    if query.cursor is None:
        return None
    time, id = decode_cursor(query.cursor, "list", (str, str), query.binding)
    try:
        return datetime.fromisoformat(time), id
    except ValueError:
        raise InvalidRequestError("malformed cursor") from None


def _narrowed(query: ListQuery, after: tuple[datetime, str] | None) -> ListQuery:
    """Return the query from the beginning, without what a position leaves behind, as far as a query can say so."""
    asked = replace(query, cursor=None)
    if after is None or query.order != "created":
        return asked
    if query.descending:
        until = after[0] + MICROSECOND
        return replace(asked, until=until if query.until is None else min(query.until, until))
    return replace(asked, since=after[0] if query.since is None else max(query.since, after[0]))


def _is_behind(record: MemoryRecord, after: tuple[datetime, str] | None, query: ListQuery) -> bool:
    if after is None:
        return True
    place = _place(record, query.order)
    return place < after if query.descending else place > after


def _fitting(records: Sequence[MemoryRecord], limit: int) -> int:
    return fitting(map(size_of, records), limit)


def _place(record: MemoryRecord, order: ListOrder = "created") -> tuple[datetime, str]:
    return date_of(record, order), record.id


def _missing(id: str) -> NotFoundError:
    return unknown_id(id)
