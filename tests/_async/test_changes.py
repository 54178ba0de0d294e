"""The feed of changes where entries were removed, in stores that were restored or come from before, and among reads."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from openmem import AsyncMemory, InvalidRequestError
from openmem._async.retention import postgres as postgres_retention
from openmem._config.settings import sqlite_path
from openmem._model.access import Access
from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.feed import FeedQuery
from openmem._model.ids import routing_bucket
from openmem._model.scopes import parse_grant
from openmem._sql.postgres.feed import page as page_on_postgres
from openmem._sql.postgres.names import Names
from openmem._sql.sqlite import feed, feed_of_all
from openmem._sql.sqlite.schema import APPLICATION_ID, MIGRATIONS
from openmem.types import Change
from tests.old_rows import age


@pytest.fixture(params=["file", "postgres"])
def place(request: pytest.FixtureRequest, store_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty store of each kind, of which few buckets are looked at."""
    if request.param == "file":
        return store_url
    monkeypatch.setattr(postgres_retention, "ALL_BUCKETS", sorted(map(routing_bucket, ("ann", "bob"))))
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def memory(place: str) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory(url=place, embedder="none", app="kit") as memory:
        yield memory


async def rest(memory: AsyncMemory, user_id: str | None, cursor: str | None = None, limit: int = 3) -> list[Change]:
    """Return what is behind a cursor, in small pages."""
    found: list[Change] = []
    while True:
        page = await memory.changes(user_id, cursor=cursor, limit=limit)
        found += page.items
        cursor = page.next_cursor
        if not page.has_more:
            return found


def ids(changes: list[Change]) -> list[str | None]:
    return [change.memory_id for change in changes]


async def reason(memory: AsyncMemory, user_id: str | None, cursor: str) -> Any:
    """Return why a cursor is refused."""
    with pytest.raises(InvalidRequestError) as caught:
        await memory.changes(user_id, cursor=cursor)
    return (caught.value.details or {}).get("reason")


@pytest.mark.parametrize("user_id", ["ann", None])
async def test_cursor_behind_which_entries_were_removed_is_refused(
    memory: AsyncMemory, place: str, user_id: str | None
) -> None:
    first = await memory.add("one", user_id="ann")
    slow = (await memory.changes(user_id)).next_cursor
    await memory.update(first.id, content="two")
    await memory.add("three", user_id="ann")
    quick = (await memory.changes(user_id, cursor=slow)).next_cursor
    age(place, 40)
    late = await memory.add("four", user_id="ann")
    assert (await memory.maintain(audit_days=30)).entries == 3
    assert await reason(memory, user_id, slow) == "cursor_expired"
    assert ids(await rest(memory, user_id, quick)) == [late.id]
    assert ids(await rest(memory, user_id)) == [late.id]
    end = (await memory.changes(user_id, cursor=quick)).next_cursor
    assert await rest(memory, user_id, end) == []
    age(place, 40)
    await memory.maintain(audit_days=30)
    assert await rest(memory, user_id, end) == []
    last = await memory.add("five", user_id="ann")
    assert ids(await rest(memory, user_id, end)) == [last.id]


async def test_removal_for_one_user_leaves_readers_of_all_what_they_have_not_seen(
    memory: AsyncMemory, place: str
) -> None:
    await memory.add("old", user_id="ann")
    kept = await memory.add("new", user_id="bob")
    age(place, 40, "ann")
    await memory.maintain(audit_days=30)
    assert ids(await rest(memory, None, limit=1)) == [kept.id]


async def test_restored_store_refuses_cursors_of_what_it_has_lost(store_url: str, tmp_path: Path) -> None:
    path, backup = sqlite_path(store_url), tmp_path / "backup.db"
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        await memory.add("one", user_id="ann")
    shutil.copy(path, backup)
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        for number in range(3):
            await memory.add(f"lost {number}", user_id="ann")
        cursors = {user_id: (await memory.changes(user_id)).next_cursor for user_id in ("ann", None)}
    shutil.copy(backup, path)
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        for user_id, cursor in cursors.items():
            assert await reason(memory, user_id, cursor) == "cursor_ahead"


async def test_restored_database_refuses_cursors_of_transactions_to_come(postgres_url: str) -> None:
    async with AsyncMemory(url=postgres_url, embedder="none") as memory:
        await memory.add("one", user_id="ann")
        cursors = {user_id: (await memory.changes(user_id)).next_cursor for user_id in ("ann", None)}
        # As after a restore from a dump: the numbers of transactions begin again, far below those of the cursors.
        forged = {user_id: _ahead(cursor, user_id) for user_id, cursor in cursors.items()}
        for user_id, cursor in forged.items():
            assert await reason(memory, user_id, cursor) == "cursor_ahead"


def _ahead(cursor: str, user_id: str | None) -> str:
    xact, id_, bucket = decode_cursor(cursor, "changes", (int, str, int), (user_id,))
    return encode_cursor("changes", (xact + 1_000_000, id_, bucket), (user_id,))


async def test_entries_of_open_transactions_hold_the_feed_up_and_are_not_skipped(postgres_url: str) -> None:
    async with AsyncMemory(url=postgres_url, embedder="none") as memory:
        first = await memory.add("one", user_id="ann")
        cursor = (await memory.changes("ann")).next_cursor
        with psycopg.connect(postgres_url) as other:
            # It has a number, and will commit an entry after those with higher numbers.
            other.execute("select pg_current_xact_id()")
            later = await memory.add("two", user_id="ann")
            assert await rest(memory, "ann", cursor) == []
            other.execute(
                "insert into openmem.audit(bucket, id, user_id, at, action, memory_id, version) "
                "values(%s, 'e', 'ann', now(), 'update', %s, 2)",
                (routing_bucket("ann"), first.id),
            )
        assert ids(await rest(memory, "ann", cursor)) == [first.id, later.id]


async def test_open_transaction_of_another_database_holds_nothing_up(
    postgres_url: str, empty_postgres_url: str
) -> None:
    async with AsyncMemory(url=postgres_url, embedder="none") as memory:
        with psycopg.connect(empty_postgres_url) as other:
            other.execute("select pg_current_xact_id()")
            record = await memory.add("tea", user_id="ann")
            assert ids(await rest(memory, "ann")) == ids(await rest(memory, None)) == [record.id]


def test_cursor_never_goes_back_though_the_horizon_does() -> None:
    cursor = encode_cursor("changes", (50, "", 0), ("ann",))
    steps = page_on_postgres(Names(), FeedQuery("ann", cursor))
    next(steps)
    nothing: list[tuple[Any, ...]] = [(7, 60, 0, *[None] * 10)]
    for _ in range(2):
        steps.send(nothing)
    with pytest.raises(StopIteration) as stop:
        steps.send(nothing)
    assert stop.value.value.next_cursor == cursor


def test_page_that_finds_nothing_beside_a_running_transaction_looks_again() -> None:
    steps = page_on_postgres(Names(), FeedQuery("ann"))
    next(steps)
    steps.send([(7, 60, 0, *[None] * 10)])
    found = (8, "e1", 1, "ann", datetime(2026, 1, 1, tzinfo=UTC), "app", "add", "mem_1", None, 1)
    with pytest.raises(StopIteration) as stop:
        steps.send([(60, 60, 0, *found)])
    assert ids(stop.value.value.items) == ["mem_1"]


async def test_many_reads_between_changes_are_passed_over(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "LOOKED_AT", 10)
    monkeypatch.setattr(feed_of_all, "SPANS_AT_ONCE", 3)
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        wanted = []
        for _ in range(3):
            wanted.append((await memory.add("tea", user_id="ann")).id)
            for _ in range(25):
                await memory.search("tea", "ann")
        await memory.audit("ann")  # writes what was deferred
        assert ids(await rest(memory, "ann")) == wanted
        assert ids(await rest(memory, None)) == wanted


async def test_rows_that_are_given_again_are_not_skipped(store_url: str) -> None:
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        await memory.add("one", user_id="ann")
        gone = await memory.add("two", user_id="ann")
        cursors = {user_id: (await memory.changes(user_id)).next_cursor for user_id in ("ann", None)}
        await memory.delete(gone.id)
        again = await memory.add("three", user_id="ann")  # in the row that the deleted one had
        for user_id, cursor in cursors.items():
            assert ids(await rest(memory, user_id, cursor)) == [gone.id, again.id]


async def test_store_of_before_has_its_changes_without_versions_of_updates(store_url: str) -> None:
    before = MIGRATIONS[:7]
    with closing(sqlite3.connect(sqlite_path(store_url))) as connection:
        connection.execute("pragma page_size=16384")
        statements = [*sum(before, ()), f"pragma application_id={APPLICATION_ID}", f"pragma user_version={len(before)}"]
        for statement in statements:
            connection.execute(statement)
        at = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1_000_000)
        connection.execute("insert into users(user_no, user_id) values(1, 'ann')")
        entries = [((1 << 32) + n, at, action, "m") for n, action in enumerate(("add", "get", "update"), 1)]
        connection.executemany("insert into journal(entry, at, action, memory_id) values(?, ?, ?, ?)", entries)
        connection.commit()
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        new = await memory.add("tea", user_id="ann")
        found = [(one.action, one.memory_id, one.version) for one in await rest(memory, "ann")]
        assert found == [("add", "m", None), ("update", "m", None), ("add", new.id, 1)]
        assert len(await rest(memory, None)) == 3


async def test_write_notes_once_that_the_feed_of_all_has_more(store_url: str) -> None:
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        for user_id in ("ann", "bob"):
            await memory.add("tea", user_id=user_id)
        assert len(await rest(memory, None)) == 2
        with closing(sqlite3.connect(sqlite_path(store_url))) as connection:
            fed = "select user_id, fed from users order by user_id"
            assert connection.execute(fed).fetchall() == [("ann", 1), ("bob", 1)]
            for _ in range(2):
                await memory.add("more tea", user_id="bob")
            assert connection.execute(fed).fetchall() == [("ann", 1), ("bob", 0)]
            assert connection.execute("select count(*) from feed").fetchone() == (2,)


async def test_hidden_changes_leave_the_page_of_a_caller_as_it_was(memory: AsyncMemory) -> None:
    caller = memory.for_caller(access=Access("ann", (parse_grant("read:home/*"),)))
    empty = await caller.changes("ann")
    await memory.add("hidden", user_id="ann", scope="work")
    assert await caller.changes("ann") == empty
    shown = await memory.add("shown", user_id="ann", scope="home")
    page = await caller.changes("ann", cursor=empty.next_cursor)
    assert ids(page.items) == [shown.id]
    await memory.add("hidden", user_id="ann")
    await memory.delete_all("ann", scope="work/*")
    assert await caller.changes("ann", cursor=page.next_cursor) == page.model_copy(update={"items": []})
    await memory.delete_all("ann", scope="home/kitchen/*")
    [erasure] = await rest(caller, "ann", page.next_cursor)
    assert (erasure.action, erasure.scope) == ("delete_all", "home/kitchen/*")


async def test_memory_that_came_to_a_scope_before_its_erasure_is_told_of(memory: AsyncMemory) -> None:
    record = await memory.add("tea", user_id="ann", scope="home")
    cursor = (await memory.changes("ann")).next_cursor
    await memory.add("coffee", user_id="ann", scope="work")
    await memory.delete_all("ann", scope="work/*")
    await memory.update(record.id, scope="work")
    await memory.delete_all("ann", scope="work/*")
    found = [(one.action, one.scope, one.moved) for one in await rest(memory, "ann", cursor)]
    assert found == [("delete_all", "work/*", None), ("delete_all", "work/*", True)]


async def test_cursors_of_who_sees_a_part_tell_nothing_of_what_the_index_has_seen(memory: AsyncMemory) -> None:
    caller = memory.for_caller(access=Access("ann", (parse_grant("read:home/*"),)))
    await memory.add("seen", user_id="ann", scope="home/a")
    before = await caller.changes("ann")
    for number in range(70):
        await memory.add(f"hidden {number}", user_id="ann", scope="work")
    assert await caller.changes("ann") == before
