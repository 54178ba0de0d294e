"""Steps of the feed of changes, of one user and of all: every write once, in the order of the commits."""

from __future__ import annotations

from typing import Any

import pytest

from openmem._model.cursors import encode_cursor
from openmem._model.feed import FeedQuery
from openmem._model.scopes import parse_pattern
from openmem._sql.sqlite import audit, erase, feed, feed_of_all, retention, write
from openmem._sql.sqlite.indexing import LONG
from openmem._sql.sqlite.schema import LAST_ENTRY
from openmem._sql.steps import Weight
from openmem.errors import InvalidRequestError
from openmem.types import ChangePage
from tests.pure.sqlite_steps.database import AT, FIRST, NOW, Database, incoming, later, patterns, stamp


def told(page: ChangePage) -> list[str]:
    return [f"{one.action} {one.memory_id or '-'} {one.scope or '-'} {one.version or '-'}" for one in page.items]


def page(
    db: Database, cursor: str | None = None, limit: int = 100, user_id: str | None = "ann", **asked: Any
) -> ChangePage:
    query = FeedQuery(user_id, cursor, limit, **asked)
    if user_id is not None:
        return db.run(feed.page(query))
    while db.run(feed_of_all.waits()):
        db.run(feed_of_all.put_together())
    return db.run(feed_of_all.page(query))


def whole(db: Database, limit: int, user_id: str | None = "ann", cursor: str | None = None) -> list[str]:
    """Return the changes of all pages behind a cursor."""
    found: list[str] = []
    while True:
        part = page(db, cursor, limit, user_id)
        assert len(part.items) <= limit
        found += told(part)
        cursor = part.next_cursor
        if not part.has_more:
            return found


def refusal(db: Database, cursor: str | None, user_id: str | None = "ann") -> str:
    with pytest.raises(InvalidRequestError) as caught:
        page(db, cursor, user_id=user_id)
    assert caught.value.details is not None
    return str(caught.value.details["reason"])


@pytest.fixture
def full(db: Database) -> Database:
    db.add("a", scope="s")
    db.add("b", seconds=1, user_id="bob")
    db.run(write.add([incoming("c"), incoming("d", scope="t")], None, stamp(2)))
    for query in audit.read_entry("ann", "get", "a", "s", stamp(3)):
        db.connection.execute(query.sql, query.params)
    db.update("a", seconds=4, confidence=0.5)
    db.add("e", "x" * LONG, seconds=5)
    db.run(write.delete("c", "ann", stamp(6)))
    db.add("f", seconds=7)
    return db


OF_ANN = ["add a s 1", "add c - 1", "add d t 1", "update a s 2", "add e - 1", "delete c - 1", "add f - 1"]


@pytest.mark.parametrize("limit", range(1, 9))
def test_changes_of_a_user_come_once_and_in_order(full: Database, limit: int) -> None:
    assert whole(full, limit) == OF_ANN
    assert whole(full, limit, "bob") == ["add b - 1"]
    assert whole(full, limit, "eve") == []


@pytest.mark.parametrize("limit", range(1, 9))
def test_changes_of_all_users_come_once_and_in_the_order_of_each(full: Database, limit: int) -> None:
    found = whole(full, limit, None)
    assert sorted(found) == sorted([*OF_ANN, "add b - 1"])
    assert [one for one in found if one != "add b - 1"] == OF_ANN


@pytest.mark.parametrize("user_id", ["ann", None])
def test_feed_goes_on_behind_each_change(full: Database, user_id: str | None) -> None:
    changes = page(full, user_id=user_id).items
    for number, change in enumerate(changes):
        rest = page(full, change.cursor, user_id=user_id)
        assert told(rest) == told(ChangePage.model_construct(items=changes[number + 1 :]))
    end = page(full, user_id=user_id)
    assert not end.has_more
    assert page(full, end.next_cursor, user_id=user_id).items == []
    full.add("g", seconds=8)
    full.add("h", seconds=9, user_id="ann" if user_id else "eve")
    assert told(page(full, end.next_cursor, user_id=user_id)) == ["add g - 1", "add h - 1"]


def test_change_says_when_and_by_whom(db: Database) -> None:
    db.run(write.add([incoming("a")], None, stamp(3, app="mail")))
    for user_id in ("ann", None):
        [change] = page(db, user_id=user_id).items
        assert (change.user_id, change.timestamp, change.app, change.moved) == ("ann", later(3), "mail", None)


@pytest.mark.parametrize("user_id", ["ann", None])
def test_erasure_of_many_is_one_change(db: Database, user_id: str | None) -> None:
    db.add("a", scope="s")
    db.add("b", scope="t")
    db.run(erase.erase("ann", parse_pattern("s"), stamp(1)))
    assert told(page(db, user_id=user_id)) == ["add b t 1", "delete_all - s -"]
    db.run(erase.erase("ann", None, stamp(2)))
    assert told(page(db, user_id=user_id)) == ["delete_all - - -"]


@pytest.mark.parametrize("user_id", ["ann", None])
def test_caller_sees_the_changes_of_its_scopes(full: Database, user_id: str | None) -> None:
    assert told(page(full, user_id=user_id, visible=patterns("s"))) == ["add a s 1", "update a s 2"]
    first = page(full, None, 1, user_id, visible=patterns("s"))
    assert (told(first), first.has_more) == (["add a s 1"], True)
    second = page(full, first.next_cursor, 9, user_id, visible=patterns("s"))
    assert (told(second), second.has_more) == (["update a s 2"], False)
    assert told(page(full, user_id=user_id, visible=())) == []


def test_hidden_changes_move_no_cursor_of_a_user(full: Database) -> None:
    before = page(full, user_id="ann", visible=patterns("s")).next_cursor
    full.add("g", seconds=8, scope="t")
    assert page(full, before, user_id="ann", visible=patterns("s")).next_cursor == before


@pytest.mark.parametrize("user_id", ["ann", None])
def test_page_looks_at_some_entries_only(full: Database, user_id: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "LOOKED_AT", 2)
    monkeypatch.setattr(feed_of_all, "SPANS_AT_ONCE", 2)
    found = whole(full, 100, user_id)
    assert [one for one in found if one != "add b - 1"] == OF_ANN


def test_removed_entries_are_missed_by_those_who_had_not_read_them(full: Database) -> None:
    begun = page(full, None, 1).next_cursor
    done = page(full).next_cursor
    entries = full.column("select entry from journal where entry < ? order by entry", 2 * FIRST)
    full.run(retention.drop_entries(entries[:2], AT + 99_000_000))
    assert refusal(full, begun) == "cursor_expired"
    assert told(page(full, done)) == []
    assert told(page(full))[-1] == "add f - 1"


@pytest.mark.parametrize("user_id", ["ann", None])
def test_cursor_of_another_store_is_refused(full: Database, db: Database, user_id: str | None) -> None:
    other = Database()
    other.add("a")
    ahead = page(full, user_id=user_id).next_cursor
    if user_id is None:
        ahead = encode_cursor("changes_of_all", [99, 0, 0], [None])
    assert refusal(other, ahead, user_id) == "cursor_ahead"
    with pytest.raises(InvalidRequestError, match="malformed cursor"):
        page(full, "junk", user_id=user_id)


def test_numbers_of_a_cursor_are_small(db: Database) -> None:
    db.add("a")
    for numbers in ([-1, 0], [0, -1], [1 << 32, 0], [0, 1 << 32]):
        assert refusal(db, encode_cursor("changes", numbers, ["ann"])) == "cursor_ahead"


def test_cursor_of_a_user_who_comes_later_is_kept(db: Database) -> None:
    first = page(db)
    assert (first.items, first.has_more) == ([], False)
    db.add("a")
    assert told(page(db, first.next_cursor)) == ["add a - 1"]


class TestSpans:
    """The table of spans that the feed of all users reads."""

    def test_span_of_each_user_is_made_once(self, db: Database) -> None:
        assert db.run(feed_of_all.waits()) is False
        db.add("a")
        db.add("b", user_id="bob")
        assert db.run(feed_of_all.waits()) is True
        assert db.run(feed_of_all.put_together()) is False
        assert db.run(feed_of_all.waits()) is False
        assert db.rows("select user_no, after_entry, last_entry, last_rid from feed order by position") == [
            (1, FIRST, FIRST + 1, FIRST + 1),
            (2, 2 * FIRST, 2 * FIRST + 1, 2 * FIRST + 1),
        ]
        assert db.value("select known from feed_state") == 2
        db.add("c")
        assert db.run(feed_of_all.waits()) is True
        db.run(feed_of_all.put_together())
        [span] = db.rows(
            "select user_no, after_entry, last_entry, last_rid from feed order by position limit -1 offset 2"
        )
        assert span == (1, FIRST + 1, FIRST + 2, FIRST + 2)

    def test_so_many_users_are_taken_at_once(self, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(feed_of_all, "USERS_AT_ONCE", 2)
        for user_id in "abc":
            db.add(user_id, user_id=user_id)
        assert db.run(feed_of_all.put_together()) is True
        assert db.column("select user_no from feed") == [1, 2]
        assert db.run(feed_of_all.put_together()) is False
        assert db.column("select user_no from feed") == [1, 2, 3]

    def test_spans_whose_entries_are_gone_are_dropped(self, full: Database) -> None:
        page(full, user_id=None)
        assert full.run(feed_of_all.drop_spans()) == 0
        full.connection.execute(f"update users set expired = {LAST_ENTRY} where user_id = 'bob'")
        assert full.run(feed_of_all.drop_spans()) == 1
        assert full.column("select user_no from feed") == [1]
        assert full.value("select dropped from feed_state") == 2


def test_weight_is_that_of_the_texts_that_are_there() -> None:
    weight = Weight(10, lambda row: row[1:])
    assert weight.of([(1, "ab", None), (2, "c", "def"), (3, None, "")]) == 6
    assert weight.of([]) == 0
    assert NOW.tzinfo is not None
