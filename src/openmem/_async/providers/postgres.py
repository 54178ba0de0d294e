"""The Postgres provider: memories in a database of the user's own, with vectors kept by the extension pgvector.

The verbs are short: the statements stand in `openmem._sql.postgres`, and most verbs are one of them, one round trip,
their audit entry included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Final, TypeVar

from openmem._async.embedders import AsyncEmbedder
from openmem._async.postgres_schema import AsyncPostgresSchema
from openmem._async.retention.postgres import count, remove
from openmem._config.registry import built_in_options
from openmem._config.settings import Settings
from openmem._embedding.batches import mark_cut, other_length
from openmem._io.concurrency.background import AsyncBackground, AsyncRest, async_no_rest
from openmem._io.concurrency.batching import AsyncBatcher
from openmem._io.concurrency.call import Call, Deadline, random_id_bits
from openmem._io.concurrency.primitives import async_compute
from openmem._io.postgres.database import AsyncPg, Make
from openmem._model.access import IdempotencySeed, Patterns
from openmem._model.candidates import Candidate
from openmem._model.checks import check_flag
from openmem._model.ids import ambiguous_id, bucket_of, new_memory_ids, unknown_id
from openmem._model.requests import AuditQuery, Change, Draft, HistoryQuery, ListQuery, SearchQuery
from openmem._model.results import HistoryPage
from openmem._model.retention import OPTIONS, MaintenanceReport, Retention
from openmem._model.scopes import ScopePattern
from openmem._retrieval.ranking import clean_query
from openmem._rules.capabilities import native_capabilities
from openmem._rules.workload import LONG_TEXT, is_large_change, is_large_draft, take_long
from openmem._rules.writing import by_user
from openmem._sql.postgres import audit, erase, health, history, hnsw, models, portable, read, reembed, search, write
from openmem._sql.postgres.hnsw_trials import Trials
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.options import DEFAULT_CONFIG, DEFAULT_SCHEMA, check
from openmem._sql.postgres.search import Projection
from openmem._sql.postgres.supersession import lock_of
from openmem._sql.postgres.write import Single
from openmem._sql.writing import Incoming, Model, Stamp
from openmem.errors import ProviderError
from openmem.types import (
    AuditEntry,
    Capabilities,
    ErasureReceipt,
    Health,
    ImportConflict,
    ImportReport,
    MemoryPage,
    MemoryRecord,
    ReembedReport,
    SearchResult,
)

T = TypeVar("T")

_EMBED_AT_ONCE: Final = 256
_AGREED: Final = timedelta(seconds=1)
_KEY_INDEX: Final = "memories_key"
_NOT_UNIQUE: Final = "23505"
_NAMELESS: Final = 16
"""Attempts after violations that the server gives no name: enough for a crowd, and an end if it was no key."""


class AsyncPostgresProvider(AsyncPostgresSchema):
    """Memories in Postgres with pgvector.

    Options:
        schema: Name of the schema that holds the tables ("openmem").
        text_search: Text search configuration that stems words ("english").
        migrate: Bring the schema up to date on first use (True).
        pool_min_size, pool_max_size: Connections to keep and to have at most (0, 10).
        pool_timeout: Seconds to wait for a connection (30.0).
        statement_cache: False behind a pooler in transaction mode (True).
        group_adds: Store what is added at the same moment, by tasks of one event loop, in one transaction, which
            then holds rows of several users, each routed by its own bucket (True).
        distribute: Spread the tables over the servers of a Citus cluster on first use (False).
        hnsw: Keep an approximate index for each model, for users with very many memories (False).
        hnsw_from: Number of memories from which on a user is searched by that index (20,000).
        audit_days: Days for which the audit log keeps an entry (for ever).
        versions: How many earlier versions of each memory are kept (all).
    """

    pages_history: ClassVar[bool] = True
    name: ClassVar[str] = "postgres"
    options: ClassVar[frozenset[str]] = built_in_options("postgres")
    embeds: ClassVar[bool] = True
    enforces_access: ClassVar[bool] = True

    def __init__(self, settings: Settings, embedder: AsyncEmbedder | None) -> None:
        super().__init__(settings, embedder)
        check(settings)
        given = dict(settings.options)
        self._names = Names(given.pop("schema", DEFAULT_SCHEMA), given.pop("text_search", DEFAULT_CONFIG))
        self._retention = Retention.of(given)
        given = {name: value for name, value in given.items() if name not in OPTIONS}
        flags = {"migrate": True, "distribute": False, "group_adds": True}.items()
        self._migrates, self._distribute, groups = (check_flag(given.pop(name, usual), name) for name, usual in flags)
        chosen = {field: given.pop(name) for name, field in hnsw.OPTIONS.items() if name in given}
        self._hnsw = hnsw.Approximation(**chosen)
        self._singles = AsyncBatcher(self._store_one, self._store_each, on=groups)
        self._db = AsyncPg(settings.url or "", **given)
        self._background = AsyncBackground(self._keep_up)

    async def open(self, call: Call) -> None:
        """Bring the schema up to date, if that is needed and allowed."""
        await self.open_schema(call)
        if self._retention.limited:
            self._background.start()

    def forked(self) -> None:
        """Do in the child what is done beside callers: it did not come along."""
        self._background.forked()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._background.aclose()
        await self._db.aclose()
        await self._singles.aclose()

    async def capabilities(self, call: Call) -> Capabilities:
        """Say what this provider can do; vectors depend on the embedder."""
        return native_capabilities(self.name, self.embedder.model if self.embedder else None)

    async def add(
        self, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, call: Call
    ) -> list[MemoryRecord]:
        """Store drafts in one transaction per user; those of several users are stored user by user."""
        model, items = await self._incoming(drafts, on_progress, call)
        stamp = _stamp(call)
        only = items[0].draft
        if len(items) == 1 and only.key is None and call.seed is None and not is_large_draft(only):
            single = Single(items[0], model, stamp)
            if not only.supersedes:
                return [await self._singles.run(single, call.deadline)]
            if not self._names.distributed and (call.access is None or call.access.patterns("write") is None):
                return [await self._store_newer(single, call.deadline)]
        records: dict[int, MemoryRecord] = {}
        for number, positions in enumerate(by_user([draft.user_id for draft in drafts]).values()):
            mine = [items[position] for position in positions]
            made = await self._add(mine, model, _stamp(call, number, call.seed), call)
            records.update(zip(positions, made, strict=True))
        return [records[position] for position in range(len(drafts))]

    async def get(self, id: str, user_id: str | None, call: Call) -> MemoryRecord:
        """Return one memory."""
        seen = _seen(call)
        owner = await self._owner(id, user_id, seen, call)
        make = partial(read.get, self._names, id, owner, _stamp(call), seen)
        return await self._read(make, call)

    async def update(self, id: str, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change one memory; only a new content is embedded."""
        model, vector, cut = None, None, set[int]()
        if "content" in change.fields and self.embedder is not None:
            vectors = await self.embedder.embed([change.fields["content"]], call.deadline, cut)
            model, vector = Model(self.embedder.model, vectors.shape[1]), vectors[0]
            await self._agree(model, call.now, call.deadline)
            change = replace(change, cut=bool(cut))
        owner = await self._owner(id, user_id, _seen(call), call)
        make = partial(write.update, self._names, id, owner, change, vector, model, _stamp(call), call.access)
        lock = self._lock(owner, "supersedes" in change.fields or self._names.distributed)
        try:
            return await self._db.transact(make, call.deadline, lock=lock, heavy=is_large_change(change))
        except ProviderError as error:
            await self._explain(error, model, call.deadline)
            raise

    async def delete(self, id: str, user_id: str | None, call: Call) -> None:
        """Erase one memory."""
        owner = await self._owner(id, user_id, _seen(call, "read", "delete"), call)
        make = partial(write.delete, self._names, id, owner, _stamp(call), call.access)
        await self._db.transact(make, call.deadline, lock=self._lock(owner, self._names.distributed))

    async def delete_all(self, user_id: str, scope: ScopePattern | None, call: Call) -> ErasureReceipt:
        """Erase all memories of a user, or those of a part of the scopes."""
        make = partial(erase.erase, self._names, user_id, scope, _stamp(call))
        return await self._db.transact(make, call.deadline, lock=self._lock(user_id, True))

    async def list(self, query: ListQuery, call: Call) -> MemoryPage:
        """Return a page of memories, newest first."""
        return await self._read(partial(read.page, self._names, query, _stamp(call)), call)

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
        fused = query.mode != "keyword" and self.embedder is not None
        if fused and self.embedder is not None and await self._has_vectors(call.deadline):
            given = (query.text, frozenset[str](), frozenset[str]())
            text = await async_compute(clean_query, *given) if long else clean_query(*given)
            vector = await self.embedder.embed_query(text, call.deadline)
            model = Model(self.embedder.model, len(vector))
        make = partial(search.hybrid, self._names, query, vector, model, _stamp(call), projection, fused=fused)
        return await self._read(make, call, heavy=long)

    async def _search_by_vector(self, query: SearchQuery, call: Call) -> Sequence[SearchResult]:
        if self.embedder is None:
            raise self.needs_embedder('mode="vector"')
        vector, stamp = await self.embedder.embed_query(query.text, call.deadline), _stamp(call)
        model = Model(self.embedder.model, len(vector))
        if self._hnsw.fits(query.view, model) and await self._has_index(model, call):
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
        owner = await self._owner(query.id, query.user_id, _seen(call), call)
        make = partial(history.page, self._names, query, owner, _stamp(call), _seen(call))
        return await self._db.transact(make, call.deadline)

    async def audit(self, query: AuditQuery, call: Call) -> Sequence[AuditEntry]:
        """Return the newest audit entries."""
        return await self._db.run(partial(audit.entries, self._names, query), call.deadline, retry=True)

    async def wait_for_ingest(self, ids: Sequence[str], user_id: str, call: Call) -> None:
        """Check that the memories are there: what `add` returned can be found at once."""
        await self._db.run(partial(read.check_all, self._names, ids, user_id, _seen(call)), call.deadline, retry=True)

    async def export(
        self, user_id: str | None, cursor: str | None, limit: int, call: Call
    ) -> tuple[Sequence[MemoryRecord], str | None]:
        """Return the next records, ordered by bucket and id."""
        make = partial(portable.export_page, self._names, user_id, cursor, limit)
        records, following = await self._db.run(make, call.deadline, retry=True)
        owners = dict.fromkeys([record.user_id for record in records] or ([user_id] if user_id else []))
        for number, owner in enumerate(owners):
            await self._db.run(partial(audit.note, self._names, owner, "list", _stamp(call, number)), call.deadline)
        return records, following

    async def import_(self, drafts: Sequence[Draft], conflict: ImportConflict, call: Call) -> ImportReport:
        """Store records of another store, in one transaction per user; what will be skipped is not embedded."""
        report = ImportReport()
        for number, (owner, positions) in enumerate(by_user([draft.user_id for draft in drafts]).items()):
            mine = [drafts[position] for position in positions]
            if conflict == "skip":
                make = partial(portable.known, self._names, owner, [draft.id or "" for draft in mine])
                known = await self._db.run(make, call.deadline, retry=True)
                report.skipped += sum(draft.id in known for draft in mine)
                mine = [draft for draft in mine if draft.id not in known]
            if mine:
                report.include(await self._import(mine, conflict, _stamp(call, number), call))
        return report

    async def reembed(self, on_progress: Callable[[int, int], object] | None, call: Call) -> ReembedReport:
        """Give every memory a vector of the embedder's model, user by user."""
        if self.embedder is None:
            raise self.needs_embedder("reembed")
        model = Model(self.embedder.model, await self.embedder.find_dim(call.deadline))
        former = await self._db.transact(partial(models.move, self._names, model), call.deadline)
        if former is not None:
            drop = partial(hnsw.drop_index, self._names, Model(model.name, former))
            await self._db.transact(drop, call.deadline)
        await self._has_index(model, call)
        done, total = await self._db.run(partial(reembed.progress, self._names, model), call.deadline)
        place = (-1, "")
        while found := await self._db.run(partial(reembed.next_user, self._names, model, *place), call.deadline):
            done = await self._reembed_user(found[1], model, done, total, on_progress, call)
            place = found
        done, total = await self._db.run(partial(reembed.progress, self._names, model), call.deadline)
        return ReembedReport(model=model.name, done=done, total=total)

    async def maintain(self, retention: Retention, call: Call, *, dry_run: bool) -> MaintenanceReport:
        """Remove old entries and versions, bucket by bucket; the room they had is for the database's vacuum."""
        wanted = retention.or_else(self._retention)
        if dry_run:
            return await count(self._db, self._names, wanted, call.deadline)
        return await remove(self._db, self._names, wanted, call.deadline, async_no_rest)

    async def _keep_up(self, rest: AsyncRest) -> None:
        await remove(self._db, self._names, self._retention, Deadline(), rest)

    async def health(self, call: Call) -> Health:
        """Ask the server for its version, its schema and the extension."""
        detail = await self._db.run(partial(health.check, self._names), call.deadline, retry=True)
        return Health(ok=True, provider=self.name, detail={**detail, "pool": self._db.stats()})

    async def _read(self, make: Make[T], call: Call, *, heavy: bool = False) -> T:
        """Run a read, its audit entry included: one statement, or two in one transaction where tables are spread."""
        if self._names.distributed:
            return await self._db.transact(make, call.deadline, retry=True, heavy=heavy)
        return await self._db.run(make, call.deadline, retry=True, heavy=heavy)

    async def _owner(self, id: str, user_id: str | None, seen: Patterns | None, call: Call) -> str:
        if user_id is not None:
            return user_id
        make = partial(write.owners, self._names, id, bucket_of(id), seen)
        found = await self._db.run(make, call.deadline, retry=True)
        if not found:
            raise unknown_id(id, self.name)
        if len(found) > 1:
            raise ambiguous_id()
        return found[0]

    def _lock(self, user_id: str, needed: bool) -> int | None:
        """Return the lock to be had for a transaction that may change the links of a user."""
        return lock_of(self._names, user_id) if needed else None

    async def _has_index(self, model: Model, call: Call) -> bool:
        known = self._db.server.indexes
        if self._hnsw.wants(model) and not known.get((self._names, model)):
            make = partial(hnsw.make_index, self._names, model, self._migrates)
            known[self._names, model] = await self._db.transact(make, call.deadline)
        return known.get((self._names, model), False)

    async def _has_vectors(self, deadline: Deadline) -> bool:
        """Return whether a search may find a vector to compare with. Once there is one, it is not asked again."""
        known = self._db.server.vectors
        if not known.get(self._names):
            known[self._names] = await self._db.run(partial(models.are_there, self._names), deadline, retry=True)
        return known[self._names]

    async def _agree(self, model: Model, now: datetime, deadline: Deadline) -> None:
        """Refuse an embedder whose vectors are of another length than the store's of that name."""
        asked = self._db.server.lengths.get((self._names, model))
        # Where the statements that store a vector cannot look by themselves, what was found out holds for a moment.
        if asked is None or (self._names.distributed and not now - asked < _AGREED):
            known = await self._db.transact(partial(models.agree, self._names, model), deadline)
            if known != model.dim:
                raise other_length(model.name, model.dim, known)
            self._db.server.lengths[self._names, model] = now

    async def _explain(self, error: ProviderError, model: Model | None, deadline: Deadline) -> None:
        """Raise what it means that the server refused a vector, if it did."""
        if model is not None and (error.details or {}).get("sqlstate") == models.REFUSED:
            known = await self._db.transact(partial(models.agree, self._names, model), deadline)
            if known != model.dim:
                raise other_length(model.name, model.dim, known) from error

    async def _incoming(
        self, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, call: Call
    ) -> tuple[Model | None, Sequence[Incoming[Any]]]:
        ids = await self.new_ids(drafts, *call.origin())
        if self.embedder is None:
            pairs = zip(mark_cut(drafts, ()), ids, strict=True)
            return None, [Incoming(draft, draft.id or id_) for draft, id_ in pairs]
        vectors: list[Any] = []
        cut: set[int] = set()
        while len(vectors) < len(drafts):
            some = [draft.content for draft in drafts[len(vectors) : len(vectors) + _EMBED_AT_ONCE]]
            short: set[int] = set()
            rows = await self.embedder.embed(some, call.deadline, short)
            cut.update(len(vectors) + position for position in short)
            vectors.extend(rows)
            if on_progress is not None:
                on_progress(len(vectors), len(drafts))
        drafts = mark_cut(drafts, cut)
        model = Model(self.embedder.model, len(vectors[0]))
        await self._agree(model, call.now, call.deadline)
        if self._hnsw.on:
            await self._has_index(model, call)
        items = zip(drafts, ids, vectors, strict=True)
        return model, [Incoming(draft, draft.id or id_, vector) for draft, id_, vector in items]

    async def _store_one(self, single: Single, deadline: Deadline) -> MemoryRecord:
        make = partial(write.add_one, self._names, single.item, single.model, single.stamp)
        try:
            if self._names.distributed:
                return await self._db.transact(make, deadline)
            return await self._db.run(make, deadline)
        except ProviderError as error:
            await self._explain(error, single.model, deadline)
            raise

    async def _store_newer(self, single: Single, deadline: Deadline) -> MemoryRecord:
        make = partial(write.add_newer, self._names, single)
        try:
            return await self._db.transact(make, deadline, lock=self._lock(single.item.draft.user_id, True))
        except ProviderError as error:
            await self._explain(error, single.model, deadline)
            raise

    async def _store_each(self, singles: Sequence[Single], deadline: Deadline) -> Sequence[MemoryRecord]:
        make = partial(write.add_each, self._names, singles)
        if self._names.distributed or len({single.dim for single in singles}) > 1:
            return await self._db.transact(make, deadline)
        return await self._db.run(make, deadline)  # one statement: all or none without a transaction around it

    async def _add(
        self, items: Sequence[Incoming[Any]], model: Model | None, stamp: Stamp, call: Call
    ) -> Sequence[MemoryRecord]:
        repeatable, heavy = call.seed is not None, take_long([item.draft for item in items])
        make = partial(write.add, self._names, items, model, stamp, call.access, repeatable=repeatable)
        repeats = 1 if repeatable else 0
        keyed = any(item.draft.key is not None for item in items)
        nameless = _NAMELESS if keyed else repeats
        linking = any(item.draft.supersedes for item in items) or (keyed and self._names.distributed)
        lock = self._lock(items[0].draft.user_id, linking)
        while True:
            try:
                return await self._db.transact(make, call.deadline, lock=lock, heavy=heavy)
            except ProviderError as error:
                await self._explain(error, model, call.deadline)
                # Another client added the same key at the same moment: now it is there to be updated.
                # An index of a partition has a name of its own, but that of a primary key ends in "_pkey".
                details = error.details or {}
                constraint = details.get("constraint", "")
                if not constraint and details.get("sqlstate") == _NOT_UNIQUE and nameless:
                    nameless -= 1  # clusters do not say which: ids are new ones, so it can only be the key
                elif constraint.endswith("_pkey") and repeats:
                    repeats -= 1  # the same add at the same moment: now it is there to be returned
                elif constraint != _KEY_INDEX and "_key_" not in constraint:
                    raise
                call.deadline.check()

    async def _import(
        self, drafts: Sequence[Draft], conflict: ImportConflict, stamp: Stamp, call: Call
    ) -> ImportReport:
        model, items = await self._incoming(drafts, None, call)
        spare = new_memory_ids([draft.user_id for draft in drafts], call.now, random_id_bits())
        make = partial(portable.take_in, self._names, items, spare, conflict, model, stamp)
        heavy = take_long(drafts, singly=conflict != "skip")
        lock, attempts = self._lock(drafts[0].user_id, True), _NAMELESS
        while True:
            try:
                return await self._db.transact(make, call.deadline, lock=lock, heavy=heavy)
            except ProviderError as error:
                await self._explain(error, model, call.deadline)
                attempts -= 1
                # Another client stored the same id or key at the same moment: now it is there to be found.
                if (error.details or {}).get("sqlstate") != _NOT_UNIQUE or not attempts:
                    raise
                call.deadline.check()

    async def _reembed_user(
        self,
        user_id: str,
        model: Model,
        done: int,
        total: int,
        on_progress: Callable[[int, int], object] | None,
        call: Call,
    ) -> int:
        assert self.embedder is not None
        ask = partial(reembed.pending, self._names, user_id, model, _EMBED_AT_ONCE)
        while batch := await self._db.run(ask, call.deadline):
            cut = set[int]()
            vectors = await self.embedder.embed([item.content for item in batch], call.deadline, cut)
            keep = partial(reembed.store, self._names, user_id, model, batch, [*vectors], cut)
            await self._db.transact(keep, call.deadline)
            done += len(batch)
            if on_progress is not None:
                on_progress(min(done, total), total)
        await self._db.transact(partial(reembed.switch, self._names, user_id, model), call.deadline)
        return done


def _seen(call: Call, *verbs: str) -> Patterns | None:
    return None if call.access is None else call.access.patterns(*(verbs or ("read",)))


def _stamp(call: Call, number: int = 0, seed: IdempotencySeed | None = None) -> Stamp:
    # Users of one call may share a bucket, in which the ids of entries must differ.
    entry_id = f"{int(call.now.timestamp() * 1_000_000):014x}{(call.nonce or call.request_id)[:10]}{number:06d}"
    return Stamp(seed.at if seed is not None else call.now, call.app, call.request_id, entry_id)
