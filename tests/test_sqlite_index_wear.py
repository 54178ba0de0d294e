"""The index of words wears out by its merges, and is filled again in time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from openmem import Memory
from openmem._sql.sqlite import purge
from openmem._sql.sqlite.word_index import empty, first_number
from openmem.types import ErasureReceipt

COUNTS = {"ann": 1_500, "bob": 3, "cat": 70}


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def levels_of(store_path: Path) -> int:
    """Return how many levels FTS5 counts in the index of words."""
    with closing(sqlite3.connect(store_path)) as file:
        return first_number(file.execute("select block from word_index_data where id = 10").fetchone()[0][4:])


def wear(store_path: Path, times: int) -> None:
    """Merge the whole index again and again, as erasures do, with something new in it each time."""
    with closing(sqlite3.connect(store_path, isolation_level=None)) as file:
        for number in range(times):
            file.execute("insert into word_index(rowid, words) values(?, 'a b c')", (-2 - number,))
            for pages in (-500, 500, 500):
                file.execute("insert into word_index(word_index, rank) values('merge', ?)", (pages,))


def fill(memory: Memory) -> None:
    for user, count in COUNTS.items():
        memory.add_many([{"content": f"{user} fact{number} tea"} for number in range(count)], user_id=user)


def check(memory: Memory) -> None:
    """Search for what `fill` stored."""
    for user, count in COUNTS.items():
        assert len(memory.search("tea", user, limit=100, mode="keyword")) == min(count, 100)
        assert memory.search(f"fact{count - 1}", user, mode="keyword")[0].memory.content.startswith(user)


def visit(memory: Memory) -> ErasureReceipt:
    """Let a user come, store something, and be erased."""
    memory.add_many([{"content": "fleeting words"}] * 70, user_id="guest")
    return memory.delete_all("guest")


@pytest.mark.parametrize("at_once", [100, 1_499, 10_000])
def test_index_is_filled_again_before_erasures_wear_it_out(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(purge, "MOST_LEVELS", 6)
    monkeypatch.setattr(purge, "ENTERED_AT_ONCE", at_once)
    with Memory(url=store_path, embedder="none") as memory:
        fill(memory)
        worn = []
        for _ in range(8):
            assert visit(memory).complete
            worn.append(levels_of(store_path))
            check(memory)
        assert worn[0] < worn[1]
        assert max(worn) <= 8
    assert b"fleeting" not in store_path.read_bytes()


def test_index_that_is_nearly_worn_out_is_filled_again_in_time(store_path: Path) -> None:
    with Memory(url=store_path, embedder="none") as memory:
        fill(memory)
        wear(store_path, 700)
        assert levels_of(store_path) >= purge.MOST_LEVELS
        assert visit(memory).purged
        assert levels_of(store_path) < 10
        wear(store_path, 700)  # it would be damaged by now
        check(memory)


def test_index_whose_filling_was_cut_off_is_filled_by_the_next_erasure(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "ENTERED_AT_ONCE", 100)
    with Memory(url=store_path, embedder="none") as memory:
        fill(memory)
    with closing(sqlite3.connect(store_path)) as file, file:  # as a process leaves it that is killed in the middle
        file.execute("insert into word_index(word_index) values('delete-all')")
        file.execute("update users set indexed = 0")
        file.execute("update upkeep set begun = -1")
    with Memory(url=store_path, embedder="none") as memory:
        check(memory)
        assert visit(memory).purged
        check(memory)
    with closing(sqlite3.connect(store_path)) as file:
        waiting = "select count(*) from memories join users using(user_no) where rid > indexed"
        assert file.execute(waiting).fetchone() == (0,)
        assert file.execute("select begun >= 0, taken = merged from upkeep").fetchone() == (1, 1)
    assert b"fleeting" not in store_path.read_bytes()


def test_search_beside_an_index_that_is_filled_again_finds_what_is_cached(store_path: Path) -> None:
    """The cache said which memories wait for the index, and nothing told it that all of them do again."""
    with Memory(url=str(store_path), embedder="none") as memory:
        memory.add_many([{"content": f"green tea {number}"} for number in range(70)], user_id="ann")
        assert len(memory.search("tea", "ann", limit=100)) == 70
        with closing(sqlite3.connect(store_path)) as connection:
            for statement in empty():
                connection.execute(statement.sql, statement.params)  # type: ignore[union-attr]
            connection.commit()
        assert len(memory.search("tea", "ann", limit=100)) == 70
