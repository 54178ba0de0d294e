"""The databases of a server's own store: a file, or tables in Postgres. Both run the same steps."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, Final, Protocol, TypeAlias, TypeVar

from openmem._config.settings import provider_of_url, sqlite_path
from openmem._io.concurrency.call import Deadline
from openmem._io.paths import user_data_dir
from openmem._io.server_store_url import check_store_url
from openmem._io.sqlite.database import AsyncSqlite
from openmem._io.sqlite.errors import DiskFullError
from openmem._sql.postgres.cluster import has_citus
from openmem._sql.server import schema
from openmem._sql.server.dialect import POSTGRES, SCHEMA, SQLITE, Dialect
from openmem._sql.steps import Steps
from openmem.errors import ProviderError, ProviderUnavailableError

T = TypeVar("T")
Make: TypeAlias = Callable[..., Steps[T]]

_NO_RIGHTS: Final = "42501"


class AsyncPlace(Protocol):
    """A database that runs steps."""

    name: ClassVar[str]

    async def open(self, deadline: Deadline) -> None:
        """Bring the tables up to date."""

    async def read(self, make: Make[T], *args: Any, deadline: Deadline) -> T:
        """Run steps that change nothing; `make` is called with the dialect and the arguments."""

    async def erase(self, make: Make[T], *args: Any, deadline: Deadline) -> T:
        """Run such steps that take something away: in a file, also on a full disk."""

    async def write(self, make: Make[T], *args: Any, deadline: Deadline, once: bool = False) -> T:
        """Run steps of which each statement is complete by itself.

        Args:
            make: Makes the steps from the dialect and the arguments.
            *args: The arguments.
            deadline: When to give up.
            once: Running the steps twice would do harm, even if the first reply was lost.
        """

    async def settle(self, deadline: Deadline) -> None:
        """Make the last change safe from a power cut, and what it deleted unreadable."""

    async def aclose(self) -> None:
        """Close what is open."""


class AsyncFile:
    """A SQLite file, for one machine; several processes may share it."""

    name: ClassVar[str] = "sqlite"
    dialect: ClassVar[Dialect] = SQLITE

    def __init__(self, path: str, *, create: bool) -> None:
        self._db = AsyncSqlite(path, make_folder=_is_default_folder(path), kind=schema.FILE, create=create)

    async def open(self, deadline: Deadline) -> None:
        """Bring the tables up to date."""
        await self._db.read(schema.touch(), deadline)

    async def read(self, make: Make[T], *args: Any, deadline: Deadline) -> T:
        """Run steps that change nothing."""
        return await self._db.read(make(self.dialect, *args), deadline)

    async def write(self, make: Make[T], *args: Any, deadline: Deadline, once: bool = False) -> T:
        """Run the steps in one transaction."""
        return await self._db.write(make(self.dialect, *args), deadline)

    async def erase(self, make: Make[T], *args: Any, deadline: Deadline) -> T:
        """Run the steps in one transaction, in the room that is kept for that if the disk is full."""
        result, _ = await self._db.erase(partial(make, self.dialect, *args), deadline)
        return result

    async def settle(self, deadline: Deadline) -> None:
        """Empty the write-ahead log into the file, if the disk has the room; what was committed is in one of both."""
        with suppress(DiskFullError):
            await self._db.settle(deadline)

    async def aclose(self) -> None:
        """Close the file."""
        await self._db.aclose()


class AsyncDatabase:
    """A schema of its own in a Postgres database, shared by all servers that use it."""

    name: ClassVar[str] = "postgres"
    dialect: ClassVar[Dialect] = POSTGRES

    def __init__(self, url: str, *, statement_cache: bool, create: bool) -> None:
        from openmem._io.postgres.database import AsyncPg  # here: a store in a file needs no pool

        self._create = create
        self._db = AsyncPg(
            url, statement_cache=statement_cache, application_name="openmem-server-store", extension=False
        )

    async def open(self, deadline: Deadline) -> None:
        """Bring the tables up to date, under a lock."""
        await self._db.run(has_citus, deadline, retry=True)  # refuses a server on which its tables must not stand
        version = await self._db.run(schema.current_version, deadline, retry=True)
        known = schema.migrations()
        known.refuse_newer(version)
        if version == known.newest:
            return
        if not version and not self._create:
            message = f"there is no store in the schema {SCHEMA} of the database"
            raise ProviderUnavailableError(message, provider=self.name, details={"missing": "store"})
        try:
            await self._db.plain(schema.apply, deadline, transaction=True)
        except ProviderError as error:
            if (error.details or {}).get("sqlstate") != _NO_RIGHTS:
                raise
            raise ProviderError(
                f"this role may not make the schema {SCHEMA}: give it the right (GRANT CREATE ON DATABASE … TO …;), "
                f"or have an administrator make it (CREATE SCHEMA {SCHEMA} AUTHORIZATION …;)",
                provider=self.name,
            ) from error

    async def read(self, make: Make[T], *args: Any, deadline: Deadline) -> T:
        """Run steps that change nothing."""
        return await self._db.run(partial(make, self.dialect, *args), deadline, retry=True)

    async def write(self, make: Make[T], *args: Any, deadline: Deadline, once: bool = False) -> T:
        """Run the steps; each statement commits by itself."""
        return await self._db.run(partial(make, self.dialect, *args), deadline, retry=not once)

    async def erase(self, make: Make[T], *args: Any, deadline: Deadline) -> T:
        """Run the steps as any others."""
        return await self.write(make, *args, deadline=deadline)

    async def settle(self, deadline: Deadline) -> None:
        """Do nothing: a commit is as safe as the server makes it."""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._db.aclose()


def place_of(url: str, *, statement_cache: bool, create: bool = True) -> AsyncPlace:
    """Return the database that an address names; nothing is opened.

    Raises:
        InvalidRequestError: It names neither a Postgres database nor a file.
    """
    url = check_store_url(url)
    if provider_of_url(url) == "postgres":
        return AsyncDatabase(url, statement_cache=statement_cache, create=create)
    return AsyncFile(sqlite_path(url), create=create)


def _is_default_folder(path: str) -> bool:
    return os.path.dirname(path) == user_data_dir()
