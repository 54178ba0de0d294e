"""The base of reads and writes: how statements run, whose a memory is, which vectors fit."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from openmem._async.postgres.schema import AsyncPostgresSchema
from openmem._embedding.batches import other_length
from openmem._io.concurrency.call import Call, Deadline
from openmem._io.postgres.database import Make
from openmem._model.access import IdempotencySeed, Patterns
from openmem._model.ids import Key, Named, ambiguous_id, bucket_of, unknown_id
from openmem._sql.postgres import hnsw, models, write
from openmem._sql.postgres.supersession import lock_of
from openmem._sql.writing import Model, Stamp
from openmem.errors import ProviderError

T = TypeVar("T")

_AGREED: Final = timedelta(seconds=1)


class AsyncPostgresSession(AsyncPostgresSchema):
    """The part of the provider that runs statements, and knows what the database was found to hold."""

    _hnsw: hnsw.Approximation

    async def _read(self, make: Make[T], call: Call, *, heavy: bool = False) -> T:
        """Run a read, its audit entry included: one statement, or two in one transaction where tables are spread."""
        if self._names.distributed:
            return await self._db.transact(make, call.deadline, retry=True, heavy=heavy)
        return await self._db.run(make, call.deadline, retry=True, heavy=heavy)

    async def _owner(self, id: Named, user_id: str | None, seen: Patterns | None, call: Call) -> str:
        if user_id is not None:
            return user_id
        if isinstance(id, Key):
            return self.key_owner(user_id)
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


def seen_by(call: Call, *verbs: str) -> Patterns | None:
    return None if call.access is None else call.access.patterns(*(verbs or ("read",)))


def stamp_of(call: Call, number: int = 0, seed: IdempotencySeed | None = None) -> Stamp:
    # Users of one call may share a bucket, in which the ids of entries must differ.
    entry_id = f"{int(call.now.timestamp() * 1_000_000):014x}{(call.nonce or call.request_id)[:10]}{number:06d}"
    return Stamp(seed.at if seed is not None else call.now, call.app, call.request_id, entry_id)
