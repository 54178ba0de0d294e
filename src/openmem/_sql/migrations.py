"""Numbered migrations: which of them are due, and the refusal of a schema that is newer than this code.

Every store with tables takes this way: the embedded file, the file of a server, and the schemas on Postgres. What each
keeps to itself is where the number of its schema stands (`pragma user_version` of a file, a ledger table on Postgres),
the lock that lets one process at a time migrate, and how a statement is run.

Migrations are only ever appended. A store of any released version is brought up to date by the same statements, in the
same order, as a new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from openmem._sql.steps import Query, Steps
from openmem.errors import ProviderError


@dataclass(frozen=True, slots=True)
class Migrations:
    """The migrations of one store.

    Args:
        statements: The statements of each version, from 1 on.
        subject: What is migrated, as messages call it.
        provider: Which provider messages name.
    """

    statements: tuple[tuple[str, ...], ...]
    subject: str
    provider: str

    @property
    def newest(self) -> int:
        """The version that this code brings the store to."""
        return len(self.statements)

    def due(self, version: int) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield the number and the statements of each migration that a store of this version lacks, in order.

        Raises:
            ProviderError: A newer version of openmem made the store.
        """
        self.refuse_newer(version)
        yield from enumerate(self.statements[version:], version + 1)

    def refuse_newer(self, version: int) -> None:
        """Raise `ProviderError` if the store is newer than this code, which would misread it."""
        if version > self.newest:
            raise ProviderError(
                f"{self.subject} was made by a newer version of openmem (schema {version}, this one knows "
                f"{self.newest}): upgrade openmem",
                provider=self.provider,
            )


@dataclass(frozen=True, slots=True)
class Ledger:
    """The table in which a schema on Postgres notes the migrations that were applied to it.

    Args:
        schema: The name of the schema.
        table: The full name of the table, a row for each migration.
        make_schema: The statement that makes the schema.
        make_table: The statement that makes the table where it is missing.
        lock_key: The advisory lock that one process at a time migrates under.
    """

    schema: str
    table: str
    make_schema: str
    make_table: str
    lock_key: int

    def version(self) -> Steps[int]:
        """Return the version of the schema. The table must be there."""
        rows = yield Query(f"select coalesce(max(version), 0) from {self.table}")
        return int(rows[0][0])

    def apply(self, migrations: Migrations) -> Steps[bool]:
        """Apply the migrations that are due; return whether any was. To be run in one transaction.

        Raises:
            ProviderError: A newer version of openmem made the schema.
        """
        yield Query("select pg_advisory_xact_lock($1::bigint)", (self.lock_key,))
        there = yield Query("select to_regnamespace($1::text) is not null", (self.schema,))
        # `if not exists` takes a right on the database, too: a role that was given a schema needs none.
        if not there[0][0]:
            yield Query(self.make_schema)
        yield Query(self.make_table)
        version = yield from self.version()
        for number, statements in migrations.due(version):
            for statement in statements:
                yield Query(statement)
            yield Query(f"insert into {self.table}(version) values($1)", (number,))
        return version < migrations.newest
