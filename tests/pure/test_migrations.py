"""Migrations: which are due, in which order, and what is said of a schema that is newer."""

from __future__ import annotations

import pytest

from openmem._sql.migrations import Ledger, Migrations
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.schema import migrations
from openmem._sql.server import schema as server_schema
from openmem._sql.sqlite.schema import MEMORIES
from openmem._sql.steps import Row
from openmem.errors import ProviderError

THREE = Migrations((("one", "two"), ("three",), ("four",)), "the database", "sqlite")
NOTED = Ledger("s", "s.noted", "make schema", "make table", lock_key=7)
STORES = [MEMORIES.migrations, server_schema.FILE.migrations, server_schema.migrations(), migrations(Names())]


def run(version: int, *, has_schema: bool = True) -> tuple[list[str], bool]:
    """Apply `THREE` to a schema of a version; return the statements, in order, and whether any was due."""
    steps, rows = NOTED.apply(THREE), list[Row]()
    sent: list[str] = []
    try:
        while True:
            statement = steps.send(rows) if sent else next(steps)
            sent.append(f"{statement.sql} {statement.params}" if statement.params else statement.sql)  # type: ignore[union-attr]
            rows = [(has_schema,)] if "regnamespace" in sent[-1] else [(version,)]
    except StopIteration as end:
        return sent, end.value


def test_all_are_due_in_a_new_store_and_none_in_a_store_that_is_up_to_date() -> None:
    assert list(THREE.due(0)) == [(1, ("one", "two")), (2, ("three",)), (3, ("four",))]
    assert list(THREE.due(2)) == [(3, ("four",))]
    assert list(THREE.due(3)) == []


def test_newer_store_is_refused_before_any_statement() -> None:
    with pytest.raises(ProviderError) as caught:
        next(THREE.due(4))
    assert (caught.value.provider, caught.value.message) == (
        "sqlite",
        "the database was made by a newer version of openmem (schema 4, this one knows 3): upgrade openmem",
    )
    with pytest.raises(ProviderError, match="schema 4"):
        run(4)


def test_ledger_notes_each_migration_behind_its_statements() -> None:
    sent, changed = run(1)
    assert changed
    note = "insert into s.noted(version) values($1)"
    assert sent[-4:] == ["three", f"{note} (2,)", "four", f"{note} (3,)"]


def test_ledger_looks_at_the_version_under_the_lock() -> None:
    sent, changed = run(3)
    assert not changed
    assert sent[0] == "select pg_advisory_xact_lock($1::bigint) (7,)"
    assert sent[1] == "select to_regnamespace($1::text) is not null ('s',)"
    assert sent[-1].startswith("select coalesce(max(version), 0)")


def test_schema_is_made_only_where_it_is_missing() -> None:
    assert "make schema" in run(0, has_schema=False)[0]
    assert "make schema" not in run(0)[0]
    assert "make table" in run(0)[0]


@pytest.mark.parametrize("known", STORES)
def test_every_store_refuses_what_is_newer(known: Migrations) -> None:
    known.refuse_newer(known.newest)
    with pytest.raises(ProviderError, match="upgrade openmem"):
        known.refuse_newer(known.newest + 1)
