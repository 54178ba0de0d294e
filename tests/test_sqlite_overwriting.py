"""Whether SQLite overwrites what is deleted is said to it when that changes, and not for every statement."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from openmem._io.concurrency.call import Deadline
from openmem._io.sqlite.connections import SqliteStore
from openmem._io.sqlite.errors import CancelToken
from openmem._sql.sqlite.purge import OVERWRITE, OVERWRITE_CHEAPLY
from openmem._sql.steps import Query, Steps

ON, FAST = 1, 2


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(str(tmp_path / "memories.db"))
    yield made
    made.close()


def in_force(*said: Query) -> Steps[list[int]]:
    found = []
    for statement in said:
        yield statement
        rows = yield Query("pragma secure_delete")
        found.append(rows[0][0])
    return found


def test_each_of_the_two_is_in_force_from_where_it_is_said(store: SqliteStore) -> None:
    token = CancelToken(Deadline())

    assert store.write(in_force(OVERWRITE, OVERWRITE), token) == [ON, ON]
    assert store.write(in_force(OVERWRITE, OVERWRITE_CHEAPLY, OVERWRITE), token) == [ON, FAST, ON]
    assert store.write(in_force(OVERWRITE_CHEAPLY), token) == [FAST]


def test_a_transaction_that_fails_leaves_no_doubt_about_it(store: SqliteStore) -> None:
    token = CancelToken(Deadline())

    def failing() -> Steps[None]:
        yield OVERWRITE
        raise KeyError("anything")

    with pytest.raises(KeyError):
        store.write(failing(), token)

    assert store.write(in_force(OVERWRITE_CHEAPLY, OVERWRITE), token) == [FAST, ON]


def test_a_new_connection_is_told_again(store: SqliteStore) -> None:
    token = CancelToken(Deadline())
    store.write(in_force(OVERWRITE), token)
    store.pause()
    store.resume()

    assert store.write(in_force(OVERWRITE), token) == [ON]


def test_it_is_said_once_for_many_transactions_of_the_same_kind(store: SqliteStore) -> None:
    token = CancelToken(Deadline())
    store.write(in_force(OVERWRITE), token)
    run: list[str] = []
    connection = store.lock_writer(token)
    connection.set_trace_callback(run.append)
    store.unlock_writer()

    for _ in range(3):
        store.write(in_force(OVERWRITE), token)

    assert run
    assert [statement for statement in run if "secure_delete=" in statement] == []
