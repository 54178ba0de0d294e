"""Steps that move a store to another embedding model."""

from __future__ import annotations

import pytest

from openmem._sql.sqlite import reembed, write, writer
from openmem._sql.sqlite.reembed import Pending
from openmem._sql.writing import Model
from openmem.errors import InvalidRequestError
from tests.pure.sqlite_steps.database import AT, FIRST, MODEL, SECOND, Database, blob, stamp

LARGE = Model("large", 3)


@pytest.fixture
def full(db: Database) -> Database:
    db.add("a", "one", vector=(1, 0))
    db.add("b", "two")
    db.add("c", "three", user_id="bob", vector=(0, 1))
    return db


def store(db: Database, number: int, batch: list[Pending], cut: set[int] | None = None, seconds: float = 5) -> int:
    blobs = [blob(1, 0, place) for place in range(len(batch))]
    return db.run(reembed.store(number, batch, blobs, cut or set(), stamp(seconds)))


def counters(db: Database) -> list[tuple[int, int, float]]:
    rows = db.rows("select epoch, vector_epoch, clock from users order by user_no")
    return [(epoch, vectors, (clock - AT) / SECOND if clock else 0) for epoch, vectors, clock in rows]


def test_move_begins_with_all_that_lack_a_vector(full: Database) -> None:
    assert full.run(reembed.begin(LARGE)) == (2, 0, 3)
    assert full.run(reembed.begin(MODEL)) == (1, 2, 3)
    assert full.run(reembed.pending(1, 0, 10)) == [Pending(FIRST + 2, 1, "two")]
    assert [item.content for item in full.run(reembed.pending(2, 0, 2))] == ["one", "two"]
    assert [item.content for item in full.run(reembed.pending(2, FIRST + 2, 2))] == ["three"]


def test_vectors_are_stored_beside_the_old_ones(full: Database) -> None:
    number, _, _ = full.run(reembed.begin(LARGE))
    batch = full.run(reembed.pending(number, 0, 10))
    assert store(full, number, batch) == 3
    assert full.rows("select rid, vector from vectors_2") == [(item.rid, blob(1, 0, n)) for n, item in enumerate(batch)]
    assert full.value("select count(*) from vectors_1") == 2
    assert full.column("select model_no from memories") == [2, 2, 2]
    assert full.run(reembed.pending(number, 0, 10)) == []
    assert counters(full) == [(1, 1, 5), (1, 1, 5)]


def test_users_who_are_not_of_the_batch_keep_their_counters(full: Database) -> None:
    number, _, _ = full.run(reembed.begin(LARGE))
    store(full, number, full.run(reembed.pending(number, 0, 2)))
    assert counters(full) == [(1, 1, 5), (0, 0, 0)]
    full.connection.execute("update users set clock = ?", (AT + 60 * SECOND,))
    store(full, number, full.run(reembed.pending(number, 0, 2)))
    assert counters(full) == [(1, 1, 60), (1, 1, 60)]


def test_memory_that_changed_meanwhile_is_left_for_later(full: Database) -> None:
    number, _, _ = full.run(reembed.begin(LARGE))
    batch = full.run(reembed.pending(number, 0, 10))
    full.update("a", content="other")
    full.run(write.delete("b", "ann", stamp(2)))
    assert store(full, number, batch, {0, 1}) == 1
    assert full.column("select rid from vectors_2") == [2 * FIRST + 1]
    assert full.run(reembed.pending(number, 0, 10)) == [Pending(FIRST + 1, 2, "other")]
    assert full.column("select extensions from memories") == [None, None]


def test_batch_has_a_vector_for_each(full: Database) -> None:
    number, _, _ = full.run(reembed.begin(LARGE))
    batch = full.run(reembed.pending(number, 0, 10))
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        full.run(reembed.store(number, batch, [blob(1, 0, 0)], set(), stamp(5)))


def test_memories_whose_text_was_cut_say_so_and_others_do_not(db: Database) -> None:
    db.add("a", "one", extensions={"x-a": 1})
    db.add("b", "two")
    db.add("c", "three", extensions={"x-openmem": {"embedding_truncated": True}, "x-a": 2})
    db.add("d", "four", extensions={"x-a": "embedding_truncated"})
    db.add("e", "five", extensions={"x-openmem": {"embedding_truncated": True}})
    number, _, _ = db.run(reembed.begin(LARGE))
    store(db, number, db.run(reembed.pending(number, 0, 10)), {0, 1})
    assert db.column("select extensions from memories order by rid") == [
        '{"x-a":1,"x-openmem":{"embedding_truncated":true}}',
        '{"x-openmem":{"embedding_truncated":true}}',
        '{"x-a":2}',
        '{"x-a":"embedding_truncated"}',
        None,
    ]


def test_end_drops_the_vectors_of_all_other_models(full: Database) -> None:
    number, _, _ = full.run(reembed.begin(LARGE))
    store(full, number, full.run(reembed.pending(number, 0, 1)))
    full.run(reembed.finish(number, stamp(9)))
    assert full.rows("select model_no, name from models") == [(2, "large")]
    assert full.column("select model_no from memories order by rid") == [2, None, None]
    assert full.column("select name from sqlite_master where name like 'vectors%'") == ["vectors_2"]
    assert counters(full) == [(2, 2, 9), (1, 1, 9)]


def test_model_of_another_length_takes_the_place_of_its_namesake(full: Database) -> None:
    longer = Model("small", 3)
    assert full.run(reembed.begin(longer)) == (2, 0, 3)
    assert full.rows("select * from models") == [(1, "small", 2, 1), (2, "small", 3, 0)]
    full.add("d", "four", model=longer, vector=(1, 0, 0))
    with pytest.raises(InvalidRequestError, match="2 dimensions, but this store's vectors of it have 3"):
        full.add("e", "five", vector=(1, 0))
    assert full.run(reembed.begin(MODEL)) == (1, 2, 4)
    assert full.rows("select * from models") == [(1, "small", 2, 0), (2, "small", 3, 1)]


def test_move_to_a_new_model_retires_none(full: Database) -> None:
    full.run(reembed.begin(LARGE))
    assert full.column("select retired from models") == [0, 0]
    assert full.run(writer.ensure_model(MODEL)) == 1
    assert full.run(writer.model_numbers()) == [1, 2]
