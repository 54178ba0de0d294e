"""The facade: every verb of the protocol, checked here and done by a provider."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any, Unpack

from openmem._async.listing import AsyncListing
from openmem._async.portability import AsyncPortable
from openmem._async.provider import AsyncProvider, compute_over
from openmem._async.verbs import verb
from openmem._io.concurrency.call import Call, clock, milliseconds_since
from openmem._io.concurrency.primitives import AsyncBatches, async_compute
from openmem._model.arguments import MemoryItem, NoExtensions, Source, Texts, Time
from openmem._model.checks import check_callable, check_extra, check_flag, check_owner
from openmem._model.results import HistoryPage, SearchResults
from openmem._model.retention import MaintenanceReport, Retention
from openmem._model.scopes import parse_pattern
from openmem._rules.drafting import is_large, make_change, make_draft, make_drafts
from openmem._rules.paging import plain_results_of, results_of
from openmem._rules.validation import (
    check_id,
    check_ids,
    check_token_budget,
    check_user_id,
    make_audit_query,
    make_history_query,
    make_search_query,
)
from openmem.types import (
    UNSET,
    AuditEntry,
    Capabilities,
    ContextBlock,
    ErasureReceipt,
    Health,
    MemoryInput,
    MemoryRecord,
    ReembedReport,
    SearchMode,
    SearchPurpose,
    TokenCounter,
    Unset,
)

Progress = Callable[[int, int], object]

CONTEXT_CANDIDATES = 100
_TAKEN_AT_ONCE = 1_000


class AsyncMemory(AsyncListing, AsyncPortable):
    """One stable set of verbs over every memory backend.

    Every verb takes `timeout`, in seconds, instead of the instance's own, and raises an `OMPError`:
    `InvalidRequestError` before the backend is touched when an argument breaks the contract,
    `UnsupportedCapabilityError` for what the provider cannot do, `DeadlineExceededError` when the time is up, and
    `ProviderError` when the backend fails. After `close` every verb raises `RuntimeError`.

    Args:
        provider: Name of a provider. Without it, the scheme of `url`, then `base_url`, then the environment
            decides; with none of them, memories go to one SQLite file in the user's data folder.
        url: Where the store is: `sqlite:///FILE`, a path, `postgresql://…`, or `http(s)://…` of an OMP server.
        base_url: Address of a service.
        api_key: Key for the service.
        embedder: `None` for the local model if the extra `local` is installed, `"none"`, `"openai:model"`,
            `"fastembed[:model[@folder]]"`, or an object with `dim`, `model` and `embed(texts)`.
        app: Who uses this instance, for the audit log.
        timeout: Seconds that a verb may take, `None` for no limit.
        retry: How often, and after how long, requests to a server, a service or an embeddings endpoint are repeated:
            an `openmem.providers.Retry`. For providers that make requests, or have such an embedder.
        create: Make the store where there is none; `False` makes that an error, so that a wrong address is noticed.
        **options: What only the provider knows.

    Raises:
        InvalidRequestError: An argument is wrong, or something is missing; the message says what to give or install.
        UnsupportedProviderError: There is no such provider.
    """

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
            extra: Fields of your own under any names, with values that JSON can hold, such as another's `model_extra`.
            timeout: Seconds this call may take.
            **extensions: The same, under names that start with `x-`.
        """
        call = self._call(timeout)
        given = (content, user_id, scope, tags, source, confidence, valid_from, valid_to, supersedes, key)
        own = (extensions, check_extra(extra))
        large = any((source, *own)) and is_large(source, *own)
        draft = await async_compute(make_draft, *given, *own) if large else make_draft(*given, *own)
        records = await self._use(call, lambda provider: provider.add([draft], None, call))
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
        """
        call = self._call(timeout)
        check_callable(on_progress, "on_progress")
        source: AsyncBatches[MemoryInput | MemoryItem] = AsyncBatches(items, "items")
        drafts = make_drafts([], user_id)
        while given := await source.take(_TAKEN_AT_ONCE):
            drafts += await async_compute(make_drafts, given, user_id, len(drafts))
        if not drafts:
            return []
        return await self._use(call, lambda provider: provider.add(drafts, on_progress, call))

    @verb
    async def get(self, id: str, *, user_id: str | None = None, timeout: float | None = None) -> MemoryRecord:
        """Return one memory, hidden or not.

        Args:
            id: Its id.
            user_id: Whose it must be; another user's memory is then not found.
            timeout: Seconds this call may take.

        Raises:
            NotFoundError: There is no such memory.
        """
        call = self._call(timeout)
        known, owner = check_id(id), check_owner(user_id)
        return await self._use(call, lambda provider: provider.get(known, owner, call))

    @verb
    async def update(
        self,
        id: str,
        *,
        content: str | Unset = UNSET,
        scope: str | Unset | None = UNSET,
        tags: Texts | Unset | None = UNSET,
        confidence: float | Unset | None = UNSET,
        valid_to: Time | Unset | None = UNSET,
        supersedes: Texts | Unset | None = UNSET,
        user_id: str | None = None,
        if_version: int | None = None,
        extra: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **extensions: Unpack[NoExtensions],
    ) -> MemoryRecord:
        """Change a memory and return it. What is not given stays; `None` clears. The old version stays in `history`.

        Args:
            id: Its id.
            content: The new text; it cannot be cleared.
            scope: The new scope.
            tags: The new tags, instead of the old ones.
            confidence: The new confidence.
            valid_to: The new end of its validity.
            supersedes: The new list of ids it replaces, instead of the old one.
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
        known, owner = check_id(id), check_owner(user_id)
        given = (content, scope, tags, confidence, valid_to, supersedes, if_version)
        own = (extensions, check_extra(extra))
        large = any(own) and is_large(*own)
        change = await async_compute(make_change, *given, *own) if large else make_change(*given, *own)
        return await self._use(call, lambda provider: provider.update(known, owner, change, call))

    @verb
    async def delete(self, id: str, *, user_id: str | None = None, timeout: float | None = None) -> None:
        """Erase a memory with its earlier versions.

        Args:
            id: Its id.
            user_id: Whose it must be.
            timeout: Seconds this call may take.

        Raises:
            NotFoundError: There is no such memory.
        """
        call = self._call(timeout)
        known, owner = check_id(id), check_owner(user_id)
        await self._use(call, lambda provider: provider.delete(known, owner, call))

    @verb
    async def delete_all(
        self, user_id: str, *, scope: str | None = None, timeout: float | None = None
    ) -> ErasureReceipt:
        """Erase all memories of a user, or those of a scope, and prove that nothing is left.

        Args:
            user_id: Whose memories.
            scope: A scope, or a scope followed by `/*`; `None` for all.
            timeout: Seconds this call may take.
        """
        call = self._call(timeout)
        owner, pattern = check_user_id(user_id), None if scope is None else parse_pattern(scope)
        return await self._use(call, lambda provider: provider.delete_all(owner, pattern, call))

    @verb
    async def search(
        self,
        query: str,
        user_id: str,
        *,
        scope: str | None = None,
        limit: int = 10,
        min_score: float | None = None,
        tags: Texts | None = None,
        mode: SearchMode = "hybrid",
        as_of: Time | None = None,
        include_superseded: bool = False,
        include_expired: bool = False,
        explain: bool = False,
        purpose: SearchPurpose = "search",
        timeout: float | None = None,
    ) -> SearchResults:
        """Return the memories that fit a query best, best first, with scores in [0, 1].

        Args:
            query: What is looked for, at most 10,000 characters.
            user_id: Whose memories.
            scope: A scope, or a scope followed by `/*`.
            limit: How many at most, 1 to 100.
            min_score: Leave out what scores lower.
            tags: Tags that a memory must have, all of them.
            mode: `vector` scores by cosine, `keyword` by words in common, `hybrid` by both.
            as_of: Judge validity and supersession at this time instead of now.
            include_superseded: Show memories that others replace.
            include_expired: Show memories outside their time of validity.
            explain: Fill in `explain` with the parts of each score.
            purpose: Which verb the audit log shows: `search`, or `context` for who makes a prompt of the results.
            timeout: Seconds this call may take.

        Raises:
            InvalidRequestError: The memories were embedded with another model than this instance uses.
            UnsupportedCapabilityError: `mode="vector"` without an embedder.
        """
        call = self._call(timeout)
        request = make_search_query(
            query,
            user_id,
            scope=scope,
            limit=limit,
            min_score=min_score,
            tags=tags,
            mode=mode,
            as_of=as_of,
            include_superseded=include_superseded,
            include_expired=include_expired,
            explain=explain,
            action=purpose,
        )
        found = await self._use(call, lambda provider: provider.search(request, call))
        plain = plain_results_of(found)
        if plain is not None:
            return plain
        return await compute_over([result.memory for result in found], results_of, found)

    @verb
    async def context(
        self,
        query: str,
        user_id: str,
        *,
        scope: str | None = None,
        token_budget: int = 500,
        tags: Texts | None = None,
        as_of: Time | None = None,
        token_counter: TokenCounter | None = None,
        timeout: float | None = None,
    ) -> ContextBlock:
        """Return a block of text for a prompt: the best memories as numbered lines, within a budget of tokens.

        Args:
            query: What the prompt is about.
            user_id: Whose memories.
            scope: A scope, or a scope followed by `/*`.
            token_budget: Tokens that the whole text may have, never exceeded.
            tags: Tags that a memory must have, all of them.
            as_of: Judge validity and supersession at this time instead of now.
            token_counter: Counts the tokens of a text; the default is an estimate that errs upwards.
            timeout: Seconds this call may take.
        """
        call = self._call(timeout)
        check_callable(token_counter, "token_counter")
        budget = check_token_budget(token_budget)
        request = make_search_query(
            query, user_id, scope=scope, limit=CONTEXT_CANDIDATES, tags=tags, as_of=as_of, action="context"
        )
        return await self._use(call, lambda provider: provider.context(request, budget, token_counter, call))

    @verb
    async def history(
        self,
        id: str,
        *,
        user_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        timeout: float | None = None,
    ) -> HistoryPage:
        """Return a memory's earlier versions and the memories that it supersedes, newest first.

        The page, a list, ends early where its contents would be more than 8 MiB. Its `next_cursor` leads to the next.

        Args:
            id: Its id.
            user_id: Whose it must be.
            limit: How many at most, 1 to 1,000.
            cursor: `next_cursor` of the page before.
            timeout: Seconds this call may take.

        Raises:
            NotFoundError: There is no such memory.
        """
        call = self._call(timeout)
        request = make_history_query(id, user_id, limit=limit, cursor=cursor)
        return await self._use(call, lambda provider: provider.history_page(request, call))

    @verb
    async def audit(
        self,
        user_id: str,
        *,
        app: str | None = None,
        since: Time | None = None,
        limit: int = 100,
        timeout: float | None = None,
    ) -> list[AuditEntry]:
        """Return who did what to a user's memories, newest first. Entries never hold content.

        Args:
            user_id: Whose audit log.
            app: Only what this app did.
            since: Only what happened at this time or later.
            limit: How many at most, 1 to 1,000.
            timeout: Seconds this call may take.
        """
        call = self._call(timeout)
        request = make_audit_query(user_id, app=app, since=since, limit=limit)
        return [*await self._use(call, lambda provider: provider.audit(request, call))]

    @verb
    async def capabilities(self, *, timeout: float | None = None) -> Capabilities:
        """Return what the provider can do."""
        call = self._call(timeout)
        return await self._use(call, lambda provider: provider.capabilities(call))

    @verb
    async def wait_for_ingest(self, ids: Texts, user_id: str, *, timeout: float | None = None) -> None:
        """Return once the memories can be found; at once where storing makes them so.

        Args:
            ids: What `add` returned.
            user_id: Whose memories.
            timeout: Seconds this call may take; `OMP_INGEST_TIMEOUT` in the environment is its default.

        Raises:
            NotFoundError: There is no memory of one of the ids.
            IngestionTimeoutError: A memory was not ready in time.
        """
        call = self._call(self._ingest_timeout if timeout is None and self._root is None else timeout)
        known, owner = check_ids(ids), check_user_id(user_id)
        await self._use(call, lambda provider: provider.wait_for_ingest(known, owner, call))

    @verb
    async def reembed(self, *, on_progress: Progress | None = None, timeout: float | None = None) -> ReembedReport:
        """Move every memory to the model of this instance's embedder.

        The store can be read with the old model meanwhile. A move that was interrupted goes on where it stopped.

        Args:
            on_progress: Called with how many memories are done and how many there are.
            timeout: Seconds this call may take; there is no limit unless given.
        """
        call = self._call(timeout, limited=False)
        check_callable(on_progress, "on_progress")
        return await self._use(call, lambda provider: provider.reembed(on_progress, call))

    @verb
    async def maintain(
        self,
        *,
        audit_days: float | None = None,
        versions: int | None = None,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> MaintenanceReport:
        """Remove old audit entries and old versions of all users' memories now, and shrink the file.

        What was removed stays removed if it is interrupted; the next time goes on from there.

        Args:
            audit_days: Entries that are older go; as this instance was told, unless given.
            versions: How many earlier versions of each memory stay, from 0; the same.
            dry_run: Only say how much would be removed.
            timeout: Seconds this call may take; there is no limit unless given.

        Raises:
            UnsupportedCapabilityError: The provider is no store of ours.
        """
        call = self._call(timeout, limited=False)
        asked, only_count = Retention(audit_days, versions), check_flag(dry_run, "dry_run")
        return await self._use(call, lambda provider: provider.maintain(asked, call, dry_run=only_count))

    @verb
    async def health(self, *, timeout: float | None = None) -> Health:
        """Ask the backend something small and return how it went."""
        call = self._call(timeout)
        return await self._use(call, lambda provider: _timed_health(provider, call))


async def _timed_health(provider: AsyncProvider, call: Call) -> Health:
    started = clock()
    health = await provider.health(call)
    health.latency_ms = milliseconds_since(started)
    return health
