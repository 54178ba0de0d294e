"""The Postgres provider: memories in a database of the user's own, with vectors kept by the extension pgvector.

The verbs are short: the statements stand in `openmem._sql.postgres`, and most verbs are one of them, one round trip,
their audit entry included.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from openmem._async.embedders import AsyncEmbedder
from openmem._async.postgres.reads import AsyncPostgresReads
from openmem._async.postgres.writes import EMBED_AT_ONCE, AsyncPostgresWrites
from openmem._async.retention.postgres import count, remove
from openmem._config.registry import built_in_options
from openmem._config.settings import Settings
from openmem._io.concurrency.background import AsyncBackground, AsyncRest, async_no_rest
from openmem._io.concurrency.batching import AsyncBatcher
from openmem._io.concurrency.call import Call, Deadline
from openmem._io.postgres.database import AsyncPg
from openmem._model.checks import check_flag
from openmem._model.retention import OPTIONS, MaintenanceReport, Retention
from openmem._rules.capabilities import native_capabilities
from openmem._rules.understanding import KEYS, METADATA, ORDERS, PAGES, READY_VECTORS, SEARCHABLE, WHERE
from openmem._sql.postgres import health, hnsw, models, reembed
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.options import DEFAULT_CONFIG, DEFAULT_SCHEMA, check
from openmem._sql.writing import Model
from openmem.types import (
    Capabilities,
    Health,
    ReembedReport,
)


class AsyncPostgresProvider(AsyncPostgresReads, AsyncPostgresWrites):
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
    understands: ClassVar[frozenset[str]] = METADATA | KEYS | SEARCHABLE | READY_VECTORS | ORDERS | PAGES | WHERE

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
        lacks = ("changes",) if self._names.distributed else ()
        return native_capabilities(self.name, self.embedder.model if self.embedder else None, lacks)

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
        ask = partial(reembed.pending, self._names, user_id, model, EMBED_AT_ONCE)
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
