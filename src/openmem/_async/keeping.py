"""The verbs about one memory and what becomes of it, and the one that erases many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from openmem._async.client import AsyncClient
from openmem._async.verbs import verb
from openmem._io.concurrency.primitives import async_compute
from openmem._model.arguments import Filter, NoExtensions, Texts, Time
from openmem._model.checks import check_extra, check_owner
from openmem._model.ids import Key
from openmem._model.results import HistoryPage
from openmem._rules.drafting import is_large, make_change
from openmem._rules.validation import (
    check_named,
    make_erasure,
    make_history_query,
)
from openmem.types import (
    UNSET,
    ErasureReceipt,
    MemoryRecord,
    ReadyVector,
    Unset,
)


class AsyncKeeping(AsyncClient):
    """`get`, `update`, `delete`, `delete_all` and `history`."""

    @verb
    async def get(
        self,
        id: str | None = None,
        *,
        key: str | None = None,
        user_id: str | None = None,
        timeout: float | None = None,
    ) -> MemoryRecord:
        """Return one memory, hidden or not.

        Args:
            id: Its id.
            key: Or the caller's own name of it, for which the user must be named.
            user_id: Whose it must be; another user's memory is then not found.
            timeout: Seconds this call may take.

        Raises:
            NotFoundError: There is no such memory.
        """
        call = self._call(timeout)
        named, owner = check_named(id, key), check_owner(user_id)
        if isinstance(named, Key):
            return await self._use(call, lambda provider: provider.get_by_key(named.name, owner, call))
        return await self._use(call, lambda provider: provider.get(named, owner, call))

    @verb
    async def update(
        self,
        id: str | None = None,
        *,
        key: str | None = None,
        content: str | Unset = UNSET,
        scope: str | Unset | None = UNSET,
        tags: Texts | Unset | None = UNSET,
        confidence: float | Unset | None = UNSET,
        valid_to: Time | Unset | None = UNSET,
        supersedes: Texts | Unset | None = UNSET,
        metadata: Mapping[str, Any] | Unset | None = UNSET,
        metadata_patch: Mapping[str, Any] | Unset = UNSET,
        searchable: bool | Unset = UNSET,
        embedding: ReadyVector | None = None,
        user_id: str | None = None,
        if_version: int | None = None,
        extra: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **extensions: Unpack[NoExtensions],
    ) -> MemoryRecord:
        """Change a memory and return it. What is not given stays; `None` clears. The old version stays in `history`.

        Args:
            id: Its id.
            key: Or the caller's own name of it, which stays, and for which the user must be named.
            content: The new text; it cannot be cleared.
            scope: The new scope.
            tags: The new tags, instead of the old ones.
            confidence: The new confidence.
            valid_to: The new end of its validity.
            supersedes: The new list of ids it replaces, instead of the old one.
            metadata: The new metadata, instead of the old ones.
            metadata_patch: Members of the metadata that change, as a JSON Merge Patch (RFC 7396): `None` takes one
                away, and an object is merged with the one that is there.
            searchable: Whether searches and contexts find it from now on.
            embedding: A vector of the new content that was made already, as in `add`.
            user_id: Whose it must be.
            if_version: Change it only if this is still its version.
            extra: New values of fields of your own, one by one; the others stay.
            timeout: Seconds this call may take.
            **extensions: The same, under names that start with `x-`.

        Raises:
            NotFoundError: There is no such memory.
            VersionConflictError: It has another version than `if_version`; nothing was changed.
        """
        call = self._call(timeout)
        named, owner = check_named(id, key), check_owner(user_id)
        given = (content, scope, tags, confidence, valid_to, supersedes, if_version)
        own: tuple[Any, ...] = (extensions, check_extra(extra))
        objects = (metadata, metadata_patch)
        large = (any(own) or objects != (UNSET, UNSET)) and is_large(*own, *objects)
        own = (*own, *objects, searchable, embedding)
        change = await async_compute(make_change, *given, *own) if large else make_change(*given, *own)
        if isinstance(named, Key):
            work = self._use(call, lambda provider: provider.update_by_key(named.name, owner, change, call), change)
        else:
            work = self._use(call, lambda provider: provider.update(named, owner, change, call), change)
        return await work

    @verb
    async def delete(
        self,
        id: str | None = None,
        *,
        key: str | None = None,
        user_id: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Erase a memory with its earlier versions.

        Args:
            id: Its id.
            key: Or the caller's own name of it, for which the user must be named.
            user_id: Whose it must be.
            timeout: Seconds this call may take.

        Raises:
            NotFoundError: There is no such memory.
        """
        named, owner = check_named(id, key), check_owner(user_id)
        if isinstance(named, Key):
            await self._delete_by_key(named.name, owner, timeout)
            return
        call = self._call(timeout)
        await self._use(call, lambda provider: provider.delete(named, owner, call))

    async def _delete_by_key(self, key: str, user_id: str | None, timeout: float | None = None) -> str | None:
        """Erase the memory with a key and return its id, which a server must know, if the backend tells it."""
        call = self._call(timeout)
        return await self._use(call, lambda provider: provider.delete_by_key(key, user_id, call))

    @verb
    async def delete_all(
        self, user_id: str, *, scope: str | None = None, where: Filter | None = None, timeout: float | None = None
    ) -> ErasureReceipt:
        """Erase all memories of a user, or those of a scope or a filter, and prove that nothing is left.

        Args:
            user_id: Whose memories.
            scope: A scope, or a scope followed by `/*`; `None` for all.
            where: A filter on the metadata, such as `{"lang": "py", "pages": {"$gt": 9}}`.
            timeout: Seconds this call may take.
        """
        call = self._call(timeout)
        request = make_erasure(user_id, scope=scope, where=where)
        return await self._use(call, lambda provider: provider.delete_matching(request, call), request)

    @verb
    async def history(
        self,
        id: str | None = None,
        *,
        key: str | None = None,
        user_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        timeout: float | None = None,
    ) -> HistoryPage:
        """Return a memory's earlier versions and the memories that it supersedes, newest first.

        The page, a list, ends early where its contents would be more than 8 MiB. Its `next_cursor` leads to the next.

        Args:
            id: Its id.
            key: Or the caller's own name of it, for which the user must be named.
            user_id: Whose it must be.
            limit: How many at most, 1 to 1,000.
            cursor: `next_cursor` of the page before.
            timeout: Seconds this call may take.

        Raises:
            NotFoundError: There is no such memory.
        """
        call = self._call(timeout)
        request = make_history_query(id, user_id, limit=limit, cursor=cursor, key=key)
        if request.key is not None:
            return await self._use(call, lambda provider: provider.history_by_key(request, call), request)
        return await self._use(call, lambda provider: provider.history_page(request, call), request)
