"""The verbs that store memories."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any, Unpack

from openmem._async.client import AsyncClient
from openmem._async.verbs import verb
from openmem._io.concurrency.primitives import AsyncBatches, async_compute
from openmem._model.arguments import MemoryItem, NoExtensions, Source, Texts, Time
from openmem._model.checks import check_callable, check_extra
from openmem._rules.drafting import is_large, make_draft, make_drafts
from openmem.types import (
    MemoryInput,
    MemoryRecord,
    ReadyVector,
)

Progress = Callable[[int, int], object]

_TAKEN_AT_ONCE = 1_000


class AsyncAdding(AsyncClient):
    """`add` and `add_many`."""

    @verb
    async def add(
        self,
        content: str,
        *,
        user_id: str,
        scope: str | None = None,
        tags: Texts | None = None,
        source: Source | None = None,
        confidence: float | None = None,
        valid_from: Time | None = None,
        valid_to: Time | None = None,
        supersedes: Texts | None = None,
        key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        if_absent: bool = False,
        if_version: int | None = None,
        searchable: bool = True,
        embedding: ReadyVector | None = None,
        extra: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **extensions: Unpack[NoExtensions],
    ) -> MemoryRecord:
        """Store a memory and return it as stored.

        Args:
            content: The text, not blank, at most `features.max_content_length` characters.
            user_id: Whose memory it is.
            scope: A path such as `coding/preferences`.
            tags: Up to 100 labels.
            source: Where it came from: `app`, `type` (extracted, explicit, imported), `ref`.
            confidence: From 0 to 1.
            valid_from: From when on it holds; timezone-aware.
            valid_to: Until when it holds, later than `valid_from`.
            supersedes: Ids of the user's memories that this one replaces: they are hidden from then on.
            key: The caller's own name for it; adding the same key again replaces the memory, version + 1.
            metadata: A JSON object of your own, at most 65,536 bytes and 8 levels deep; it comes back as it went in.
            if_absent: Store it only if no memory of the user has the key.
            if_version: Store it only in the place of the memory with the key, and if that is at this version.
            searchable: `False` keeps it out of searches and contexts: no words and no vector of it are stored.
            embedding: A vector of the content that was made already, `{"model": …, "vector": […]}`.
            extra: Fields of your own under any names, with values that JSON can hold, such as another's `model_extra`.
            timeout: Seconds this call may take.
            **extensions: The same, under names that start with `x-`.

        Raises:
            AlreadyExistsError: With `if_absent`, a memory has the key; `details` holds its `id` and `version`.
            VersionConflictError: With `if_version`, the memory is at another version, or there is none.
        """
        call = self._call(timeout)
        given = (content, user_id, scope, tags, source, confidence, valid_from, valid_to, supersedes, key)
        own: tuple[Any, ...] = (extensions, check_extra(extra))
        large = any((source, metadata, *own)) and is_large(source, metadata, *own)
        own = (*own, metadata, if_absent, if_version, searchable, embedding)
        draft = await async_compute(make_draft, *given, *own) if large else make_draft(*given, *own)
        records = await self._use(call, lambda provider: provider.add([draft], None, call), draft)
        return records[0]

    @verb
    async def add_many(
        self,
        items: Iterable[MemoryInput | MemoryItem] | AsyncIterable[MemoryInput | MemoryItem],
        *,
        user_id: str | None = None,
        on_progress: Progress | None = None,
        timeout: float | None = None,
    ) -> list[MemoryRecord]:
        """Store many memories of a user, all of them or none, and return them in order.

        Items of several users are stored user by user where the provider keeps users apart (Postgres).

        Args:
            items: Mappings with the arguments of `add`, or `MemoryInput` objects.
            user_id: Whose memories they are, for items that do not say so.
            on_progress: Called with how many are ready and how many there are.
            timeout: Seconds this call may take.

        Raises:
            InvalidRequestError: An item is wrong; `details["index"]` says which. Nothing was stored.
            AlreadyExistsError: A memory has the key of an item with `if_absent`; the same.
            VersionConflictError: No memory is at the version and has the key of an item with `if_version`; the same.
        """
        call = self._call(timeout)
        check_callable(on_progress, "on_progress")
        source: AsyncBatches[MemoryInput | MemoryItem] = AsyncBatches(items, "items")
        drafts = make_drafts([], user_id)
        while given := await source.take(_TAKEN_AT_ONCE):
            drafts += await async_compute(make_drafts, given, user_id, len(drafts))
        if not drafts:
            return []
        return await self._use(call, lambda provider: provider.add(drafts, on_progress, call), drafts)
