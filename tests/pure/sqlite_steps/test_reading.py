"""Steps that read memories: one by its id, pages of a list, and pages of a history."""

from __future__ import annotations

from typing import Any

import pytest

from openmem._model.access import Patterns
from openmem._model.requests import HistoryQuery, ListQuery, View
from openmem._model.results import HistoryPage
from openmem._model.scopes import parse_pattern
from openmem._rules.paging import PAGE_BYTES
from openmem._sql.sqlite import health, history, read, rows, write
from openmem._sql.sqlite.retention import trim
from openmem.errors import InvalidRequestError, NotFoundError
from openmem.types import MemoryPage, MemoryRecord
from tests.pure.sqlite_steps.database import AT, FIRST, Database, incoming, later, patterns, stamp

LARGE = {"x-a": "z" * (PAGE_BYTES // 2)}  # with what is around it, more than half of a page


def page(db: Database, *, seconds: float = 10, limit: int = 50, cursor: str | None = None, **view: Any) -> MemoryPage:
    since, until = view.pop("since", None), view.pop("until", None)
    ordered = {name: view.pop(name) for name in ("order", "descending") if name in view}
    query = ListQuery(View("ann", **view), since, until, limit, cursor, **ordered)
    return db.run(read.page(query, AT + int(seconds * 1_000_000)))


def ids(db: Database, **asked: Any) -> str:
    """Return the ids of a list in one text; each has one letter."""
    return "".join(record.id for record in page(db, **asked).items)


class TestOne:
    """A memory by its id."""

    def test_memory_is_read_hidden_or_not(self, db: Database) -> None:
        db.add("a", scope="s")
        db.add("b", supersedes=("a",))
        assert db.run(read.get("a", "ann")).id == "a"
        assert db.run(read.get("a", None, patterns("s"))).id == "a"
        for user_id, seen in (("bob", None), ("ann", patterns("t"))):
            with pytest.raises(NotFoundError):
                db.run(read.get("a", user_id, seen))

    def test_all_must_be_there(self, db: Database) -> None:
        db.add("a", scope="s")
        db.add("b", user_id="bob")
        db.run(read.check_all(["a"], "ann", patterns("s")))
        db.run(read.check_all([], "ann"))
        for asked, seen in ((["a", "b"], None), (["a"], patterns("t")), (["x"], None)):
            with pytest.raises(NotFoundError):
                db.run(read.check_all(asked, "ann", seen))


class TestList:
    """Pages of what a view allows."""

    def test_newest_come_first_and_of_equals_the_greater_id(self, db: Database) -> None:
        for id_, seconds in (("a", 1), ("c", 0), ("b", 0), ("d", 2)):
            db.add(id_, seconds=seconds)
        db.add("e", user_id="bob")
        assert ids(db) == "dacb"

    @pytest.mark.parametrize("limit", range(1, 6))
    def test_pages_lead_to_all(self, db: Database, limit: int) -> None:
        for number, id_ in enumerate("abcd"):
            db.add(id_, seconds=number // 2)
        found, cursor, count = "", None, 0
        while not count or cursor is not None:
            part = page(db, limit=limit, cursor=cursor)
            found, cursor, count = found + "".join(record.id for record in part.items), part.next_cursor, count + 1
        assert (found, count) == ("dcba", -(-4 // limit))

    def test_cursor_is_one_of_its_query(self, db: Database) -> None:
        db.add("a")
        db.add("b")
        cursor = page(db, limit=1).next_cursor
        assert ids(db, limit=9, cursor=cursor) == "a"
        others: list[dict[str, Any]] = [{"since": later(0)}, {"include_expired": True}]
        for changed in others:
            with pytest.raises(InvalidRequestError, match="malformed cursor"):
                page(db, cursor=cursor, **changed)

    def test_cursor_is_read_before_the_user_is_known(self, db: Database) -> None:
        assert page(db) == MemoryPage(items=[], next_cursor=None)
        with pytest.raises(InvalidRequestError, match="malformed cursor"):
            page(db, cursor="junk")

    def test_page_holds_as_many_as_are_not_too_large(self, db: Database) -> None:
        for number, id_ in enumerate("abc"):
            db.add(id_, seconds=number, extensions=LARGE if id_ != "b" else {})
        first = page(db)
        assert [record.id for record in first.items] == ["c", "b"]
        second = page(db, cursor=first.next_cursor)
        assert ([record.id for record in second.items], second.next_cursor) == (["a"], None)

    def test_time_of_storing_is_from_the_first_to_before_the_second(self, db: Database) -> None:
        for number, id_ in enumerate("abc"):
            db.add(id_, seconds=number)
        assert ids(db, since=later(1)) == "cb"
        assert ids(db, until=later(1)) == "a"
        assert ids(db, since=later(1), until=later(2)) == "b"

    def test_validity_is_from_the_start_to_before_the_end(self, db: Database) -> None:
        db.add("a", valid_from=later(5), valid_to=later(8))
        found = [ids(db, seconds=seconds) for seconds in (4.9, 5, 7.9, 8)]
        assert found == ["", "a", "a", ""]
        assert ids(db, seconds=8, include_expired=True) == "a"
        assert ids(db, seconds=4, include_expired=True) == "a"

    def test_superseded_ones_are_hidden_from_their_time_on(self, db: Database) -> None:
        db.add("a")
        db.add("b", seconds=1, supersedes=("a",), valid_from=later(5))
        found = [ids(db, seconds=seconds, include_expired=True) for seconds in (4.9, 5)]
        assert found == ["ba", "b"]
        assert ids(db, seconds=5, include_superseded=True) == "ba"

    def test_view_of_a_time_shows_what_was_true_then(self, db: Database) -> None:
        db.add("a", valid_to=later(4))
        db.add("b", seconds=2, supersedes=("a",))
        db.add("c", seconds=3, valid_from=later(1))
        assert [ids(db, as_of=later(seconds)) for seconds in (-1, 0, 1, 2, 3)] == ["", "a", "ca", "cb", "cb"]
        assert ids(db, as_of=later(5), include_superseded=True) == "cb"
        assert ids(db, as_of=later(5), include_superseded=True, include_expired=True) == "cba"

    def test_time_of_a_view_is_not_before_the_newest_change(self, db: Database) -> None:
        db.add("a", valid_to=later(8))
        db.add("b")
        assert ids(db, seconds=0) == "ba"
        db.update("b", seconds=8, confidence=0.5)
        assert ids(db, seconds=0) == "b"

    def test_scopes_that_are_asked_for_and_allowed(self, db: Database) -> None:
        for id_, scope in (("a", "work"), ("b", "work/desk"), ("c", "home"), ("d", None)):
            db.add(id_, scope=scope)
        db.add("e", user_id="bob", scope="work")
        assert ids(db, scope=parse_pattern("work/*")) == "ba"
        assert ids(db, scope=parse_pattern("work")) == "a"
        assert ids(db, scope=parse_pattern("*")) == "dcba"
        assert ids(db, visible=patterns("work", "home")) == "ca"
        assert ids(db, scope=parse_pattern("work/*"), visible=patterns("work", "home")) == "a"
        assert ids(db, scope=parse_pattern("*"), visible=patterns("home")) == "c"
        assert ids(db, scope=parse_pattern("away")) == ids(db, visible=()) == ""

    def test_all_tags_must_be_there(self, db: Database) -> None:
        db.add("a", tags=("x", "y"))
        db.add("b", tags=("x",))
        db.add("c", user_id="bob", tags=("x", "y"))
        assert ids(db, tags=("x",)) == "ba"
        assert ids(db, tags=("y", "x")) == "a"
        assert ids(db, tags=("z",)) == ""

    @pytest.mark.parametrize(("order", "latest"), [("created", "edcba"), ("updated", "bedca"), ("valid_from", "edbac")])
    def test_order_is_by_a_date_or_that_of_storing(self, db: Database, order: Any, latest: str) -> None:
        db.add("a")
        db.add("b", seconds=1, valid_from=later(0.5))
        db.add("c", seconds=2, valid_from=later(-9))
        db.add("d", seconds=3)
        db.add("e", seconds=3)
        db.update("b", seconds=4, content="changed")
        for descending, expected in ((True, latest), (False, latest[::-1])):
            assert ids(db, order=order, descending=descending) == expected
            seen, cursor = "", None
            while True:
                found = page(db, order=order, descending=descending, limit=2, cursor=cursor)
                seen += "".join(record.id for record in found.items)
                cursor = found.next_cursor
                if cursor is None:
                    break
            assert seen == expected

    @pytest.mark.parametrize("order", ["updated", "valid_from"])
    def test_page_by_another_date_ends_before_it_is_too_large(self, db: Database, order: Any) -> None:
        for id_ in "abc":
            db.add(id_, extensions=LARGE)
        found = page(db, order=order)
        assert [record.id for record in found.items] == ["c"]
        assert ids(db, order=order, cursor=found.next_cursor) == "b"


class TestManyAtOnce:
    """Records by where they lie."""

    def test_records_come_by_their_place_and_in_the_order_asked_for(self, db: Database) -> None:
        db.run(write.add([incoming(f"m{number}") for number in range(25)], None, stamp()))
        wanted = [FIRST + number for number in (25, 3, 1, *range(4, 24))]
        found = db.run(rows.select_rids(wanted))
        assert [*found] == wanted
        assert [found[rid].id for rid in wanted[:3]] == ["m24", "m2", "m0"]
        assert db.run(rows.select_rids([])) == {}

    def test_records_end_before_the_one_that_is_too_large(self, db: Database) -> None:
        for number in range(14):
            db.add(f"m{number}", extensions=LARGE if number in (3, 11, 13) else {})
        places = [FIRST + number for number in range(1, 15)]
        assert [*db.run(rows.select_rids(places))] == places[:11]
        assert [*db.run(rows.select_rids([places[3], places[11], places[0]]))] == [places[3]]

    def test_one_that_is_too_large_comes_alone(self, db: Database) -> None:
        db.add("a", extensions={**LARGE, "x-b": LARGE["x-a"]})
        db.add("b")
        assert [*db.run(rows.select_rids([FIRST + 1, FIRST + 2]))] == [FIRST + 1]

    def test_records_that_fill_a_page_to_the_end_are_all_on_it(self, db: Database) -> None:
        around = len("likes tea") + len('{"x-a":""}')
        for id_ in "ab":
            db.add(id_, extensions={"x-a": "z" * (PAGE_BYTES // 2 - around)})
        db.add("c")
        assert [*db.run(rows.select_rids([FIRST + 1, FIRST + 2, FIRST + 3]))] == [FIRST + 1, FIRST + 2]
        assert [*db.run(rows.select_rids([FIRST + 1, FIRST + 2]))] == [FIRST + 1, FIRST + 2]

    def test_contents_for_a_context(self, db: Database) -> None:
        db.add("a", "tea", valid_from=later(3))
        db.add("b", "milk", seconds=1)
        assert db.run(rows.select_contents([FIRST + 2, FIRST + 1])) == {
            FIRST + 1: ("a", "tea", AT + 3_000_000, AT),
            FIRST + 2: ("b", "milk", None, AT + 1_000_000),
        }

    @pytest.mark.parametrize(("order", "merged"), [("created", False), ("updated", True)])
    def test_page_by_creation_or_change_sorts_nothing(self, db: Database, order: Any, merged: bool) -> None:
        """Each half comes by its own index, and what is merged is not sorted first."""
        db.add("a")
        sent: list[str] = []
        db.connection.set_trace_callback(sent.append)
        page(db, order=order)
        db.connection.set_trace_callback(None)
        [asked] = [sql for sql in sent if "from memories m" in sql and "limit" in sql]
        plan = " ".join(row[3] for row in db.rows(f"explain query plan {asked}"))
        assert "USE TEMP B-TREE" not in plan
        assert ("MERGE" in plan) == merged


class TestHistory:
    """Earlier versions, and what a memory supersedes."""

    @staticmethod
    def pages(db: Database, id_: str, limit: int = 100, seen: Patterns | None = None) -> list[list[str]]:
        found: list[list[str]] = []
        cursor: str | None = None
        while not found or cursor is not None:
            start, part = db.run(history.page(HistoryQuery(id_, None, limit, cursor), seen))
            assert start.id == id_
            found.append([f"{record.id}{record.version}" for record in part])
            cursor = part.next_cursor
        return found

    @pytest.fixture
    def full(self, db: Database) -> Database:
        db.add("z", "oldest", scope="s")
        db.add("a", "one", seconds=1, supersedes=("z",))
        db.update("z", seconds=2, content="older", scope="t")
        db.update("a", seconds=3, content="two")
        db.add("c", "newer", seconds=4, supersedes=("a", "gone"))
        db.add("q", "of another", user_id="bob", supersedes=("z",))
        db.update("a", seconds=5, content="three")
        return db

    def test_states_come_newest_first(self, full: Database) -> None:
        assert self.pages(full, "a") == [["a2", "z2", "a1", "z1"]]
        assert self.pages(full, "c") == [["a3", "a2", "z2", "a1", "z1"]]
        assert self.pages(full, "z") == [["z1"]]

    @pytest.mark.parametrize("limit", range(1, 6))
    def test_pages_lead_to_all(self, full: Database, limit: int) -> None:
        found = self.pages(full, "c", limit)
        assert [state for part in found for state in part] == ["a3", "a2", "z2", "a1", "z1"]
        assert {len(part) for part in found[:-1]} <= {limit}

    def test_states_are_those_of_their_time(self, full: Database) -> None:
        def texts(limit: int) -> list[tuple[str, str | None]]:
            found: list[MemoryRecord] = []
            part = HistoryPage([])
            while len(found) < 5:
                _, part = full.run(history.page(HistoryQuery("c", "ann", limit, part.next_cursor)))
                found += part
            return [(record.content, record.scope) for record in found]

        expected = [("three", None), ("two", None), ("older", "t"), ("one", None), ("oldest", "s")]
        assert texts(1) == texts(2) == texts(5) == expected

    def test_memory_that_is_not_seen_is_left_out_with_all_behind_it(self, full: Database) -> None:
        full.add("d", seconds=6, scope="s", supersedes=("z",))
        full.add("e", seconds=7, scope="t", supersedes=("d", "c"))
        assert self.pages(full, "e", seen=patterns("t")) == [[]]
        assert self.pages(full, "e", seen=patterns("s", "t")) == [["d1", "z2", "z1"]]
        with pytest.raises(NotFoundError):
            self.pages(full, "c", seen=patterns("t"))
        full.update("e", seconds=8, supersedes=("z",))
        assert self.pages(full, "e", seen=patterns("t")) == [["e1", "z2"]]

    def test_circle_ends(self, db: Database) -> None:
        db.add("a")
        db.add("b", seconds=1, supersedes=("a",))
        db.update("a", seconds=2, supersedes=("b",))
        assert self.pages(db, "a") == [["b1", "a1"]]

    def test_versions_that_were_removed_are_left_out(self, full: Database) -> None:
        full.run(trim([FIRST + 2], 1))
        assert self.pages(full, "a") == [["a2", "z2", "z1"]]

    def test_page_ends_before_the_state_that_is_too_large(self, db: Database) -> None:
        db.add("a", extensions=LARGE)
        for number in range(3):
            db.update("a", seconds=number + 1, tags=(f"t{number}",))
        assert self.pages(db, "a") == [["a3"], ["a2"], ["a1"]]

    def test_whole_versions_and_steps_are_read_alike(self, db: Database) -> None:
        db.add("a", "0" * 40)
        for number in range(1, 9):
            db.update("a", seconds=number, content=f"{number}" * 40)
        assert 0 < db.value("select sum(step) from versions") < 8
        _, found = db.run(history.page(HistoryQuery("a")))
        assert [record.content[0] for record in found] == [*"76543210"]
        assert [record.version for record in found] == [*range(8, 0, -1)]


def test_health_counts_what_the_file_holds(db: Database) -> None:
    db.connection.execute("pragma user_version=7")
    db.add("a", vector=(1, 0))
    db.add("b")
    db.add("c", user_id="bob")
    db.run(health.touch())
    assert db.run(health.check()) == {"schema": 7, "users": 2, "memories": 3, "without_vector": 2, "models": ["small"]}
