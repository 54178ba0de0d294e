"""The index of words: what waits, what brings it in, what a change takes out, how it is merged and filled again."""

from __future__ import annotations

import pytest

from openmem._sql.sqlite import indexing, word_index, write
from openmem._sql.sqlite.indexing import LONG, WAIT_AT_MOST
from openmem._sql.sqlite.schema import first_rid, index_token, last_rid
from openmem._sql.sqlite.writer import open_user
from tests.pure.sqlite_steps.database import FIRST, Database, incoming, stamp

SECOND_USER = 2 * FIRST


def fill(db: Database, number: int, *, user_id: str = "ann", first: int = 0) -> None:
    items = [incoming(f"{user_id}{first + i}", f"word{first + i}", user_id=user_id) for i in range(number)]
    db.run(write.add(items, None, stamp()))


def long(word: str) -> str:
    return f"{word} " + "x" * LONG


def upkeep(db: Database) -> tuple[int, int, int]:
    [(taken, begun, merged)] = db.rows("select * from upkeep")
    return taken, begun, merged


def test_places_of_a_user_are_one_range() -> None:
    assert (first_rid(3), last_rid(3)) == (3 << 32, (4 << 32) - 1)
    assert index_token(12, "tea") == "12qtea"


class TestWaiting:
    """Cases 1 and 2: new memories wait until there are many, or a long one."""

    def test_few_short_ones_wait(self, db: Database) -> None:
        fill(db, WAIT_AT_MOST - 1)
        assert db.indexed_words() == {}
        assert db.column("select indexed from users") == [0]

    def test_one_more_brings_in_all(self, db: Database) -> None:
        fill(db, WAIT_AT_MOST - 1)
        fill(db, 1, first=100)
        rids = [*range(FIRST + 1, FIRST + WAIT_AT_MOST + 1)]
        assert [*db.indexed_words()] == rids
        assert db.indexed_words()[FIRST + 1] == ["1qword0"]
        assert db.indexed_words()[rids[-1]] == ["1qword100"]
        assert db.column("select indexed from users") == [rids[-1]]

    def test_long_one_brings_in_those_before(self, db: Database) -> None:
        db.add("a", "tea")
        db.add("b", "x" * (LONG - 1))
        assert db.indexed_words() == {}
        db.add("c", "y" * LONG)
        assert [*db.indexed_words()] == [FIRST + 1, FIRST + 2, FIRST + 3]
        db.add("d", "milk")
        assert [*db.indexed_words()] == [FIRST + 1, FIRST + 2, FIRST + 3]
        db.add("e", "z" * LONG)
        assert db.indexed_words()[FIRST + 4] == ["1qmilk"]

    def test_users_wait_for_themselves(self, db: Database) -> None:
        db.add("a", "tea")
        db.add("b", long("milk"), user_id="bob")
        assert {rid: words[0] for rid, words in db.indexed_words().items()} == {SECOND_USER + 1: "2qmilk"}
        assert db.column("select indexed from users") == [0, SECOND_USER + 1]

    def test_memory_without_words_is_entered_as_none(self, db: Database) -> None:
        db.add("a", "?")
        db.add("b", long("milk"))
        assert [*db.indexed_words()] == [FIRST + 2]


class TestChanging:
    """Cases 3 and 4: a memory that is in the index, and one that waits, changes or goes."""

    def test_indexed_memory_has_its_new_words_at_once(self, db: Database) -> None:
        db.add("a", long("tea"))
        db.update("a", content="milk")
        assert db.indexed_words() == {FIRST + 1: ["1qmilk"]}

    def test_other_indexed_memories_keep_their_words(self, db: Database) -> None:
        db.add("a", "tea")
        db.add("b", long("milk"))
        db.update("b", content="coffee")
        assert db.indexed_words() == {FIRST + 1: ["1qtea"], FIRST + 2: ["1qcoffe"]}
        assert upkeep(db) == (1, 0, 0)

    def test_words_stay_where_text_and_tags_do(self, db: Database) -> None:
        db.add("a", long("tea"), tags=("x",))
        words, written = db.indexed_words()[FIRST + 1], db.column("select block from word_index_data")
        db.update("a", confidence=0.5, tags=("x",))
        assert db.indexed_words()[FIRST + 1] == words
        assert db.column("select block from word_index_data") == written
        db.update("a", seconds=2, tags=("milk",))
        assert "1qmilk" in db.indexed_words()[FIRST + 1]

    def test_waiting_memory_leaves_the_index_alone(self, db: Database) -> None:
        db.add("a", "tea")
        db.update("a", content="milk")
        db.run(write.delete("a", "ann", stamp(2)))
        assert db.indexed_words() == {}

    def test_waiting_memory_that_grows_long_is_entered_once(self, db: Database) -> None:
        db.add("a", "tea")
        db.update("a", content=long("milk"))
        assert db.indexed_words()[FIRST + 1][0] == "1qmilk"
        assert db.column("select indexed from users") == [FIRST + 1]

    def test_deleted_memory_leaves_the_index(self, db: Database) -> None:
        db.add("a", "tea")
        db.add("b", long("milk"))
        db.add("c", "juice")
        db.run(write.delete("a", "ann", stamp(2)))
        db.run(write.delete("c", "ann", stamp(2)))
        assert [*db.indexed_words()] == [FIRST + 2]

    def test_index_of_another_user_is_left_alone(self, db: Database) -> None:
        db.add("a", long("tea"))
        db.add("b", long("tea"), user_id="bob")
        db.update("b", user_id="bob", content="milk")
        assert db.indexed_words()[FIRST + 1][0] == "1qtea"
        assert db.indexed_words()[SECOND_USER + 1] == ["2qmilk"]

    def test_nothing_is_said_where_nothing_is_taken_out(self, db: Database) -> None:
        db.add("a", long("tea"))
        writer = db.run(open_user("ann", stamp(), None))
        assert [*indexing.take_out(writer, [FIRST + 2])] == []
        assert not indexing.is_behind(writer, indexing.LONG)


class TestFillingAgain:
    """The index is emptied and filled, a part at a time."""

    def test_emptied_index_knows_no_memory(self, db: Database) -> None:
        db.add("a", long("tea"))
        db.run(word_index.empty())
        assert db.indexed_words() == {}
        assert db.column("select indexed from users") == [0]

    def test_memories_are_entered_user_by_user(self, db: Database) -> None:
        fill(db, 3)
        fill(db, 2, user_id="bob")
        assert db.run(word_index.enter_some(0, 2)) == 1
        assert [*db.indexed_words()] == [FIRST + 1, FIRST + 2]
        assert db.column("select indexed from users") == [FIRST + 2, 0]
        assert db.run(word_index.enter_some(1, 2)) == 2
        assert [*db.indexed_words()] == [FIRST + 1, FIRST + 2, FIRST + 3, SECOND_USER + 1]
        assert db.run(word_index.enter_some(2, 2)) == 3
        assert db.run(word_index.enter_some(3, 2)) is None
        assert db.column("select indexed from users") == [FIRST + 3, SECOND_USER + 2]
        assert db.indexed_words()[SECOND_USER + 2] == ["2qword1"]

    def test_first_user_is_not_begun_with_where_another_is_named(self, db: Database) -> None:
        fill(db, 1)
        fill(db, 1, user_id="bob")
        assert db.run(word_index.enter_some(2, 5)) == 3
        assert [*db.indexed_words()] == [SECOND_USER + 1]

    def test_user_of_whom_nothing_waits_is_passed_over(self, db: Database) -> None:
        db.add("a", long("tea"))
        assert db.run(word_index.enter_some(0, 1)) == 2
        assert db.column("select indexed from users") == [FIRST + 1]


@pytest.mark.parametrize(
    ("record", "number"),
    [
        (b"\x05", 5),
        (b"\x81\x00", 128),
        (b"\x82\x03\x7f", 259),
        (b"\x80\x05", 5),
        (b"\xff\x7f", 16383),
        (b"\xff" * 9, (1 << 56) - 1),
        (b"", 0),
    ],
)
def test_numbers_of_any_size_are_read(record: bytes, number: int) -> None:
    assert word_index.first_number(record) == number


def test_levels_are_those_that_fts5_counts(db: Database) -> None:
    assert db.run(word_index.levels()) == 0
    for number in range(3):
        db.add(f"a{number}", long("tea"))
    structure = db.value("select block from word_index_data where id = 10")
    assert db.run(word_index.levels()) == structure[4] == 1
    db.connection.execute("delete from word_index_data where id = 10")
    assert db.run(word_index.levels()) == 0
