"""A purge of the file: the index of words is merged or filled again, and free pages are cut off."""

from __future__ import annotations

from itertools import count

import pytest

from openmem._sql.sqlite import purge, write
from openmem._sql.sqlite.indexing import LONG, WAIT_AT_MOST
from openmem._sql.sqlite.purge import OVERWRITE, OVERWRITE_CHEAPLY, Purge, sparingly
from openmem._sql.steps import Query, Row, Steps
from tests.pure.sqlite_steps.database import Database, incoming, stamp


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


class TestEnd:
    """The end of a purge, with the numbers of a database that is played."""

    @staticmethod
    def play(*answers: int) -> bool:
        """Run `some` where nothing is to be merged; the answers are the numbers of free pages."""
        steps, given = Purge().some(), [*answers]
        rows: list[Row] = []
        try:
            next(steps)
            while True:
                statement = steps.send(rows)
                assert isinstance(statement, Query)
                rows = [(given.pop(0),)] if "freelist" in statement.sql else [(1, 1, 1)]
        except StopIteration as stop:
            assert not given
            return bool(stop.value)

    @pytest.mark.parametrize(
        ("free", "left", "more"), [(9, 1, True), (9, 8, True), (9, 0, False), (9, 9, False), (1, 0, False)]
    )
    def test_more_is_left_while_pages_are_free_and_become_fewer(self, free: int, left: int, more: bool) -> None:
        assert self.play(free, left) is more

    def test_nothing_is_moved_where_no_page_is_free(self) -> None:
        assert self.play(0) is False

    @pytest.mark.parametrize(("changes", "more"), [(0, False), (1, False), (2, True), (3, True)])
    def test_merge_is_done_once_a_step_changes_fewer_than_two_rows(self, changes: int, more: bool) -> None:
        steps = purge._merge_some(5)
        next(steps)
        assert steps.send([(100,)]) == Query("insert into word_index(word_index, rank) values('merge', ?)", (5,))
        steps.send([])
        with pytest.raises(StopIteration) as stopped:
            steps.send([(100 + changes,)])
        assert stopped.value.value is more

    def test_index_is_looked_at_once_in_a_run(self, db: Database) -> None:
        db.add("a", long("tea"))
        sent: list[str] = []
        db.connection.set_trace_callback(sent.append)
        run = Purge()
        db.run(run.some())
        db.run(run.some())
        assert sum("from upkeep" in text for text in sent) == 1


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
