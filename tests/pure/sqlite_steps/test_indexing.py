"""The index of words: what waits, what brings it in, what a change takes out, how it is merged and filled again."""

from __future__ import annotations

from itertools import count

import pytest

from openmem._sql.sqlite import indexing, purge, word_index, write
from openmem._sql.sqlite.indexing import LONG, WAIT_AT_MOST
from openmem._sql.sqlite.purge import OVERWRITE, OVERWRITE_CHEAPLY, Purge, sparingly
from openmem._sql.sqlite.schema import first_rid, index_token, last_rid
from openmem._sql.sqlite.writer import open_user
from openmem._sql.steps import Query, Row, Steps
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


def purge_all(db: Database) -> int:
    """Run a purge to its end; return in how many transactions."""
    run = Purge()
    return next(number for number in count(1) if not db.run(run.some()))


def bytes_hold(db: Database, word: str) -> bool:
    blocks: list[bytes] = db.column("select block from word_index_data")
    return any(word.encode() in block for block in blocks)


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


class TestPurge:
    """The cases of the table `upkeep`."""

    def test_nothing_was_taken_out_so_nothing_is_merged(self, db: Database) -> None:
        db.add("a", long("tea"))
        db.connection.execute("update upkeep set taken = 3, begun = 3, merged = 3")
        written = db.column("select block from word_index_data")
        assert purge_all(db) == 1
        assert db.column("select block from word_index_data") == written

    def test_words_of_an_erased_memory_leave_the_bytes(self, db: Database) -> None:
        db.add("a", long("secretword"))
        db.add("b", long("tea"))
        db.run(write.delete("a", "ann", stamp(1)))
        assert bytes_hold(db, "secretword")
        purge_all(db)
        assert not bytes_hold(db, "secretword")
        assert bytes_hold(db, "1qtea")
        taken, begun, merged = upkeep(db)
        assert taken == begun == merged

    def test_merge_is_done_once_for_all_removals_before_it(self, db: Database) -> None:
        db.add("a", long("tea"))
        db.update("a", content=long("milk"))
        db.update("a", seconds=2, content=long("juice"))
        first = upkeep(db)
        purge_all(db)
        assert upkeep(db) == (first[0], first[0], first[0])
        assert purge_all(db) == 1

    def test_removal_behind_the_beginning_of_a_merge_counts_once(self, db: Database) -> None:
        db.add("a", long("tea"))
        purge_all(db)
        before = upkeep(db)
        db.update("a", content=long("milk"))
        db.update("a", seconds=2, content=long("juice"))
        assert upkeep(db)[0] == before[0] + (before[0] == before[1])
        assert upkeep(db)[0] != upkeep(db)[2]

    def test_removal_during_a_merge_is_left_to_the_next(self, db: Database) -> None:
        db.connection.execute("update upkeep set taken = 5, begun = 4, merged = 4")
        run = Purge()
        db.run(run.some())
        db.run(_one(purge.taken_out()))
        assert upkeep(db) == (6, 5, 5)

    def test_index_of_many_levels_is_filled_again(self, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(purge, "MOST_LEVELS", 1)
        fill(db, WAIT_AT_MOST)
        db.add("b", long("tea"), user_id="bob")
        db.run(write.delete("ann0", "ann", stamp(1)))
        words = db.indexed_words()
        run = Purge()
        assert db.run(run.some())
        assert (db.indexed_words(), upkeep(db)[1]) == ({}, -1)
        assert db.run(run.some())
        assert db.indexed_words() == words
        assert upkeep(db)[1] == -4
        taken = upkeep(db)[0]
        assert db.run(run.some())
        assert upkeep(db)[:2] == (taken + 1, taken)

    def test_free_pages_are_cut_off(self, db: Database) -> None:
        for number in range(40):
            db.add(f"a{number}", f"{number} " + "x" * 8_000)
        pages = db.value("pragma page_count")
        for number in range(1, 40):
            db.run(write.delete(f"a{number}", "ann", stamp(1)))
        assert db.value("pragma freelist_count") > 20
        purge_all(db)
        assert db.value("pragma freelist_count") == 0
        assert db.value("pragma page_count") < pages / 2

    def test_pages_are_cut_off_some_at_a_time(self, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(10):
            db.add(f"a{number}", f"{number} " + "x" * 8_000)
        for number in range(1, 10):
            db.run(write.delete(f"a{number}", "ann", stamp(1)))
        purge_all(db)
        db.connection.execute("create table t(x)")
        db.connection.execute("insert into t values(zeroblob(400000))")
        db.connection.execute("delete from t")
        free = db.value("pragma freelist_count")
        monkeypatch.setattr(purge, "AT_ONCE", 30)
        run = Purge()
        assert db.run(run.some())
        assert db.value("pragma freelist_count") == free - 30
        assert 1 + next(number for number in count(1) if not db.run(run.some())) == -(-free // 30)
        assert db.value("pragma freelist_count") == 0

    def test_merge_goes_on_from_transaction_to_transaction(self, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(purge, "AT_ONCE", 1)
        for number in range(4):
            db.add(f"a{number}", " ".join(f"w{number}x{i}" for i in range(700)))
        db.run(write.delete("a0", "ann", stamp(1)))
        assert purge_all(db) > 4
        assert not bytes_hold(db, "w0x")
        taken, begun, merged = upkeep(db)
        assert taken == begun == merged


def _one(query: Query) -> Steps[list[Row]]:
    return (yield query)


class TestSparingly:
    """Steps that delete on a full disk."""

    def test_only_the_order_to_overwrite_is_another(self) -> None:
        def steps() -> Steps[str]:
            first = yield OVERWRITE
            second = yield Query("select 1")
            yield OVERWRITE_CHEAPLY
            return f"{first} {second}"

        run = sparingly(steps())
        assert next(run) is OVERWRITE_CHEAPLY
        assert run.send([(1,)]) == Query("select 1")
        assert run.send([(2,)]) is OVERWRITE_CHEAPLY
        with pytest.raises(StopIteration) as stopped:
            run.send([])
        assert stopped.value.value == "[(1,)] [(2,)]"

    def test_steps_are_closed_with_it(self) -> None:
        closed = []

        def steps() -> Steps[None]:
            try:
                yield OVERWRITE
            finally:
                closed.append(True)

        run = sparingly(steps())
        next(run)
        run.close()
        assert closed == [True]
