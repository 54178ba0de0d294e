"""The verbs that show what there is, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from openmem._async.client import AsyncClient
from openmem._async.verbs import plain_verb, verb
from openmem._io.pager import AsyncPager
from openmem._model.arguments import Filter, Time
from openmem._model.checks import check_timeout
from openmem._rules.validation import make_list_query
from openmem.types import ListOrder, MemoryPage, MemoryRecord


class AsyncListing(AsyncClient):
    """`list` and `iterate`."""

    @plain_verb
    def iterate(
        self,
        user_id: str,
        *,
        scope: str | None = None,
        tag: str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        limit: int = 50,
        as_of: Time | None = None,
        include_superseded: bool = False,
        include_expired: bool = False,
        order: ListOrder = "created",
        descending: bool = True,
        where: Filter | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[MemoryRecord]:
        """Return an iterator over all of a user's memories, which asks for the next page by itself.

        Args:
            user_id: Whose memories.
            scope: A scope, or a scope followed by `/*`.
            tag: A tag that a memory must have.
            since: Only memories made at this time or later.
            until: Only memories made before this time.
            limit: How many are asked for at a time, 1 to 500; the iterator goes on to the last of them.
            as_of: Judge validity and supersession at this time instead of now.
            include_superseded: Show memories that others replace.
            include_expired: Show memories outside their time of validity.
            order: The date by which they are ordered, ids where it is equal: `created`; `updated`, when a memory was
                changed last, or stored; or `valid_from`, from when on it holds, since it was stored where nothing says.
            descending: Whether the latest date comes first.
            where: A filter on the metadata, such as `{"lang": "py", "pages": {"$gt": 9}}`.
            timeout: Seconds that each page may take.

        Raises:
            InvalidRequestError: An argument is wrong; it is raised here, not by the iterator.
            ProviderError: By the iterator: the provider repeats a page for ever.
        """
        check_timeout(timeout)
        request = make_list_query(
            user_id,
            scope=scope,
            tag=tag,
            since=since,
            until=until,
            limit=limit,
            as_of=as_of,
            include_superseded=include_superseded,
            include_expired=include_expired,
            order=order,
            descending=descending,
            where=where,
        )

        async def fetch(cursor: str | None) -> MemoryPage:
            call = self._call(timeout)
            return await self._use(call, lambda provider: provider.list(replace(request, cursor=cursor), call), request)

        return AsyncPager(fetch)

    @verb
    async def list(
        self,
        user_id: str,
        *,
        scope: str | None = None,
        tag: str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        limit: int = 50,
        cursor: str | None = None,
        as_of: Time | None = None,
        include_superseded: bool = False,
        include_expired: bool = False,
        order: ListOrder = "created",
        descending: bool = True,
        where: Filter | None = None,
        timeout: float | None = None,
    ) -> MemoryPage:
        """Return a page of a user's memories, the newest first unless asked otherwise.

        Args:
            user_id: Whose memories.
            scope: A scope, or a scope followed by `/*`.
            tag: A tag that a memory must have.
            since: Only memories made at this time or later.
            until: Only memories made before this time.
            limit: How many at most, 1 to 500.
            cursor: `next_cursor` of the page before.
            as_of: Judge validity and supersession at this time instead of now.
            include_superseded: Show memories that others replace.
            include_expired: Show memories outside their time of validity.
            order: The date by which they are ordered, ids where it is equal: `created`; `updated`, when a memory was
                changed last, or stored; or `valid_from`, from when on it holds, since it was stored where nothing says.
            descending: Whether the latest date comes first.
            where: A filter on the metadata, such as `{"lang": "py", "pages": {"$gt": 9}}`.
            timeout: Seconds this call may take.
        """
        call = self._call(timeout)
        request = make_list_query(
            user_id,
            scope=scope,
            tag=tag,
            since=since,
            until=until,
            limit=limit,
            cursor=cursor,
            as_of=as_of,
            include_superseded=include_superseded,
            include_expired=include_expired,
            order=order,
            descending=descending,
            where=where,
        )
        return await self._use(call, lambda provider: provider.list(request, call), request)
