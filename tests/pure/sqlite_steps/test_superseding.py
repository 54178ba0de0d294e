"""Links of a memory: its tags, what it supersedes and from when on, and circles of links."""

from __future__ import annotations

from typing import Any

import pytest

from openmem._sql.sqlite import supersession, write
from tests.pure.sqlite_steps.database import AT, FIRST, SECOND, Database, Item, draft, incoming, later, stamp


def hidden(db: Database) -> dict[str, float]:
    """Return from which second on memories are superseded; those that are not are missing."""
    rows = db.rows("select id, superseded_at from memories where superseded_at is not null")
    return {id_: (at - AT) / SECOND for id_, at in rows}


def void(db: Database) -> set[tuple[str, str]]:
    rows = db.rows("select m.id, old_id from supersessions join memories m on m.rid = new_rid where void")
    return {(new, old) for new, old in rows}


def delete(db: Database, id_: str) -> None:
    db.run(write.delete(id_, None, stamp(50)))


def bring(db: Database, *items: Item) -> None:
    """Store what an import brings, with ids of its own."""
    db.run(write.add([*items], None, stamp(20)))


def imported(id_: str, *supersedes: str, at: float = 0, **fields: Any) -> Item:
    return incoming(id_, id=id_, created_at=later(at), supersedes=supersedes or None, **fields)


@pytest.mark.parametrize(
    ("fields", "has"),
    [({}, False), ({"tags": ("x",)}, True), ({"supersedes": ("z",)}, True), ({"id": "a"}, True), ({"tags": ()}, False)],
)
def test_draft_that_may_make_a_link_is_told(fields: dict[str, Any], has: bool) -> None:
    assert supersession.has_links(draft(**fields)) is has


class TestOneLink:
    """From when on the older memory is hidden."""

    def test_older_one_is_hidden_from_the_time_of_the_newer(self, db: Database) -> None:
        db.add("a")
        db.add("b", seconds=3, supersedes=("a",))
        assert hidden(db) == {"a": 3}
        assert db.column("select epoch from users") == [1]

    def test_older_one_is_hidden_from_when_the_newer_is_valid(self, db: Database) -> None:
        db.add("a")
        db.add("b", seconds=3, supersedes=("a",), valid_from=later(10))
        assert hidden(db) == {"a": 10}

    def test_first_of_several_counts(self, db: Database) -> None:
        db.add("a")
        db.add("b", seconds=3, supersedes=("a",), valid_from=later(10))
        db.add("c", seconds=4, supersedes=("a",))
        db.add("d", seconds=5, supersedes=("a",))
        assert hidden(db) == {"a": 4}
        delete(db, "c")
        assert hidden(db) == {"a": 5}
        delete(db, "d")
        assert hidden(db) == {"a": 10}
        delete(db, "b")
        assert hidden(db) == {}
        assert db.rows("select * from supersessions") == []

    def test_memories_of_another_user_are_left_alone(self, db: Database) -> None:
        db.add("a", user_id="bob")
        db.add("b", supersedes=("a",))
        assert hidden(db) == {}
        bring(db, imported("a"))
        assert db.rows("select user_no, superseded_at - ? from memories where id = 'a'", AT) == [(1, None), (2, 0)]

    def test_older_one_may_come_later(self, db: Database) -> None:
        db.add("b", seconds=3, supersedes=("a", "z"))
        bring(db, imported("a"))
        assert hidden(db) == {"a": 3}
        assert db.rows("select old_id, since - ? from supersessions order by old_id", AT) == [
            ("a", 3 * SECOND),
            ("z", 3 * SECOND),
        ]

    def test_imported_memory_hides_from_the_time_it_was_made(self, db: Database) -> None:
        db.add("a")
        bring(db, imported("b", "a", at=7))
        assert hidden(db) == {"a": 7}

    def test_memory_that_names_one_twice_has_one_link(self, db: Database) -> None:
        db.add("a")
        db.add("b", supersedes=("a", "a"))
        assert db.value("select count(*) from supersessions") == 1

    def test_memory_does_not_hide_itself(self, db: Database) -> None:
        bring(db, imported("a", "a"))
        assert hidden(db) == {}
        assert void(db) == set()

    def test_several_memories_of_one_call_are_linked(self, db: Database) -> None:
        db.add("a")
        items = [incoming("b", tags=("x", "y")), incoming("c", supersedes=("a",)), incoming("d", tags=("x",))]
        db.run(write.add(items, None, stamp(2)))
        assert db.rows("select tag, rid - ? from tags order by tag, rid", FIRST) == [("x", 2), ("x", 4), ("y", 2)]
        assert db.rows("select old_id, new_rid - ? from supersessions", FIRST) == [("a", 3)]
        assert hidden(db) == {"a": 2}


class TestChange:
    """A change replaces the links."""

    def test_links_of_before_go(self, db: Database) -> None:
        db.add("a")
        db.add("b")
        db.add("c", supersedes=("a",), tags=("x", "y"))
        db.update("c", seconds=4, supersedes=("b",), tags=("y", "z"))
        assert hidden(db) == {"b": 0}
        assert db.column("select tag from tags order by tag") == ["y", "z"]
        db.update("c", seconds=5, supersedes=None, tags=None)
        assert hidden(db) == {}
        assert db.rows("select * from tags") == db.rows("select * from supersessions") == []

    def test_validity_moves_the_time(self, db: Database) -> None:
        db.add("a")
        db.add("b", supersedes=("a",), valid_from=later(10))
        db.update("b", valid_to=later(100))
        assert hidden(db) == {"a": 10}

    def test_links_of_others_stay(self, db: Database) -> None:
        db.add("a")
        db.add("b", seconds=2, supersedes=("a",), tags=("x",))
        db.add("c", seconds=3, supersedes=("a",), tags=("x",))
        db.update("b", supersedes=None, tags=None)
        assert hidden(db) == {"a": 3}
        assert db.column("select rid - ? from tags", FIRST) == [3]


class TestCircle:
    """Memories that supersede one another: the one that was written last wins."""

    def test_change_that_closes_a_circle_has_the_last_word(self, db: Database) -> None:
        db.add("a")
        db.add("b", seconds=5, supersedes=("a",))
        db.update("a", seconds=6, supersedes=("b",))
        assert hidden(db) == {"b": 0}
        assert void(db) == {("b", "a")}

    def test_add_under_a_key_that_closes_a_circle_has_the_last_word(self, db: Database) -> None:
        db.add("a", key="k")
        db.add("b", seconds=5, supersedes=("a",))
        db.add("c", seconds=6, key="k", supersedes=("b",))
        assert hidden(db) == {"b": 0}
        assert void(db) == {("b", "a")}

    def test_last_word_is_had_against_a_clock_that_ran_ahead(self, db: Database) -> None:
        db.add("a")
        db.add("b", seconds=50, supersedes=("a",))
        record = db.update("a", seconds=6, supersedes=("b",))
        assert record.updated_at == later(50.000001)
        assert hidden(db) == {"b": 0}
        assert void(db) == {("b", "a")}

    def test_equal_times_are_told_apart_too(self, db: Database) -> None:
        db.add("a")
        db.add("b", seconds=6, supersedes=("a",))
        assert db.update("a", seconds=6, supersedes=("b",)).updated_at == later(6.000001)

    def test_later_time_stays_as_it_is(self, db: Database) -> None:
        db.add("a")
        db.add("b", seconds=5, supersedes=("a",))
        assert db.update("a", seconds=6, supersedes=("b",)).updated_at == later(6)
        assert db.column("select updated_at from memories where id = 'b'") == [None]

    def test_void_link_counts_again_when_the_circle_opens(self, db: Database) -> None:
        db.add("a")
        db.add("b", seconds=5, supersedes=("a",))
        db.update("a", seconds=6, supersedes=("b",))
        db.update("a", seconds=7, supersedes=None)
        assert hidden(db) == {"a": 5}
        assert void(db) == set()

    def test_circle_of_three_opens_when_one_goes(self, db: Database) -> None:
        db.add("a")
        db.add("b", seconds=1, supersedes=("a",))
        db.add("c", seconds=2, supersedes=("b",))
        db.update("a", seconds=3, supersedes=("c",))
        assert void(db) == {("b", "a")}
        assert hidden(db) == {"b": 2, "c": 0}
        delete(db, "c")
        assert void(db) == set()
        assert hidden(db) == {"a": 1}

    def test_imported_circle_is_judged_by_its_times(self, db: Database) -> None:
        bring(db, imported("a", "b", at=9), imported("b", "a", at=4))
        assert hidden(db) == {"b": 9}
        assert void(db) == {("b", "a")}
        assert db.column("select updated_at from memories") == [None, None]

    def test_circle_is_closed_by_an_import_of_one_half(self, db: Database) -> None:
        db.add("b", seconds=4, supersedes=("a",))
        bring(db, imported("a", "b", at=2))
        assert hidden(db) == {"a": 4}
        assert void(db) == {("a", "b")}

    def test_updates_count_as_writing(self, db: Database) -> None:
        bring(db, imported("a", "b", at=1, updated_at=later(8)), imported("b", "a", at=4))
        assert hidden(db) == {"b": 1}

    def test_memories_beside_the_circle_are_hidden_as_ever(self, db: Database) -> None:
        db.add("a")
        db.add("x", user_id="bob", supersedes=("a",))
        db.add("b", seconds=5, supersedes=("a",))
        db.add("c", seconds=6, supersedes=("a",))
        db.update("a", seconds=7, supersedes=("b",))
        assert hidden(db) == {"a": 6, "b": 0}
        assert void(db) == {("b", "a")}

    def test_link_to_what_is_not_there_is_not_judged(self, db: Database) -> None:
        db.add("a", supersedes=("gone",))
        db.add("b", seconds=5, supersedes=("a",))
        db.update("a", seconds=6, supersedes=("gone", "b"))
        assert void(db) == {("b", "a")}
        assert db.rows("select old_id, void from supersessions order by old_id") == [("a", 1), ("b", 0), ("gone", 0)]
