"""Two transactions of one user that compute from the links between memories at once, each by a schedule of its own.

Another connection, the blocker, holds one of them up where it would miss what the other does. That it went wrong once
is why each of them is here: a memory was hidden by links that were gone, or shown beside what supersedes it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from openmem import AsyncMemory
from openmem._model.access import Access
from openmem._model.ids import new_memory_ids
from openmem._model.scopes import parse_grant
from openmem.types import MemoryRecord
from tests.postgres_observer import Observer, until

HOLD_ENTRIES = "lock table openmem.audit in share mode"
HOLD_MEMORY = "select 1 from openmem.memories where id = %s for update"
TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
async def memory(postgres_url: str) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory(url=postgres_url, embedder="none") as memory:
        await memory.health()
        yield memory


@pytest.fixture
def blocker(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url) as connection:
        yield connection


@contextmanager
def checked(url: str) -> Iterator[Observer]:
    """Check at the end of the block that what hides each memory is what the links say."""
    observer = Observer(url)
    yield observer
    links = "openmem.supersessions s where s.old_id = m.id and s.user_id = m.user_id and s.void is not true"
    wrong = f"""
        select m.id from openmem.memories m
        where m.superseded_at is distinct from (select min(s.since) from {links})
          or m.superseded_now is distinct from (select bool_or(s.at_once) from {links})
    """
    assert observer.rows(wrong) == []


async def at_once(observer: Observer, release: Callable[[], Any], *calls: Coroutine[Any, Any, Any]) -> None:
    """Start calls one after the other, each once the one before is held up; let them go when all are."""
    tasks = []
    for number, call in enumerate(calls, 1):
        tasks.append(asyncio.create_task(call))
        await asyncio.to_thread(until, partial(is_held_up, observer, number, tasks[-1]))
    release()
    await asyncio.gather(*tasks)


def is_held_up(observer: Observer, number: int, last: asyncio.Task[Any]) -> bool:
    return observer.held() >= number or last.done()


async def add(memory: AsyncMemory, **fields: Any) -> str:
    return (await memory.add(content="tea", user_id="ann", **fields)).id


def record_to_come() -> tuple[str, str]:
    """Return the id and the line of a memory that is not stored yet."""
    [id_] = new_memory_ids(["ann"], datetime.now(UTC), 7)
    record = MemoryRecord(id=id_, content="old tea", user_id="ann", created_at=datetime.now(UTC))
    return id_, json.dumps({"memory": record.model_dump(mode="json", exclude_none=True)})


async def shown(memory: AsyncMemory) -> set[str]:
    return {record.id for record in (await memory.list("ann", limit=100)).items}


async def test_links_that_go_together_leave_nothing_hidden(
    memory: AsyncMemory, postgres_url: str, blocker: psycopg.Connection[Any]
) -> None:
    old = await add(memory)
    newer = [await add(memory, supersedes=[old]) for _ in range(2)]
    with checked(postgres_url) as observer:
        blocker.execute(HOLD_MEMORY, (old,))
        await at_once(observer, blocker.rollback, *(memory.update(id_, supersedes=None) for id_ in newer))
    assert await shown(memory) == {old, *newer}


async def test_memories_that_go_together_leave_nothing_hidden(
    memory: AsyncMemory, postgres_url: str, blocker: psycopg.Connection[Any]
) -> None:
    old = await add(memory)
    newer = [await add(memory, supersedes=[old]) for _ in range(2)]
    with checked(postgres_url) as observer:
        blocker.execute(HOLD_MEMORY, (old,))
        await at_once(observer, blocker.rollback, *(memory.delete(id_) for id_ in newer))
    assert await shown(memory) == {old}


@pytest.mark.parametrize("limited", [False, True])
async def test_link_that_comes_while_another_goes_hides(
    memory: AsyncMemory, postgres_url: str, blocker: psycopg.Connection[Any], limited: bool
) -> None:
    old = await add(memory, scope="work")
    gone = await add(memory, scope="work", supersedes=[old])
    caller = memory
    if limited:
        caller = memory.for_caller(access=Access("ann", (parse_grant("read:work"), parse_grant("write:work"))))
    with checked(postgres_url) as observer:
        blocker.execute(HOLD_MEMORY, (old,))
        newer = caller.add(content="tea", user_id="ann", scope="work", supersedes=[old])
        await at_once(observer, blocker.rollback, memory.delete(gone), newer)
    assert old not in await shown(memory)


async def test_links_of_the_past_and_the_future_that_come_together_both_count(
    memory: AsyncMemory, postgres_url: str, blocker: psycopg.Connection[Any]
) -> None:
    old = await add(memory)
    with checked(postgres_url) as observer:
        blocker.execute(HOLD_MEMORY, (old,))
        both = (add(memory, supersedes=[old], valid_from=begin) for begin in (None, TOMORROW))
        await at_once(observer, blocker.rollback, *both)
    assert old not in await shown(memory)


@pytest.mark.parametrize("first", ["link", "import"])
async def test_memory_that_is_imported_beside_what_supersedes_it_is_hidden(
    memory: AsyncMemory, postgres_url: str, blocker: psycopg.Connection[Any], first: str
) -> None:
    id_, line = record_to_come()
    with checked(postgres_url) as observer:
        blocker.execute(HOLD_ENTRIES)
        calls = [add(memory, supersedes=[id_]), memory.import_([line])]
        await at_once(observer, blocker.rollback, *(calls if first == "link" else reversed(calls)))
    assert id_ not in await shown(memory)


async def test_update_beside_an_import_of_what_it_supersedes_hides_it(
    memory: AsyncMemory, postgres_url: str, blocker: psycopg.Connection[Any]
) -> None:
    id_, line = record_to_come()
    newer = await add(memory)
    with checked(postgres_url) as observer:
        blocker.execute(HOLD_ENTRIES)
        await at_once(observer, blocker.rollback, memory.update(newer, supersedes=[id_]), memory.import_([line]))
    assert await shown(memory) == {newer}


async def test_erasing_all_beside_what_links_them_leaves_no_link_of_what_is_gone(
    memory: AsyncMemory, postgres_url: str, blocker: psycopg.Connection[Any]
) -> None:
    ids = [await add(memory) for _ in range(3)]
    with checked(postgres_url) as observer:
        blocker.execute(HOLD_MEMORY, (ids[0],))
        await at_once(observer, blocker.rollback, memory.delete_all("ann"), add(memory, supersedes=[ids[0]]))
        left = await shown(memory)
        names = {row[0] for row in observer.rows("select new_id from openmem.supersessions")}
    assert names == left
    assert len(left) == 1


async def test_change_of_a_memory_that_gets_its_first_link_meanwhile_keeps_what_it_supersedes_hidden(
    memory: AsyncMemory, postgres_url: str, blocker: psycopg.Connection[Any]
) -> None:
    old, newer = await add(memory), await add(memory)
    with checked(postgres_url) as observer:
        blocker.execute(HOLD_MEMORY, (newer,))
        calls = memory.update(newer, supersedes=[old]), memory.update(newer, content="green tea")
        await at_once(observer, blocker.rollback, *calls)
    record = await memory.get(newer)
    assert record.supersedes == [old]
    assert await shown(memory) == {newer}


async def test_key_whose_memory_is_erased_meanwhile_is_stored_again(
    memory: AsyncMemory, postgres_url: str, blocker: psycopg.Connection[Any]
) -> None:
    gone = await add(memory, key="tea")
    blocker.execute(HOLD_MEMORY, (gone,))
    blocker.execute("delete from openmem.memories where id = %s", (gone,))
    await at_once(Observer(postgres_url), blocker.commit, add(memory, key="tea"))
    assert len(await shown(memory) - {gone}) == 1
    assert len(await memory.audit("ann")) == 3


async def test_records_that_are_erased_while_an_import_overwrites_them_are_stored_again(
    memory: AsyncMemory, postgres_url: str, blocker: psycopg.Connection[Any]
) -> None:
    gone = await add(memory, key="tea")
    lines = (await memory.export("ann")).lines
    blocker.execute(HOLD_MEMORY, (gone,))
    blocker.execute("delete from openmem.memories where id = %s", (gone,))
    reports: list[Any] = []

    async def overwrite() -> None:
        reports.append(await memory.import_(lines, conflict="overwrite"))

    await at_once(Observer(postgres_url), blocker.commit, overwrite())
    assert (reports[0].imported, reports[0].overwritten) == (1, 0)
    assert await shown(memory) == {gone}


async def test_equal_imports_at_once_store_each_record_once(memory: AsyncMemory) -> None:
    for _ in range(5):
        await add(memory, key=None)
    lines = [line.replace('"ann"', '"bob"') for line in (await memory.export("ann")).lines]
    reports = await asyncio.gather(*(memory.import_(lines) for _ in range(6)))
    assert sum(report.imported for report in reports) == 5
    assert sum(report.skipped for report in reports) == 25
    assert len((await memory.list("bob", limit=100)).items) == 5
