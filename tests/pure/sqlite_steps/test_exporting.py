"""Steps that read everything out, page by page, and those that take records of other stores in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from openmem._model.ids import new_memory_id, routing_bucket
from openmem._rules.paging import PAGE_BYTES
from openmem._sql.sqlite import portable, write
from openmem.errors import InvalidRequestError
from openmem.types import ImportConflict, ImportReport
from tests.pure.sqlite_steps.database import AT, FIRST, MODEL, Database, Item, blob, incoming, later, stamp

LARGE = {"x-a": "z" * (PAGE_BYTES // 2)}  # with what is around it, more than half of a page


def pages(db: Database, user_id: str | None, limit: int) -> list[list[str]]:
    """Return the ids of each page of an export."""
    found: list[list[str]] = []
    cursor = None
    while not found or cursor is not None:
        records, cursor = db.run(portable.export_page(user_id, cursor, limit))
        found.append([record.id for record in records])
    return found


def take_in(
    db: Database,
    *items: Item,
    conflict: ImportConflict = "skip",
    spare: Sequence[str] | None = None,
) -> ImportReport:
    given = spare or [f"spare{number}" for number in range(len(items))]
    return db.run(portable.take_in(items, given, conflict, MODEL, stamp(30)))


def taken(id_: str, content: str = "tea", *, at: float = 0, **fields: Any) -> Item:
    return incoming(id_, content, id=id_, created_at=later(at), **fields)


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    return report.imported, report.skipped, report.duplicated, report.overwritten


class TestExport:
    """Pages of what is stored."""

    @pytest.fixture
    def two_users(self, db: Database) -> Database:
        db.add("a", seconds=3, user_id="bob")
        db.add("c", seconds=2)
        db.add("b", seconds=2)
        db.add("d", seconds=1, supersedes=("b",), valid_to=later(1))
        db.add("e", seconds=0, user_id="bob")
        return db

    def test_pages_of_a_user_are_the_oldest_first(self, two_users: Database) -> None:
        assert pages(two_users, "ann", 10) == [["d", "b", "c"]]
        assert pages(two_users, "ann", 2) == [["d", "b"], ["c"]]
        assert pages(two_users, "ann", 1) == [["d"], ["b"], ["c"]]
        assert pages(two_users, "bob", 2) == [["e", "a"]]
        assert pages(two_users, "eve", 2) == [[]]

    @pytest.mark.parametrize("limit", range(1, 7))
    def test_pages_of_all_users_come_user_by_user(self, two_users: Database, limit: int) -> None:
        found = pages(two_users, None, limit)
        assert [id_ for page in found for id_ in page] == ["d", "b", "c", "e", "a"]
        assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)

    def test_cursor_is_one_of_its_export(self, two_users: Database) -> None:
        _, cursor = two_users.run(portable.export_page("ann", None, 1))
        for user_id in ("bob", None):
            with pytest.raises(InvalidRequestError, match="malformed cursor"):
                two_users.run(portable.export_page(user_id, cursor, 1))

    def test_user_that_sorts_before_all_others_is_not_left_out(self, db: Database) -> None:
        db.add("a", user_id="\t")
        assert pages(db, None, 5) == [["a"]]

    def test_page_holds_as_many_as_are_not_too_large(self, db: Database) -> None:
        for number, id_ in enumerate("abc"):
            db.add(id_, seconds=number, extensions=LARGE)
        db.add("d", seconds=4, user_id="bob")
        assert pages(db, None, 10) == [["a"], ["b"], ["c", "d"]]
        assert pages(db, "ann", 10) == [["a"], ["b"], ["c"]]


def test_known_ids_are_those_of_their_user(db: Database) -> None:
    db.add("a")
    db.add("b", user_id="bob")
    assert db.run(portable.known({"ann": ["a", "b", "x"], "bob": ["b"], "eve": ["a"]})) == {("ann", "a"), ("bob", "b")}
    assert db.run(portable.known({})) == set()


class TestImport:
    """Records under their own ids."""

    def test_record_is_stored_as_it_was(self, db: Database) -> None:
        item = taken("a", at=-5, updated_at=later(-1), version=4, key="k", tags=("x",), vector=(1, 0))
        assert counts(take_in(db, item)) == (1, 0, 0, 0)
        record = db.run(write.find("a", "ann")).record
        assert (record.created_at, record.updated_at, record.version) == (later(-5), later(-1), 4)
        assert (record.key, record.tags, record.embedding_model) == ("k", ["x"], "small")
        assert db.column("select vector from vectors_1") == [blob(1, 0)]
        assert db.rows("select at - ?, action, memory_id from audit", AT) == [(30_000_000, "add", "a")]

    def test_records_of_several_users_are_stored_for_each(self, db: Database) -> None:
        db.add("x", user_id="bob", key="k")
        report = take_in(
            db, taken("a"), taken("b", user_id="bob", key="k"), taken("c", key="k"), taken("d", user_id="bob")
        )
        assert counts(report) == (3, 1, 0, 0)
        assert db.rows("select id, user_no from memories order by id") == [("a", 2), ("c", 2), ("d", 1), ("x", 1)]

    def test_known_ids_and_keys_conflict(self, db: Database) -> None:
        db.add("a", "old")
        db.add("b", "old", key="k")
        assert counts(take_in(db, taken("a"), taken("c", key="k"), taken("d", key="l"))) == (1, 2, 0, 0)
        assert db.rows("select id, content from memories order by id") == [("a", "old"), ("b", "old"), ("d", "tea")]

    def test_duplicate_gets_the_spare_id_and_no_key(self, db: Database) -> None:
        db.add("b", "old", key="k")
        report = take_in(db, taken("a"), taken("c", key="k", vector=(1, 0)), conflict="duplicate", spare=["s1", "s2"])
        assert counts(report) == (1, 0, 1, 0)
        assert db.rows("select id, key, model_no from memories order by id") == [
            ("a", None, None),
            ("b", "k", None),
            ("s2", None, 1),
        ]

    def test_overwritten_memory_keeps_its_id_and_its_earlier_version(self, db: Database) -> None:
        db.add("a", "old", key="k")
        report = take_in(db, taken("a", "new", vector=(0, 1)), conflict="overwrite")
        assert counts(report) == (0, 0, 0, 1)
        record = db.run(write.find("a", "ann")).record
        assert (record.content, record.key, record.version, record.embedding_model) == ("new", None, 2, "small")
        assert db.value("select count(*) from versions") == 1
        assert db.rows("select epoch, vector_epoch from users") == [(1, 1)]

    def test_overwritten_memory_of_the_same_text_gets_the_vector(self, db: Database) -> None:
        db.add("a", "tea", vector=(1, 0))
        take_in(db, taken("a", "tea", vector=(0, 1)), conflict="overwrite")
        assert db.column("select vector from vectors_1") == [blob(0, 1)]

    def test_each_record_has_a_spare_id(self, db: Database) -> None:
        with pytest.raises(ValueError, match="argument 2 is shorter"):
            take_in(db, taken("a"), taken("b"), spare=["s1"])
        assert db.rows("select * from users") == []

    def test_key_finds_what_is_overwritten(self, db: Database) -> None:
        db.add("a", "old", key="k")
        db.add("b", "other")
        assert counts(take_in(db, taken("c", "new", key="k"), conflict="overwrite")) == (0, 0, 0, 1)
        assert db.rows("select id, content from memories order by id") == [("a", "new"), ("b", "other")]

    def test_id_goes_before_the_key_and_takes_it(self, db: Database) -> None:
        db.add("b", "holder", key="k")
        db.add("a", "old")
        db.add("c", "of another", user_id="bob", key="k")
        assert counts(take_in(db, taken("a", "new", key="k"), conflict="overwrite")) == (0, 0, 0, 1)
        assert db.rows("select id, content, key from memories order by id") == [
            ("a", "new", "k"),
            ("b", "holder", None),
            ("c", "of another", "k"),
        ]

    def test_record_is_new_where_its_key_was_given_up_meanwhile(self, db: Database) -> None:
        db.add("a", "old", key="k")
        report = take_in(db, taken("a", "new"), taken("b", "other", key="k"), conflict="overwrite")
        assert counts(report) == (1, 0, 0, 1)
        assert db.rows("select id, content, key from memories order by id") == [("a", "new", None), ("b", "other", "k")]

    def test_id_of_another_user_of_the_bucket_is_replaced_the_same_each_time(self, db: Database) -> None:
        bucket = routing_bucket("ann")
        twin = next(name for number in range(100_000) if routing_bucket(name := f"u{number}") == bucket)
        id_ = new_memory_id("ann", millis=1, entropy=bytes(9))
        take_in(db, taken(id_), taken("z"))
        assert counts(take_in(db, taken(id_, user_id=twin), taken("y", user_id=twin))) == (2, 0, 0, 0)
        assert counts(take_in(db, taken(id_, user_id=twin))) == (0, 1, 0, 0)
        mine, other = db.column("select id from memories where id not in ('y', 'z') order by user_no")
        assert mine == id_
        assert other != id_

    def test_id_of_a_user_of_another_bucket_is_kept(self, db: Database) -> None:
        assert routing_bucket("ann") != routing_bucket("bob")
        take_in(db, taken("a"))
        assert counts(take_in(db, taken("a", user_id="bob"))) == (1, 0, 0, 0)
        assert db.column("select id from memories") == ["a", "a"]

    def test_conflict_within_one_import_is_one(self, db: Database) -> None:
        assert counts(take_in(db, taken("a", "one"), taken("a", "two"))) == (1, 1, 0, 0)
        assert counts(take_in(db, taken("b", key="k"), taken("c", key="k"))) == (1, 1, 0, 0)

    def test_places_go_on_behind_those_that_are_there(self, db: Database) -> None:
        db.add("x")
        take_in(db, taken("a", scope="s"), taken("b", scope="s"))
        assert db.rows("select id, rid - ?, scope_no from memories order by rid", FIRST) == [
            ("x", 1, None),
            ("a", 2, 1),
            ("b", 3, 1),
        ]
