"""The cached arrays of a user, which follow the store."""

from __future__ import annotations

from contextlib import nullcontext

from openmem._retrieval.user_index import OPEN_END, OPEN_START, UserCache
from openmem._sql.sqlite import snapshot, write
from openmem._sql.sqlite.indexing import LONG
from openmem._sql.sqlite.snapshot import UserState
from tests.pure.sqlite_steps.database import AT, FIRST, later, stamp
from tests.pure.sqlite_steps.searching import Searching


def state(store: Searching, user_id: str = "ann") -> UserState:
    found = store.db.run(snapshot.user_state(user_id))
    assert found is not None
    return found


def test_state_tells_what_changed(store: Searching) -> None:
    assert store.db.run(snapshot.user_state("ann")) is None
    store.db.add("a", vector=(1, 0))
    assert state(store) == UserState(1, 0, 0, 0, FIRST + 1, FIRST)
    store.db.update("a", seconds=3, content="x" * LONG)
    now = state(store)
    assert now == UserState(1, 1, 1, AT + 3_000_000, FIRST + 1, FIRST + 1)
    assert (now.version, now.vector_version) == ((1, FIRST + 1), (1, FIRST + 1))


def test_columns_hold_what_rows_do(store: Searching) -> None:
    store.db.add("a", "green tea", scope="s", tags=("x",), vector=(1, 0), valid_from=later(1), valid_to=later(2))
    store.db.add("b", "?", supersedes=("a",), tags=("x", "y z"))
    columns = store.db.run(snapshot.load_columns(state(store), store.cache))
    assert columns.table.T.tolist() == [
        [FIRST + 1, AT, AT + 1_000_000, AT + 2_000_000, AT, 1, 1, columns.column("terms")[0]],
        [FIRST + 2, AT, OPEN_START, OPEN_END, OPEN_END, 0, 0, columns.column("terms")[1]],
    ]
    assert columns.scopes == {1: "s"}
    assert {tag: rids.tolist() for tag, rids in columns.tags.items()} == {
        "x": [FIRST + 1, FIRST + 2],
        "y z": [FIRST + 2],
    }
    assert columns.tag_words == {"x": frozenset({"x"}), "y z": frozenset({"y", "z"})}
    assert columns.waiting["tea"] == (FIRST + 1,)
    assert columns.waiting["x"] == (FIRST + 1, FIRST + 2)
    assert (columns.indexed, columns.version) == (FIRST, (1, FIRST + 2))


def test_new_rows_are_added_to_what_is_known(store: Searching) -> None:
    store.db.add("a", "tea", tags=("x",), scope="s")
    first = store.db.run(snapshot.load_columns(state(store), store.cache))
    assert store.db.run(snapshot.load_columns(state(store), store.cache)) is first
    store.db.connection.execute("update memories set created_at = 0")  # not read again
    store.db.add("b", "tea milk", tags=("x", "y"), scope="t")
    second = store.db.run(snapshot.load_columns(state(store), store.cache))
    assert second.column("rid").tolist() == [FIRST + 1, FIRST + 2]
    assert second.column("created_at").tolist() == [AT, AT]
    assert {tag: rids.tolist() for tag, rids in second.tags.items()} == {
        "x": [FIRST + 1, FIRST + 2],
        "y": [FIRST + 2],
    }
    assert second.scopes == {1: "s", 2: "t"}
    assert second.waiting["tea"] == (FIRST + 1, FIRST + 2)
    assert second.waiting["milk"] == (FIRST + 2,)
    assert first.waiting["tea"] == (FIRST + 1,)


def test_changed_rows_are_read_again(store: Searching) -> None:
    store.db.add("a", "tea", tags=("x",))
    store.db.run(snapshot.load_columns(state(store), store.cache))
    store.db.update("a", content="milk", tags=("y",))
    columns = store.db.run(snapshot.load_columns(state(store), store.cache))
    assert [*columns.tags] == [*columns.tag_words] == ["y"]
    assert set(columns.waiting) >= {"milk"}
    assert "tea" not in columns.waiting


def test_rows_that_the_index_took_in_wait_no_more(store: Searching) -> None:
    store.db.add("a", "tea")
    store.db.run(snapshot.load_columns(state(store), store.cache))
    store.db.add("b", "x" * LONG)
    columns = store.db.run(snapshot.load_columns(state(store), store.cache))
    assert (dict(columns.waiting), columns.indexed) == ({}, FIRST + 2)
    store.db.add("c", "tea")
    columns = store.db.run(snapshot.load_columns(state(store), store.cache))
    assert dict(columns.waiting) == {"tea": (FIRST + 3,)}
    store.db.connection.execute("update users set indexed = 0")  # the index is filled again
    columns = store.db.run(snapshot.load_columns(state(store), store.cache))
    assert columns.waiting["tea"] == (FIRST + 1, FIRST + 3)


def test_older_snapshot_is_read_beside_the_newer(store: Searching) -> None:
    store.db.add("a", "tea", vector=(1, 0))
    old = state(store)
    store.db.update("a", content="milk", vector=(0, 1))
    new = state(store)
    columns = store.db.run(snapshot.load_columns(new, store.cache))
    vectors = store.db.run(snapshot.load_vectors(new, 1, 2, store.cache))
    assert store.db.run(snapshot.load_columns(old, store.cache)).version == old.version
    assert store.db.run(snapshot.load_vectors(old, 1, 2, store.cache)).version == old.vector_version
    assert store.db.run(snapshot.load_columns(new, store.cache)) is columns
    assert store.db.run(snapshot.load_vectors(new, 1, 2, store.cache)) is vectors


def test_vectors_grow_and_are_read_again(store: Searching) -> None:
    store.db.add("z", vector=(1, 0), user_id="bob")
    store.db.add("a", vector=(1, 0))
    first = store.db.run(snapshot.load_vectors(state(store), 1, 2, store.cache))
    assert (first.rids.tolist(), first.matrix.tolist(), first.count) == ([2 * FIRST + 1], [[1, 0]], 1)
    assert store.db.run(snapshot.load_vectors(state(store), 1, 2, store.cache)) is first
    store.db.connection.execute("update vectors_1 set vector = zeroblob(8)")  # not read again
    store.db.add("b", vector=(0, 1))
    second = store.db.run(snapshot.load_vectors(state(store), 1, 2, store.cache))
    assert (second.rids.tolist(), second.matrix.tolist()) == ([2 * FIRST + 1, 2 * FIRST + 2], [[1, 0], [0, 1]])
    store.db.run(write.delete("a", "ann", stamp(2)))
    third = store.db.run(snapshot.load_vectors(state(store), 1, 2, store.cache))
    assert (third.rids.tolist(), third.matrix.tolist(), third.count) == ([2 * FIRST + 2], [[0, 1]], 1)


def test_user_without_vectors_gets_the_first(store: Searching) -> None:
    store.db.add("z", vector=(1, 0), user_id="bob")
    store.db.add("a")
    assert store.db.run(snapshot.load_vectors(state(store), 1, 2, store.cache)).count == 0
    store.db.add("b", vector=(0, 1))
    vectors = store.db.run(snapshot.load_vectors(state(store), 1, 2, store.cache))
    assert vectors.matrix.tolist() == [[0, 1]]


def test_cache_is_trimmed_to_its_size(store: Searching) -> None:
    store.cache = UserCache(1, nullcontext)
    for user_id in ("ann", "bob"):
        store.db.add("a", vector=(1, 0), user_id=user_id)
        now = state(store, user_id)
        store.db.run(snapshot.load_columns(now, store.cache))
        one = store.cache.nbytes
        store.db.run(snapshot.load_vectors(now, 1, 2, store.cache))
        assert store.cache.nbytes > one > 0
    assert store.cache.entry(1).columns is None
    assert store.cache.entry(2).columns is not None


def test_erasure_drops_what_is_cached_of_its_user(store: Searching) -> None:
    store.db.add("a", "tea")
    store.db.add("b", "tea", user_id="bob")
    assert (store.ids("tea"), store.ids("tea", user_id="bob")) == ("a", "b")
    erased = store.db.run(snapshot.forgetting("ann", store.cache, write.delete("a", "ann", stamp(1))))
    assert erased == "a"
    assert store.cache.entry(1).columns is None
    assert store.cache.entry(2).columns is not None
    run = snapshot.forgetting("eve", store.cache, snapshot.user_state("bob"))
    assert store.db.run(run) == state(store, "bob")
