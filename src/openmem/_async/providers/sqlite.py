"""The embedded provider: one SQLite file, keyword and vector search, several processes at once.

The verbs are short: what happens inside a transaction stands in `openmem._sql.sqlite`, and each transaction is
one trip to the database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from openmem._async.embedders import AsyncEmbedder
from openmem._async.provider import query_vector
from openmem._async.retention.sqlite import AsyncSqliteRetention
from openmem._async.sqlite.vectors import AsyncSqliteVectors, stamp_of
from openmem._config.registry import built_in_options
from openmem._config.settings import Settings
from openmem._embedding.batches import mark_cut
from openmem._io.concurrency.background import AsyncBackground, AsyncRest, async_no_rest
from openmem._io.concurrency.call import Call, Deadline, random_id_bits
from openmem._io.concurrency.primitives import ThreadLock, async_import_module
from openmem._io.sqlite.database import AsyncSqlite
from openmem._io.sqlite.errors import DiskFullError
from openmem._io.sqlite.options import check
from openmem._model.access import Patterns
from openmem._model.candidates import Candidate
from openmem._model.feed import FeedQuery
from openmem._model.ids import Key, Named, new_memory_ids
from openmem._model.requests import (
    AuditQuery,
    Change,
    Draft,
    Erasure,
    GivenVector,
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
from openmem._model.timestamps import micros
from openmem._rules.capabilities import native_capabilities
from openmem._rules.understanding import KEYS, METADATA, ORDERS, PAGES, READY_VECTORS, SEARCHABLE, WHERE
from openmem._rules.writing import with_content
from openmem._sql.sqlite import (
    audit,
    erase,
    feed,
    feed_of_all,
    health,
    history,
    overview,
    portable,
    read,
    write,
)
from openmem._sql.sqlite.counts import CountsCache
from openmem._sql.sqlite.purge import Purge
from openmem._sql.sqlite.writer import Blob
from openmem._sql.steps import Steps
from openmem._sql.writing import Incoming, Model, Stamp
from openmem.errors import DeadlineExceededError, ProviderUnavailableError, VersionConflictError
from openmem.types import (
    Action,
    AuditEntry,
    Capabilities,
    ChangePage,
    ErasureReceipt,
    Health,
    ImportConflict,
    ImportReport,
    MemoryPage,
    MemoryRecord,
    Overview,
    ScopeInfo,
    SearchResult,
    TagInfo,
    UserPage,
)

if TYPE_CHECKING:
    from openmem._retrieval.user_index import UserCache
    from openmem._sql.sqlite.search import Projection

T = TypeVar("T")

_SETTLE_SECONDS: Final = 1.0
_SEARCH: Final = "openmem._sql.sqlite.search"  # loaded by who searches: only that computes


class AsyncSqliteProvider(AsyncSqliteVectors):
    """Memories in one SQLite file.

    Options:
        synchronous: "normal" (the default) loses nothing when a process dies; "full" nothing at a power cut either.
        cache_mb: Megabytes for the arrays of the users who searched last (256).
        audit_days: Days for which the audit log keeps an entry (for ever).
        versions: How many earlier versions of each memory are kept (all).
    """

    pages_history: ClassVar[bool] = True
    name: ClassVar[str] = "sqlite"
    options: ClassVar[frozenset[str]] = built_in_options("sqlite")
    embeds: ClassVar[bool] = True
    enforces_access: ClassVar[bool] = True
    understands: ClassVar[frozenset[str]] = METADATA | KEYS | SEARCHABLE | READY_VECTORS | ORDERS | PAGES | WHERE

    def __init__(self, settings: Settings, embedder: AsyncEmbedder | None) -> None:
        super().__init__(settings, embedder)
        given = check(settings)
        self.path = given.place
        self._db = AsyncSqlite(
            self.path, synchronous=given.synchronous, make_folder=settings.url is None, create=settings.create
        )
        self._cache_bytes = given.cache_mb * 1_000_000
        self._retention = Retention.of(settings.options)
        self._background = AsyncBackground(self._keep_up)
        self.forked()

    @property
    def place(self) -> str:
        """The path of the file."""
        return self.path

    @property
    def made(self) -> bool:  # type: ignore[override]
        """Whether the file was made here."""
        return self._db.made

    def forked(self) -> None:
        """Start with an empty cache: locks of the old one may be held by threads that did not come along."""
        self._users: UserCache | None = None
        self._counts = CountsCache(ThreadLock)
        self._making = ThreadLock()
        self._background.forked()

    async def open(self, call: Call) -> None:
        """Open the file, make or migrate it, and refuse what is not ours."""
        await self._db.read(health.touch(), call.deadline)
        if self._retention.limited and not self._db.read_only:
            self._background.start()

    async def aclose(self) -> None:
        """Write what is left of the audit log and close the file."""
        await self._background.aclose()
        await self._db.aclose()

    async def capabilities(self, call: Call) -> Capabilities:
        """Say what this provider can do; vectors depend on the embedder."""
        return native_capabilities(self.name, self.embedder.model if self.embedder else None)

    async def add(
        self, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, call: Call
    ) -> list[MemoryRecord]:
        """Store drafts in one transaction."""
        cut: set[int] = set()
        model, blobs = await self._embed_drafts(drafts, on_progress, call, cut)
        drafts = mark_cut(drafts, cut)
        at, start = call.origin()
        ids = await self.new_ids(drafts, at, start)
        items: list[Incoming[Blob]] = [
            Incoming(draft, id, blob) for draft, id, blob in zip(drafts, ids, blobs, strict=True)
        ]
        stamp = Stamp(at, call.app, call.request_id)
        steps = write.add(items, model, stamp, call.access, repeatable=call.seed is not None)
        return await self._db.write(steps, call.deadline)

    async def get(self, id: Named, user_id: str | None, call: Call) -> MemoryRecord:
        """Return one memory."""
        record = await self._db.read(read.get(id, user_id, _seen(call)), call.deadline)
        self._note(record.user_id, "get", record.id, record.scope, call)
        return record

    async def get_by_key(self, key: str, user_id: str | None, call: Call) -> MemoryRecord:
        """Return the memory of a user that has a key."""
        return await self.get(Key(key), self.key_owner(user_id), call)

    async def update(self, id: Named, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change one memory; only a new content is embedded."""
        model: Model | None = None
        blob: Blob | None = None
        if change.fields.get("searchable") and "content" not in change.fields and self.embedder is not None:
            return await self._make_searchable(id, user_id, change, call)
        given: GivenVector | None = change.fields.get("embedding")
        if given is not None:
            model, blob = await self._given_model([given], call), given.values.astype("<f4", copy=False).tobytes()
        elif "content" in change.fields and change.fields.get("searchable") is not False:
            cut: set[int] = set()
            model, blobs = await self._embed([change.fields["content"]], None, call, cut)
            blob, change = blobs[0], replace(change, cut=bool(cut))
        steps = write.update(id, user_id, change, blob, model, stamp_of(call), call.access)
        return await self._db.write(steps, call.deadline)

    async def update_by_key(self, key: str, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change the memory of a user that has a key."""
        return await self.update(Key(key), self.key_owner(user_id), change, call)

    async def delete(self, id: str, user_id: str | None, call: Call) -> None:
        """Erase one memory."""
        await self._delete(id, user_id, call)

    async def delete_by_key(self, key: str, user_id: str | None, call: Call) -> str:
        """Erase the memory of a user that has a key, and return its id."""
        return await self._delete(Key(key), self.key_owner(user_id), call)

    async def _delete(self, named: Named, user_id: str | None, call: Call) -> str:
        steps = partial(write.delete, named, user_id, stamp_of(call), call.access)
        id, was_full = await self._db.erase(steps, call.deadline)
        if was_full:
            await self._purge(call)
        return id

    async def delete_all(self, user_id: str, scope: ScopePattern | None, call: Call) -> ErasureReceipt:
        """Erase all memories of a user, or those of a part of the scopes."""
        return await self.delete_matching(Erasure(user_id, scope), call)

    async def delete_matching(self, erasure: Erasure, call: Call) -> ErasureReceipt:
        """Erase the memories of a user that a request names."""
        user_id, where, stamp = erasure.user_id, erasure.where, stamp_of(call)
        self._counts.forget(user_id)

        def steps() -> Steps[ErasureReceipt]:
            if where is None:
                erasing = erase.erase(user_id, erasure.scope, stamp)
            else:
                erasing = erase.erase_matching(user_id, erasure.scope, where, stamp)
            if self._users is None:
                return erasing
            from openmem._sql.sqlite.snapshot import forgetting

            return forgetting(user_id, self._users, erasing)

        receipt, _ = await self._db.erase(steps, call.deadline)
        receipt.purged = await self._purge(call)
        return receipt

    async def list(self, query: ListQuery, call: Call) -> MemoryPage:
        """Return a page of memories, newest first."""
        page = await self._db.read(read.page(query, _now(call)), call.deadline)
        self._note(query.view.user_id, "list", None, _scope(query), call)
        return page

    async def scopes(self, query: ScopesQuery, call: Call) -> Overview[ScopeInfo]:
        """Return the scopes of a user, with counts."""
        found = await self._db.read(overview.scopes(query, _now(call), self._counts), call.deadline)
        self._note(query.view.user_id, "list", None, _scope(query), call)
        return found

    async def tags(self, query: TagsQuery, call: Call) -> Overview[TagInfo]:
        """Return the tags of a user, with counts."""
        found = await self._db.read(overview.tags(query, _now(call)), call.deadline)
        self._note(query.view.user_id, "list", None, _scope(query), call)
        return found

    async def users(self, query: UsersQuery, call: Call) -> UserPage:
        """Return a page of the users who have memories, in the order of their ids."""
        return await self._db.read(overview.users(query, _now(call)), call.deadline)

    async def search(self, query: SearchQuery, call: Call) -> Sequence[SearchResult]:
        """Return the best matches, best first."""
        search = await async_import_module(_SEARCH, call.deadline)
        if query.mode == "vector":
            results = await self._search_by_vector(query, call)
        else:
            results = await self._fused(query, search.RESULTS, call)
            self.tell_of_words_only(query, results)
        self._note(query.view.user_id, query.action, None, _scope(query), call)
        return results

    async def candidates(self, query: SearchQuery, call: Call) -> Sequence[Candidate]:
        """Return what a search would, best first, with no more of each memory than a context needs."""
        if query.mode == "vector":
            return await super().candidates(query, call)
        search = await async_import_module(_SEARCH, call.deadline)
        found = await self._fused(query, search.CANDIDATES, call)
        self._note(query.view.user_id, query.action, None, _scope(query), call)
        return found

    async def history_page(self, query: HistoryQuery, call: Call) -> HistoryPage:
        """Return a page of earlier versions and of what the memory supersedes, newest first."""
        owner, page = await self._db.read(history.page(query, _seen(call)), call.deadline)
        self._note(owner.user_id, "get", owner.id, owner.scope, call)
        return page

    async def history_by_key(self, query: HistoryQuery, call: Call) -> HistoryPage:
        """Return a page of the history of the memory of a user that has a key."""
        self.key_owner(query.user_id)
        return await self.history_page(query, call)

    async def audit(self, query: AuditQuery, call: Call) -> Sequence[AuditEntry]:
        """Return the newest audit entries, those of reads that cannot be written just now too."""
        try:
            await self._db.flush(call.deadline)
        except ProviderUnavailableError:  # the disk is full, or takes no more for another reason
            return await self._db.foresee(audit.entries(query), call.deadline)
        return await self._db.read(audit.entries(query), call.deadline)

    async def changes(self, query: FeedQuery, call: Call) -> ChangePage:
        """Return the next changes; those of all users are put in an order first, as far as they are not yet."""
        if query.user_id is not None:
            return await self._db.read(feed.page(query), call.deadline)
        page = await self._db.read(feed_of_all.page(query), call.deadline)
        more = True
        while more and not page.has_more and await self._db.read(feed_of_all.waits(), call.deadline):
            more = await self._db.write(feed_of_all.put_together(), call.deadline)
            rest = replace(query, cursor=page.next_cursor, limit=query.limit - len(page.items))
            following = await self._db.read(feed_of_all.page(rest), call.deadline)
            page = following.model_copy(update={"items": [*page.items, *following.items]})
        return page

    async def wait_for_ingest(self, ids: Sequence[str], user_id: str, call: Call) -> None:
        """Check that the memories are there: what `add` returned can be found at once."""
        await self._db.read(read.check_all(ids, user_id, _seen(call)), call.deadline)

    async def export(
        self, user_id: str | None, cursor: str | None, limit: int, call: Call
    ) -> tuple[Sequence[MemoryRecord], str | None]:
        """Return the next records in the order in which they were stored."""
        records, following = await self._db.read(portable.export_page(user_id, cursor, limit), call.deadline)
        for owner in dict.fromkeys([record.user_id for record in records] or ([user_id] if user_id else [])):
            self._note(owner, "list", None, None, call)
        return records, following

    async def import_(self, drafts: Sequence[Draft], conflict: ImportConflict, call: Call) -> ImportReport:
        """Store records of another store in one transaction; what will be skipped is not embedded."""
        wanted, skipped = list(drafts), 0
        if conflict == "skip":
            users: dict[str, list[str]] = {}
            for draft in drafts:
                users.setdefault(draft.user_id, []).append(draft.id or "")
            known = await self._db.read(portable.known(users), call.deadline)
            wanted = [draft for draft in drafts if (draft.user_id, draft.id) not in known]
            skipped = len(drafts) - len(wanted)
        cut: set[int] = set()
        model, blobs = await self._embed_drafts(wanted, None, call, cut)
        wanted = [*mark_cut(wanted, cut)]
        spare = new_memory_ids([draft.user_id for draft in wanted], call.now, random_id_bits())
        items: list[Incoming[Blob]] = [
            Incoming(draft, draft.id or id_, blob) for draft, id_, blob in zip(wanted, spare, blobs, strict=True)
        ]
        steps = portable.take_in(items, spare, conflict, model, stamp_of(call))
        report = await self._db.write(steps, call.deadline)
        report.skipped += skipped
        return report

    async def maintain(self, retention: Retention, call: Call, *, dry_run: bool) -> MaintenanceReport:
        """Remove old entries and versions, and give the room that they had back to the disk."""
        with suppress(DiskFullError):  # what was not entered yet is new, and stays
            await self._db.flush(call.deadline)
        wanted = retention.or_else(self._retention)
        run = AsyncSqliteRetention(self._db, wanted, call.now, call.deadline, async_no_rest)
        if dry_run:
            return await run.count()
        report = await run.remove()
        report.purged = await self._purge(call)
        report.bytes_after = await run.size()
        return report

    async def _keep_up(self, rest: AsyncRest) -> None:
        call = Call()
        report = await AsyncSqliteRetention(self._db, self._retention, call.now, call.deadline, rest).remove()
        if report.entries or report.versions:
            purge = Purge()
            while await rest() and await self._db.write(purge.some(), call.deadline):
                pass
            await self._db.settle(Deadline.after(_SETTLE_SECONDS), rebuilds=False)

    async def health(self, call: Call) -> Health:
        """Read a page of the file and count."""
        detail = await self._db.read(health.check(), call.deadline)
        place = {"path": self.path, "read_only": True} if self._db.read_only else {"path": self.path}
        return Health(ok=True, provider=self.name, detail={**place, **detail})

    def _cache(self) -> UserCache:
        if self._users is not None:
            return self._users
        with self._making:
            if self._users is None:
                from openmem._retrieval.user_index import UserCache

                self._users = UserCache(self._cache_bytes, ThreadLock)
            return self._users

    async def _search_by_vector(self, query: SearchQuery, call: Call) -> Sequence[SearchResult]:
        from openmem._sql.sqlite import search

        vector, model = await query_vector(self, query, query.text, call)
        steps = search.by_vector(query, _now(call), self._cache(), vector, Model(*model))
        return await self._db.read(steps, call.deadline)

    async def _fused(self, query: SearchQuery, projection: Projection[T], call: Call) -> Sequence[T]:
        from openmem._sql.sqlite import search

        now = _now(call)
        if query.mode == "keyword" or (self.embedder is None and query.embedding is None):
            return await self._db.read(search.by_keyword(query, now, self._cache(), projection), call.deadline)
        begun = await self._db.read(search.begin(query, now, self._cache(), projection), call.deadline)
        if isinstance(begun, list):
            return begun
        vector, model = await query_vector(self, query, begun.text, call)
        fused = search.hybrid(query, now, self._cache(), vector, Model(*model), begun, projection)
        return await self._db.read(fused, call.deadline)

    async def _make_searchable(self, id: Named, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change a memory that was kept out of searches, whose text gets a vector now."""
        while True:
            stored = await self._db.read(read.get(id, user_id, _seen(call)), call.deadline)
            try:
                return await self.update(stored.id, stored.user_id, with_content(change, stored), call)
            except VersionConflictError:
                if change.if_version is not None:
                    raise
                call.deadline.check()  # another client changed it meanwhile

    async def _purge(self, call: Call) -> bool:
        """Take what was erased out of the file; return whether that is done.

        On a full disk it may not be, though an erasure gives some room back; a later one does it.
        """
        purge = Purge()
        try:
            await self._db.settle(call.deadline)
            while await self._db.write(purge.some(), call.deadline):
                pass
            return await self._db.settle(call.deadline)
        except (DeadlineExceededError, DiskFullError):
            return False

    def _note(self, user_id: str, action: Action, memory_id: str | None, scope: str | None, call: Call) -> None:
        for statement in audit.read_entry(user_id, action, memory_id, scope, stamp_of(call)):
            self._db.defer(statement)


def _seen(call: Call) -> Patterns | None:
    return None if call.access is None else call.access.patterns("read")


def _now(call: Call) -> int:
    return micros(call.now)


def _scope(query: ListQuery | ScopesQuery | SearchQuery | TagsQuery) -> str | None:
    return None if query.view.scope is None else str(query.view.scope)
