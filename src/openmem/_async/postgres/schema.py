"""Makes the tables of the Postgres provider and brings them up to date."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from openmem._async.provider import AsyncProvider
from openmem._io.concurrency.call import Call
from openmem._io.postgres.database import AsyncPg
from openmem._sql.postgres import cluster, migrate
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.schema import migrations
from openmem.errors import ProviderError, no_store

_NO_RIGHTS: Final = "42501"
_NO_EXTENSION: Final = {
    _NO_RIGHTS: "the extension pgvector is missing and this role may not create it: ask a superuser to run "
    "CREATE EXTENSION vector;",
    "0A000": "the extension pgvector is not installed on the database server",
}


class AsyncPostgresSchema(AsyncProvider):
    """The part of the provider that knows whether the tables are there, and makes them if it may."""

    _db: AsyncPg
    _names: Names
    _migrates: bool
    _distribute: bool

    async def open_schema(self, call: Call) -> None:
        """Bring the schema up to date, if that is needed and allowed."""
        await self._db.prepare()
        asked = replace(self._names, distributed=False, extension=None)
        if asked not in self._db.server.schemas or self._distribute:
            self._db.server.schemas[asked] = await self._prepare(call)
        self._names = self._db.server.schemas[asked]

    async def _prepare(self, call: Call) -> Names:
        citus = await self._db.run(cluster.has_citus, call.deadline, retry=True)
        version = await self._db.run(partial(migrate.current_version, self._names), call.deadline, retry=True)
        known = migrations(self._names)
        known.refuse_newer(version or 0)
        if version != known.newest:
            await self._migrate(version is None, call)
        if self._distribute:
            await self._db.plain(partial(cluster.distribute, self._names), call.deadline, transaction=True)
            await self._db.plain(partial(cluster.drop_copies, self._names), call.deadline)
            self._distribute = False
        where = await self._db.run(migrate.extension_schema, call.deadline, retry=True)
        spread = citus and await self._db.run(partial(cluster.is_distributed, self._names), call.deadline, retry=True)
        return replace(self._names, distributed=spread, extension=where)

    async def _migrate(self, new: bool, call: Call) -> None:
        self.made = new
        if new and not self.settings.create:
            raise no_store(self.name, f"in the schema {self._names.schema} of the database")
        if not self._migrates:
            raise ProviderError("the schema is not up to date: run omp migrate", provider=self.name)
        try:
            await self._make_schema(call)
        except ProviderError as error:
            if (error.details or {}).get("sqlstate") != _NO_RIGHTS:
                raise
            raise ProviderError(
                "this role may not make the schema: give it the right (GRANT CREATE ON DATABASE … TO …;), or have "
                "an administrator run what `omp migrate --sql` prints",
                provider=self.name,
            ) from error

    async def _make_schema(self, call: Call) -> None:
        await self._make_extension(call)
        names = replace(self._names, extension=await self._db.plain(migrate.extension_schema, call.deadline))
        await self._db.plain(partial(migrate.apply, names), call.deadline, transaction=True)

    async def _make_extension(self, call: Call) -> None:
        if await self._db.plain(migrate.has_extension, call.deadline):
            return
        try:
            await self._db.plain(migrate.create_extension, call.deadline, transaction=True)
        except ProviderError as error:
            advice = _NO_EXTENSION.get((error.details or {}).get("sqlstate", ""))
            if advice is None:
                raise
            raise ProviderError(advice, provider=self.name) from error
