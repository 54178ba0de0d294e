"""Steps that erase the memories of a user or a scope, and the audit log: its entries, and the names that it forgets."""

from __future__ import annotations

import pytest

from openmem._model.requests import AuditQuery, Change
from openmem._model.scopes import parse_pattern
from openmem._sql.sqlite import audit, erase, write
from openmem._sql.sqlite.indexing import LONG
from openmem._sql.writing import Model
from openmem.types import AuditEntry, ErasureReceipt
from tests.pure.sqlite_steps.database import AT, FIRST, NOW, SECOND, Database, incoming, later, stamp

NOTHING = {"memories": 0, "index": 0, "history": 0, "audit": 0, "vectors": 0}


def run(db: Database, scope: str | None = None, *, user_id: str = "ann", seconds: float = 9) -> ErasureReceipt:
    pattern = None if scope is None else parse_pattern(scope)
    return db.run(erase.erase(user_id, pattern, stamp(seconds, request_id="r9")))


def entries(db: Database, **asked: object) -> list[AuditEntry]:
    return db.run(audit.entries(AuditQuery("ann", **asked)))  # type: ignore[arg-type]


def read(
    db: Database, action: str, id_: str | None, scope: str | None = None, *, seconds: float = 5, user_id: str = "ann"
) -> None:
    for query in audit.read_entry(user_id, action, id_, scope, stamp(seconds, request_id="r5")):  # type: ignore[arg-type]
        db.connection.execute(query.sql, query.params)


class TestWholeUser:
    """Everything of a user goes."""

    @pytest.fixture
    def full(self, db: Database) -> Database:
        db.add("a", "tea " + "x" * LONG, scope="s", vector=(1, 0))
        db.add("b", "milk", tags=("t",), supersedes=("a",))
        db.add("c", "?", vector=(1, 0, 0), model=Model("large", 3))
        db.update("a", content="green tea", vector=(0, 1))
        db.update("b", content="warm milk")
        db.add("d", "coffee", user_id="bob", scope="s", tags=("t",), vector=(1, 0))
        db.update("d", user_id="bob", content="black coffee", vector=(0, 1))
        read(db, "get", "d", "s", user_id="bob")
        return db

    def test_receipt_counts_each_store_before_and_after(self, full: Database) -> None:
        receipt = run(full)
        assert receipt.erased == {"memories": 3, "index": 2, "history": 2, "audit": 5, "vectors": 2}
        assert receipt.remaining == NOTHING
        assert (receipt.user_id, receipt.scope, receipt.request_id) == ("ann", None, "r9")
        assert receipt.erased_at == later(9)

    def test_only_rows_of_others_are_left(self, full: Database) -> None:
        run(full)
        bob = 2 * FIRST + 1
        assert full.column("select id from memories") == ["d"]
        for table in ("versions", "tags", "vectors_1"):
            assert full.column(f"select rid from {table}") == [bob]
        assert full.rows("select * from vectors_2") == full.rows("select * from supersessions") == []
        assert full.rows("select user_no, path from scopes") == [(2, "s")]
        assert full.indexed_words() == {}
        assert full.rows("select epoch, vector_epoch, clock from users") == [
            (4, 3, AT + 9 * SECOND),
            (1, 1, AT + SECOND),
        ]

    def test_log_keeps_the_acts_and_forgets_the_names(self, full: Database) -> None:
        run(full)
        found = entries(full)
        assert [entry.action for entry in found] == ["delete", "update", "update", "add", "add", "add"]
        assert {(entry.memory_id, entry.scope) for entry in found} == {(None, None)}
        assert (found[0].timestamp, found[0].app, found[0].request_id) == (later(9), "desk", "r9")
        bob = full.rows("select action, memory_id, scope from audit where entry > ? order by entry", 2 * FIRST)
        assert bob == [("add", "d", "s"), ("update", "d", "s"), ("get", "d", "s")]
        assert full.column("select unnamed - ? from users", FIRST) == [5, -FIRST]

    def test_later_erasure_looks_only_behind_the_one_before(self, full: Database) -> None:
        run(full)
        full.add("e", scope="t")
        receipt = run(full)
        assert receipt.erased == {"memories": 1, "index": 1, "history": 0, "audit": 1, "vectors": 0}
        assert receipt.remaining == NOTHING
        full.connection.execute("update journal set memory_id = 'kept' where entry = ?", (FIRST + 1,))
        run(full)
        assert full.value("select memory_id from journal where entry = ?", FIRST + 1) == "kept"

    def test_scope_without_a_memory_counts_as_a_name(self, db: Database) -> None:
        db.add("a")
        read(db, "list", None, "s")
        receipt = run(db)
        assert (receipt.erased["audit"], receipt.remaining["audit"]) == (2, 0)

    def test_numbers_of_entries_go_on(self, full: Database) -> None:
        run(full)
        full.add("e")
        assert full.value("select entry - ? from memories where id = 'e'", FIRST) == 7
        assert full.value("select rid - ? from memories where id = 'e'", FIRST) == 2

    def test_unknown_user_has_nothing_to_erase(self, db: Database) -> None:
        receipt = run(db)
        assert receipt.erased == receipt.remaining == NOTHING
        assert [entry.action for entry in entries(db)] == ["delete"]


class TestScope:
    """A part of the scopes goes."""

    @pytest.fixture
    def full(self, db: Database) -> Database:
        db.add("a", "tea", scope="work", vector=(1, 0))
        db.add("b", "milk", scope="work/desk", supersedes=("c",))
        db.add("c", "juice", scope="home", vector=(1, 0))
        db.add("d", "water")
        db.add("e", "coffee", scope="work", user_id="bob")
        read(db, "get", "a", "work")
        read(db, "get", "c", "home")
        return db

    def test_memories_of_the_scope_and_below_go(self, full: Database) -> None:
        receipt = run(full, "work/*")
        assert receipt.scope == "work/*"
        assert receipt.erased == {"memories": 2, "index": 2, "history": 0, "audit": 3, "vectors": 1}
        assert receipt.remaining == NOTHING
        assert full.column("select id from memories order by rid") == ["c", "d", "e"]
        assert full.column("select superseded_at from memories where id = 'c'") == [None]

    def test_exact_scope_spares_those_below(self, full: Database) -> None:
        assert run(full, "work").erased["memories"] == 1
        assert full.column("select id from memories order by rid") == ["b", "c", "d", "e"]

    def test_log_forgets_the_names_of_what_went_and_keeps_the_others(self, full: Database) -> None:
        run(full, "work/*")
        found = [(entry.action, entry.memory_id, entry.scope) for entry in entries(full)]
        assert found == [
            ("delete", None, "work/*"),
            ("get", "c", "home"),
            ("get", None, None),
            ("add", "d", None),
            ("add", "c", "home"),
            ("add", None, None),
            ("add", None, None),
        ]
        assert full.column("select unnamed from users") == [0, 0]
        assert full.column("select path from scopes where user_no = 1 order by path") == ["home", "work", "work/desk"]

    def test_entries_of_another_user_keep_an_equal_id(self, full: Database) -> None:
        full.add("a", "tea", scope="work", user_id="bob")
        full.update("a", user_id="bob", confidence=0.5)
        receipt = run(full, "work/*")
        assert receipt.erased["audit"] == 3
        assert full.value("select count(*) from journal where memory_id = 'a'") == 2


class TestCounting:
    """The receipt says what was looked for: leftovers are told."""

    def test_leftovers_are_counted(self, db: Database) -> None:
        db.add("a", "tea " + "x" * LONG, vector=(1, 0))
        db.update("a", confidence=0.5)
        for table in ("memories", "versions", "vectors_1", "journal"):
            db.connection.execute(
                f"create trigger keep_{table} before {'update' if table == 'journal' else 'delete'} on {table} "
                "begin select raise(ignore); end"
            )
        db.connection.execute("update users set indexed = 0")
        receipt = run(db)
        assert receipt.remaining == {"memories": 1, "index": 2, "history": 1, "audit": 2, "vectors": 1}


class TestReading:
    """Entries of reads, and the log as it is read."""

    def test_entries_come_newest_first_with_all_they_say(self, db: Database) -> None:
        db.add("a", scope="s")
        read(db, "get", "a", "s")
        db.update("a", seconds=7, confidence=0.5)
        assert entries(db) == [
            AuditEntry(timestamp=at, app="desk", action=action, memory_id="a", scope="s", request_id=request)  # type: ignore[arg-type]
            for at, action, request in ((later(7), "update", "r0"), (later(5), "get", "r5"), (NOW, "add", "r0"))
        ]

    def test_log_of_one_user_app_and_time(self, db: Database) -> None:
        db.add("a")
        db.add("b", user_id="bob")
        db.run(write.add([incoming("c")], None, stamp(3, app="mail")))
        db.run(write.update("a", "ann", Change({"confidence": 1.0}), None, None, stamp(4, app="mail")))
        db.add("d", seconds=5)

        def ids(**asked: object) -> list[str | None]:
            return [entry.memory_id for entry in entries(db, **asked)]

        assert ids() == ["d", "a", "c", "a"]
        assert ids(app="mail") == ["a", "c"]
        assert ids(since=later(3)) == ["d", "a", "c"]
        assert ids(since=later(3.5)) == ["d", "a"]
        assert ids(app="desk", since=later(1)) == ["d"]
        assert ids(limit=3) == ["d", "a", "c"]
        assert ids(limit=1, app="mail") == ["a"]
        assert db.run(audit.entries(AuditQuery("eve"))) == []

    def test_read_of_a_user_without_memories_is_entered(self, db: Database) -> None:
        read(db, "list", None, "s")
        [entry] = entries(db)
        assert (entry.action, entry.memory_id, entry.scope, entry.app) == ("list", None, "s", "desk")
        assert db.rows("select entry, user_id from journal, users") == [(FIRST + 1, "ann")]

    def test_read_of_what_was_erased_names_nothing(self, db: Database) -> None:
        db.add("a", scope="s")
        run(db)
        read(db, "get", "a", "s")
        newest = entries(db)[0]
        assert (newest.action, newest.memory_id, newest.scope) == ("get", None, None)

    def test_read_of_what_was_deleted_goes_on_naming_it(self, db: Database) -> None:
        db.add("a", scope="s")
        db.run(write.delete("a", "ann", stamp(1)))
        read(db, "get", "a", "s")
        read(db, "get", "a", "s", user_id="bob")
        newest = entries(db)[0]
        assert (newest.action, newest.memory_id, newest.scope) == ("get", "a", "s")
        assert db.rows("select memory_id, scope from journal where entry > ?", 2 * FIRST) == [(None, None)]

    def test_rows_without_an_entry_of_their_own_are_entered_by_an_import(self, db: Database) -> None:
        items = [
            incoming("a", created_at=later(-100), scope="s", source={"app": "mail"}),
            incoming("b"),
            incoming("c", created_at=later(-50)),
        ]
        db.run(write.add(items, None, stamp(app=None)))
        assert db.rows("select id, entry - ?, app, created_at - ? from memories order by rid", FIRST, AT) == [
            ("a", None, None, -100 * SECOND),
            ("b", 1, None, 0),
            ("c", None, None, -50 * SECOND),
        ]
        assert db.rows(
            "select entry - ?, at - ?, app, action, memory_id, scope, request_id from journal", FIRST, AT
        ) == [
            (2, 0, "mail", "add", "a", "s", "r0"),
            (3, 0, None, "add", "c", None, "r0"),
        ]
