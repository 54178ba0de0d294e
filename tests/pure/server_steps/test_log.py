"""Steps over the audit log that a server keeps for providers without one, on a store in memory."""

from __future__ import annotations

from typing import Any

import pytest

from openmem._model.requests import AuditQuery
from openmem._model.scopes import parse_pattern
from openmem._sql.server import audit, schema
from openmem._sql.server.dialect import POSTGRES, SQLITE
from openmem._sql.steps import Query
from openmem.types import AuditEntry
from tests.pure.sqlite_steps.database import AT, SECOND, Database, later


def entry(seconds: float, id_: str | None = "a", scope: str | None = "s", **fields: Any) -> AuditEntry:
    given: dict[str, Any] = {"app": "desk", "action": "add", "request_id": "r0", **fields}
    return AuditEntry(timestamp=later(seconds), memory_id=id_, scope=scope, **given)


def enter(db: Database, *entries: AuditEntry, user_id: str = "ann") -> None:
    db.run(audit.enter(SQLITE, user_id, entries))


def read(db: Database, **asked: Any) -> list[AuditEntry]:
    return db.run(audit.entries(SQLITE, AuditQuery("ann", **asked)))


def names(db: Database, user_id: str = "ann") -> list[tuple[str | None, str | None]]:
    return db.rows("select memory_id, scope from journal where user_id = ? order by entry", user_id)


def forget(db: Database, scope: str | None = None) -> tuple[int, int]:
    return db.run(audit.forget(SQLITE, "ann", None if scope is None else parse_pattern(scope)))


def test_entries_are_read_as_they_were_entered_newest_first(db: Database) -> None:
    first, second = entry(1, action="get", app=None), entry(1, None, None, request_id="r1")
    enter(db, first, second, entry(0))
    enter(db, entry(9), user_id="bob")
    assert read(db) == [second, first, entry(0)]


def test_log_of_one_app_and_time_is_cut_at_the_limit(db: Database) -> None:
    enter(db, entry(0), entry(1, app="mail"), entry(2), entry(-2e9))
    assert read(db, app="mail") == [entry(1, app="mail")]
    assert read(db, since=later(1)) == [entry(2), entry(1, app="mail")]
    assert read(db, limit=1) == [entry(2)]
    assert len(read(db)) == 4
    assert read(db, app="desk", since=later(3)) == []


def test_old_entries_are_found_place_by_place(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(db, entry(0), entry(5), entry(1), entry(4))
    assert db.run(audit.old_entries(SQLITE, later(4), 0)) == ([1, 3], None)
    assert db.run(audit.old_entries(SQLITE, later(4), 1)) == ([3], None)
    monkeypatch.setattr(audit, "LOOKED_AT", 2)
    assert db.run(audit.old_entries(SQLITE, later(4), 0)) == ([1], 2)
    assert db.run(audit.old_entries(SQLITE, later(4), 2)) == ([3], 4)
    assert db.run(audit.old_entries(SQLITE, later(4), 4)) == ([], None)


def test_old_entries_are_removed_and_newer_between_them_stay(db: Database) -> None:
    enter(db, entry(0), entry(5), entry(1), entry(0))
    assert db.run(audit.remove(SQLITE, later(4), [1, 2, 3])) == 2
    assert db.column("select entry from journal order by entry") == [2, 4]
    assert db.run(audit.remove(SQLITE, later(4), [2])) == 0
    assert [*audit.remove(SQLITE, later(4), [])] == []
    assert db.run(audit.remove(SQLITE, later(4), [])) == 0


@pytest.mark.parametrize("scope", [None, "*"])
def test_all_names_of_a_user_are_forgotten(db: Database, scope: str | None) -> None:
    enter(db, entry(0), entry(1, None, "s"), entry(2, None, None), entry(3, "b", None))
    enter(db, entry(0), user_id="bob")
    assert forget(db, scope) == (3, 0)
    assert set(names(db)) == {(None, None)}
    assert names(db, "bob") == [("a", "s")]
    assert forget(db, scope) == (0, 0)


def test_names_of_memories_last_known_in_a_scope_are_forgotten(db: Database) -> None:
    enter(db, entry(0, "a", "work"), entry(1, "a", "home"), entry(0, "b", "work"), entry(0, "c", "work/desk"))
    enter(db, entry(0, "d", "workshop"), entry(1, "b", None), entry(0, None, "work"))
    enter(db, entry(0, "b", "work"), user_id="bob")
    assert forget(db, "work") == (2, 0)
    left = [("a", "work"), ("a", "home"), ("c", "work/desk"), ("d", "workshop"), (None, "work")]
    assert [pair for pair in names(db) if pair != (None, None)] == left
    assert forget(db, "work/*") == (1, 0)
    assert ("c", "work/desk") not in names(db)
    assert ("d", "workshop") in names(db)
    assert names(db, "bob") == [("b", "work")]


def test_names_that_are_left_are_counted(db: Database) -> None:
    enter(db, entry(0), entry(1, "b", "t"))
    db.connection.execute("create trigger keep before update on journal begin select raise(ignore); end")
    assert forget(db) == (0, 2)
    assert forget(db, "s") == (0, 1)


class TestSchema:
    """The tables on both databases."""

    def test_file_has_the_tables_of_all_versions(self, db: Database) -> None:
        db.run(schema.touch())
        assert set(db.column("select name from sqlite_master where sql is not null")) == {
            *("keys", "replies", "replies_at", "replies_user", "rates", "journal", "journal_user", "sqlite_sequence"),
            *("hooks", "dead_letters", "dead_letters_hook", "leases"),
        }
        enter(db, entry(0))
        assert db.rows("select entry, at from journal") == [(1, AT)]
        assert SECOND == 1_000_000

    def test_tables_on_postgres_are_in_their_schema(self) -> None:
        texts = [text for version in schema.statements(POSTGRES) for text in version]
        made = [text for text in texts if "create" in text and "table" in text]
        assert [" ".join(text.split()[:4]).partition("(")[0] for text in made] == [
            "create table openmem_server.keys",
            "create table openmem_server.replies",
            "create unlogged table openmem_server.rates",
            "create table openmem_server.journal",
            "create table openmem_server.hooks",
            "create table openmem_server.dead_letters",
            "create table openmem_server.leases",
        ]
        assert schema.migrations().subject == "the schema 'openmem_server'"
        assert schema.migrations().provider == "postgres"

    def test_version_on_postgres_is_none_without_a_schema(self) -> None:
        steps = schema.current_version()
        assert next(steps) == Query("select to_regclass($1::text) is not null", ("openmem_server.migrations",))
        with pytest.raises(StopIteration) as stopped:
            steps.send([(False,)])
        assert stopped.value.value == 0
        steps = schema.current_version()
        next(steps)
        assert steps.send([(True,)]) == Query("select coalesce(max(version), 0) from openmem_server.migrations")
        with pytest.raises(StopIteration) as stopped:
            steps.send([(3,)])
        assert stopped.value.value == 3

    def test_migrations_on_postgres_are_applied_from_the_ledger(self) -> None:
        steps = schema.apply()
        assert next(steps) == Query("select pg_advisory_xact_lock($1::bigint)", (0x6F6D6573,))
        steps.send([])
        steps.send([(True,)])
        steps.send([])
        with pytest.raises(StopIteration) as stopped:
            steps.send([(4,)])
        assert stopped.value.value is False
