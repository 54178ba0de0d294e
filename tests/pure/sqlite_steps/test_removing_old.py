"""Steps of retention: what is too old is found, removed some at a time, and never more than that."""

from __future__ import annotations

import pytest

from openmem._sql.sqlite import retention, versions, write
from tests.pure.sqlite_steps.database import AT, FIRST, SECOND, Database, stamp

BOB = 2 * FIRST


def at(seconds: float) -> int:
    return AT + int(seconds * SECOND)


@pytest.fixture
def log(db: Database) -> Database:
    """A store with entries of every second from 0 to 5: those of 2 and 3 stand in the rows of their memories."""
    db.add("a", seconds=0)
    db.update("a", seconds=1, confidence=0.5)
    db.add("b", seconds=2)
    db.add("c", seconds=3, user_id="bob")
    db.update("a", seconds=4, confidence=1.0)
    db.add("d", seconds=5)
    db.run(write.delete("d", "ann", stamp(5)))
    return db


def changed(db: Database, id_: str, times: int) -> None:
    db.add(id_, "version 1")
    for number in range(2, times + 2):
        db.update(id_, seconds=number, content=f"version {number}")


def kept(db: Database) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for rid, version in db.rows("select rid, version from versions order by rid, version"):
        found.setdefault(rid - FIRST, []).append(version)
    return found


class TestEntries:
    """Entries that are older than a time."""

    def test_old_ones_of_the_journal_are_found(self, log: Database) -> None:
        assert log.run(retention.old_entries(0, at(4))) == ([FIRST + 1, FIRST + 2], None)
        assert log.run(retention.old_entries(FIRST + 1, at(4))) == ([FIRST + 2], None)
        assert log.run(retention.old_entries(0, at(0))) == ([], None)

    def test_old_ones_in_rows_are_found(self, log: Database) -> None:
        assert log.run(retention.old_adds(0, at(3))) == ([FIRST + 2], None)
        assert log.run(retention.old_adds(0, at(4))) == ([FIRST + 2, BOB + 1], None)
        assert log.run(retention.old_adds(FIRST + 2, at(4))) == ([BOB + 1], None)

    def test_place_to_go_on_from_is_told_where_more_may_be(
        self, log: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "LOOKED_AT", 2)
        assert log.run(retention.old_entries(0, at(1))) == ([FIRST + 1], FIRST + 2)
        assert log.run(retention.old_adds(0, at(9))) == ([FIRST + 2], FIRST + 2)
        assert log.run(retention.old_adds(FIRST + 2, at(9))) == ([BOB + 1], None)
        monkeypatch.setattr(retention, "LOOKED_AT", 3)
        assert log.run(retention.old_entries(0, at(2))) == ([FIRST + 1, FIRST + 2], FIRST + 4)

    def test_removed_ones_are_counted_and_their_numbers_not_given_again(self, log: Database) -> None:
        places = [FIRST + 1, FIRST + 2, FIRST + 4]
        assert log.run(retention.drop_entries(places, at(4))) == 2
        assert log.column("select at - ? from journal order by entry", AT) == [4 * SECOND, 5 * SECOND, 5 * SECOND]
        assert log.column("select expired from users order by user_no") == [FIRST + 2, 0]

    def test_newest_number_of_all_is_not_given_again(self, db: Database) -> None:
        db.add("a")
        db.run(write.delete("a", "ann", stamp(1)))
        db.run(retention.drop_entries([FIRST + 1, FIRST + 2], at(9)))
        assert db.rows("select * from journal") == []
        db.add("b")
        assert db.value("select entry from memories") == FIRST + 3

    def test_older_numbers_do_not_take_back_what_expired(self, log: Database) -> None:
        log.run(retention.drop_entries([FIRST + 2], at(9)))
        log.run(retention.drop_entries([FIRST + 1], at(9)))
        assert log.column("select expired from users order by user_no") == [FIRST + 2, 0]

    def test_entries_in_rows_are_cleared(self, log: Database) -> None:
        assert log.run(retention.clear_adds([FIRST + 1, FIRST + 2, BOB + 1], at(3))) == 1
        assert log.rows("select id, entry, app, request_id from memories where rid > ? order by rid", FIRST + 1) == [
            ("b", None, None, None),
            ("c", BOB + 1, "desk", "r0"),
        ]
        assert log.column("select expired from users order by user_no") == [FIRST + 3, 0]
        assert log.run(retention.clear_adds([FIRST + 1, FIRST + 2, BOB + 1], at(9))) == 1
        assert log.column("select expired from users order by user_no") == [FIRST + 3, BOB + 1]

    def test_nothing_old_changes_nothing(self, log: Database) -> None:
        before = log.rows("select * from users")
        assert log.run(retention.drop_entries([FIRST + 1], at(0))) == 0
        assert log.run(retention.clear_adds([FIRST + 2], at(2))) == 0
        assert log.rows("select * from users") == before

    def test_old_ones_of_both_are_counted(self, log: Database) -> None:
        assert [log.run(retention.count_entries(at(seconds))) for seconds in range(7)] == [0, 1, 2, 3, 4, 5, 7]


class TestVersions:
    """Versions of a memory beyond a number."""

    def test_memories_with_more_are_found(self, db: Database) -> None:
        changed(db, "a", 3)
        changed(db, "b", 1)
        changed(db, "c", 2)
        assert db.run(retention.with_versions(0, 1)) == ([FIRST + 1, FIRST + 3], None)
        assert db.run(retention.with_versions(FIRST + 1, 1)) == ([FIRST + 3], None)
        assert db.run(retention.with_versions(0, 3)) == ([], None)
        assert [db.run(retention.count_versions(number)) for number in range(4)] == [6, 3, 1, 0]

    def test_memory_that_was_not_counted_to_its_end_is_looked_at_again(
        self, db: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        changed(db, "a", 2)
        changed(db, "b", 3)
        monkeypatch.setattr(retention, "LOOKED_AT", 4)
        assert db.run(retention.with_versions(0, 1)) == ([FIRST + 1], FIRST + 1)
        assert db.run(retention.with_versions(FIRST + 1, 1)) == ([FIRST + 2], None)
        monkeypatch.setattr(retention, "LOOKED_AT", 2)
        assert db.run(retention.with_versions(FIRST + 1, 5)) == ([FIRST + 2], FIRST + 2)
        assert db.run(retention.with_versions(FIRST + 2, 1)) == ([], None)

    def test_oldest_go_and_the_rest_can_be_read(self, db: Database) -> None:
        changed(db, "a", 4)
        changed(db, "b", 3)
        assert db.run(retention.trim([FIRST + 1, FIRST + 2], 2)) == (3, 2)
        assert kept(db) == {1: [3, 4], 2: [2, 3]}
        stored = db.run(write.find("a", None))
        assert [db.run(versions.at_version(stored, number))[0].content for number in (3, 4, 5)] == [
            "version 3",
            "version 4",
            "version 5",
        ]
        assert db.run(versions.at_version(stored, 2)) == []

    def test_oldest_that_is_left_says_when_it_began(self, db: Database) -> None:
        changed(db, "a", 4)
        db.run(retention.trim([FIRST + 1], 2))
        assert db.rows("select version, began from versions order by version") == [(3, at(3)), (4, None)]
        db.run(retention.trim([FIRST + 1], 1))
        assert db.rows("select version, began from versions") == [(4, at(4))]

    def test_beginning_is_never_before_one_that_was_noted(self, db: Database) -> None:
        changed(db, "a", 3)
        db.connection.execute("update versions set began = ? where version = 1", (at(60),))
        db.run(retention.trim([FIRST + 1], 2))
        assert db.rows("select version, began from versions order by version") == [(2, at(60)), (3, None)]

    def test_memory_with_few_is_passed_over(self, db: Database) -> None:
        changed(db, "a", 2)
        assert db.run(retention.trim([FIRST + 1], 2)) == (0, 1)
        assert db.run(retention.trim([FIRST + 1], 5)) == (0, 1)
        assert kept(db) == {1: [1, 2]}

    def test_none_are_kept_where_none_are_wanted(self, db: Database) -> None:
        changed(db, "a", 3)
        changed(db, "b", 1)
        assert db.run(retention.trim([FIRST + 1], 0)) == (3, 1)
        assert kept(db) == {2: [1]}

    def test_so_many_go_at_once(self, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "AT_ONCE", 3)
        changed(db, "a", 2)
        changed(db, "b", 5)
        rids = [FIRST + 1, FIRST + 2]
        assert db.run(retention.trim(rids, 0)) == (3, 1)
        assert kept(db) == {2: [2, 3, 4, 5]}
        assert db.run(retention.trim(rids[1:], 0)) == (3, 0)
        assert db.run(retention.trim(rids[1:], 0)) == (1, 1)
        assert kept(db) == {}


def test_size_is_that_of_all_pages(db: Database) -> None:
    assert db.run(retention.size()) == db.value("pragma page_count") * db.value("pragma page_size")
