"""The verbs of the Postgres provider that write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from openmem._async.postgres.session import AsyncPostgresSession, seen_by, stamp_of
from openmem._embedding.batches import given_vectors, mark_cut, report_of, to_embed
from openmem._embedding.ready import agreed_model, other_model
from openmem._io.concurrency.batching import AsyncBatcher
from openmem._io.concurrency.call import Call, Deadline, random_id_bits
from openmem._model.ids import Key, Named, new_memory_ids
from openmem._model.requests import Change, Draft, Erasure, GivenVector
from openmem._model.scopes import ScopePattern
from openmem._rules.workload import is_large_change, is_large_draft, take_long
from openmem._rules.writing import by_user, with_content
from openmem._sql.postgres import erase, models, portable, write
from openmem._sql.postgres.feed import COLLISION
from openmem._sql.postgres.write import Single
from openmem._sql.writing import Incoming, Model, Stamp
from openmem.errors import ProviderError, VersionConflictError
from openmem.types import (
    ErasureReceipt,
    ImportConflict,
    ImportReport,
    MemoryRecord,
)

EMBED_AT_ONCE: Final = 256
_KEY_INDEX: Final = "memories_key"
_NOT_UNIQUE: Final = "23505"
_NAMELESS: Final = 16
"""Attempts after violations that the server gives no name: enough for a crowd, and an end if it was no key."""


class AsyncPostgresWrites(AsyncPostgresSession):
    """The part of the provider that writes, in one transaction for each user."""

    _singles: AsyncBatcher[Single, MemoryRecord]

    async def add(
        self, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, call: Call
    ) -> list[MemoryRecord]:
        """Store drafts in one transaction per user; those of several users are stored user by user."""
        model, items = await self._incoming(drafts, on_progress, call)
        stamp = stamp_of(call)
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
            made = await self._add(mine, model, stamp_of(call, number, call.seed), call)
            records.update(zip(positions, made, strict=True))
        return [records[position] for position in range(len(drafts))]

    async def update(self, id: Named, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change one memory; only a new content is embedded."""
        model, vector, cut = None, None, set[int]()
        shown = change.fields.get("searchable")
        if shown and "content" not in change.fields and self.embedder is not None:
            return await self._make_searchable(id, user_id, change, call)
        given: GivenVector | None = change.fields.get("embedding")
        if given is not None:
            model, vector = await self._given_model([given], call), given.values
            assert model is not None
            await self._agree(model, call.now, call.deadline)
        elif "content" in change.fields and shown is not False and self.embedder is not None:
            vectors = await self.embedder.embed([change.fields["content"]], call.deadline, cut)
            model, vector = Model(self.embedder.model, vectors.shape[1]), vectors[0]
            await self._agree(model, call.now, call.deadline)
            change = replace(change, cut=bool(cut))
        owner = await self._owner(id, user_id, seen_by(call), call)
        make = partial(write.update, self._names, id, owner, change, vector, model, stamp_of(call), call.access)
        lock = self._lock(owner, "supersedes" in change.fields or self._names.distributed)
        try:
            return await self._db.transact(make, call.deadline, lock=lock, heavy=is_large_change(change))
        except ProviderError as error:
            await self._explain(error, model, call.deadline)
            raise

    async def update_by_key(self, key: str, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change the memory of a user that has a key."""
        return await self.update(Key(key), self.key_owner(user_id), change, call)

    async def _make_searchable(self, id: Named, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change a memory that was kept out of searches, whose text gets a vector now."""
        seen = seen_by(call)
        owner = await self._owner(id, user_id, seen, call)
        while True:
            make = partial(write.find, self._names, id, owner, "", seen)
            stored = await self._db.run(make, call.deadline, retry=True)
            try:
                return await self.update(stored.id, owner, with_content(change, stored), call)
            except VersionConflictError:
                if change.if_version is not None:
                    raise
                call.deadline.check()  # another client changed it meanwhile

    async def delete(self, id: str, user_id: str | None, call: Call) -> None:
        """Erase one memory."""
        await self._delete(id, user_id, call)

    async def delete_by_key(self, key: str, user_id: str | None, call: Call) -> str:
        """Erase the memory of a user that has a key, and return its id."""
        return await self._delete(Key(key), user_id, call)

    async def _delete(self, named: Named, user_id: str | None, call: Call) -> str:
        owner = await self._owner(named, user_id, seen_by(call, "read", "delete"), call)
        make = partial(write.delete, self._names, named, owner, stamp_of(call), call.access)
        return await self._db.transact(make, call.deadline, lock=self._lock(owner, self._names.distributed))

    async def delete_all(self, user_id: str, scope: ScopePattern | None, call: Call) -> ErasureReceipt:
        """Erase all memories of a user, or those of a part of the scopes."""
        make = partial(erase.erase, self._names, user_id, scope, stamp_of(call))
        return await self._db.transact(make, call.deadline, lock=self._lock(user_id, True))

    async def delete_matching(self, erasure: Erasure, call: Call) -> ErasureReceipt:
        """Erase the memories of a user that a filter is true of, if there is one."""
        user_id, scope, where = erasure.user_id, erasure.scope, erasure.where
        if where is None:
            return await self.delete_all(user_id, scope, call)
        make = partial(erase.erase_matching, self._names, user_id, scope, where, stamp_of(call))
        return await self._db.transact(make, call.deadline, lock=self._lock(user_id, True))

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
                report.include(await self._import(mine, conflict, stamp_of(call, number), call))
        return report

    async def _incoming(
        self, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, call: Call
    ) -> tuple[Model | None, Sequence[Incoming[Any]]]:
        ids = await self.new_ids(drafts, *call.origin())
        chosen, given = to_embed(drafts) if self.embedder is not None else [], given_vectors(drafts)
        model = await self._given_model(given.values(), call)
        if not chosen and model is None:
            pairs = zip(mark_cut(drafts, ()), ids, strict=True)
            return None, [Incoming(draft, draft.id or id_) for draft, id_ in pairs]
        vectors: list[Any] = [None] * len(drafts)
        cut: set[int] = set()
        if chosen:
            tell = report_of(on_progress, len(chosen), len(drafts))
            rows = await self._embed([drafts[position].content for position in chosen], tell, call, cut)
            for position, vector in zip(chosen, rows, strict=True):
                vectors[position] = vector
            model = await self._given_model(given.values(), call, len(rows[0]))
        for position, brought in given.items():
            vectors[position] = brought.values
        drafts = mark_cut(drafts, {chosen[position] for position in cut})
        assert model is not None
        await self._agree(model, call.now, call.deadline)
        if self._hnsw.on:
            await self._has_index(model, call)
        items = zip(drafts, ids, vectors, strict=True)
        return model, [Incoming(draft, draft.id or id_, vector) for draft, id_, vector in items]

    async def _given_model(self, vectors: Iterable[GivenVector], call: Call, dim: int | None = None) -> Model | None:
        """Return the model of vectors that callers brought, which must be the embedder's, or else the store's.

        Args:
            vectors: The vectors.
            call: The call.
            dim: How long vectors are that the embedder has just made, if it made any.
        """
        embedder = self.embedder
        if embedder is not None:
            found = agreed_model(vectors, embedder.model, embedder.dim if dim is None else dim)
            return Model(embedder.model, dim) if dim is not None else None if found is None else Model(*found)
        agreed = agreed_model(vectors)
        if agreed is None:
            return None
        known = await self._db.run(partial(models.other, self._names, agreed[0]), call.deadline, retry=True)
        if known is not None:
            raise other_model(agreed[0], known)
        return Model(*agreed)

    async def _embed(
        self, texts: Sequence[str], on_progress: Callable[[int, int], object] | None, call: Call, cut: set[int]
    ) -> Sequence[Any]:
        assert self.embedder is not None
        vectors: list[Any] = []
        while len(vectors) < len(texts):
            short: set[int] = set()
            rows = await self.embedder.embed(texts[len(vectors) : len(vectors) + EMBED_AT_ONCE], call.deadline, short)
            cut.update(len(vectors) + position for position in short)
            vectors.extend(rows)
            if on_progress is not None:
                on_progress(len(vectors), len(texts))
        return vectors

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
        nameless, collisions = _NAMELESS if keyed else repeats, _NAMELESS
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
                if details.get("sqlstate") == COLLISION and collisions:
                    collisions -= 1  # rolled back: the next attempt comes after the other
                elif not constraint and details.get("sqlstate") == _NOT_UNIQUE and nameless:
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
                if (error.details or {}).get("sqlstate") not in (_NOT_UNIQUE, COLLISION) or not attempts:
                    raise
                call.deadline.check()
