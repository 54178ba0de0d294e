"""Adds that come at the same moment share a transaction, and no caller notices but by the time it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from openmem import AsyncMemory, DeadlineExceededError, InvalidRequestError, MemoryRecord, OMPError, ProviderError
from openmem.errors import ProviderUnavailableError
from openmem.providers import ProviderName
from openmem.testing import HashEmbedder
from tests.postgres_observer import Observer
from tests.promised_errors import fails

AT_ONCE = 0.25
USERS = 7
TRANSACTIONS = "select count(distinct xmin::text) from openmem.memories"
NO_ENTRY = """
    select count(*) from openmem.memories m where not exists(
      select from openmem.audit a where a.bucket = m.bucket and a.user_id = m.user_id and a.memory_id = m.id
        and a.action = 'add' and a.at = m.created_at and a.xmin = m.xmin)
"""


@pytest.fixture
async def memory(postgres_url: str) -> AsyncIterator[AsyncMemory]:
    """A memory whose tables exist."""
    async with AsyncMemory("postgres", url=postgres_url, embedder=HashEmbedder(16)) as memory:
        yield memory


@pytest.fixture
def observer(postgres_url: str) -> Observer:
    """Looks on over connections of its own."""
    return Observer(postgres_url)


async def look(act: Callable[..., Any], *args: Any) -> Any:
    """Use the observer beside the loop."""
    return await asyncio.to_thread(act, *args)


def start(memory: AsyncMemory, count: int, **options: Any) -> list[asyncio.Task[MemoryRecord]]:
    """Start adds for several users."""
    return [
        asyncio.create_task(memory.add(content=f"note {number}", user_id=f"user {number % USERS}", **options))
        for number in range(count)
    ]


async def stored(observer: Observer) -> list[str]:
    found = await look(observer.rows, "select content from openmem.memories order by substr(content, 6)::int")
    return [row[0] for row in found]


async def test_hundred_adds_at_once_need_few_transactions(memory: AsyncMemory, observer: Observer) -> None:
    records = await asyncio.gather(*start(memory, 100, tags=["x"], source={"app": "mail"}))
    assert [record.content for record in records] == [f"note {number}" for number in range(100)]
    assert await look(observer.value, TRANSACTIONS) <= 6
    assert await look(observer.value, NO_ENTRY) == 0
    assert await look(observer.value, "select count(distinct request_id) from openmem.audit") == 100
    for record in records[::9]:
        assert await memory.get(record.id, user_id=record.user_id) == record
    assert (await memory.search("note 42", "user 0", limit=1))[0].memory == records[42]


async def test_without_vectors_they_are_grouped_too(postgres_url: str, observer: Observer) -> None:
    async with AsyncMemory("postgres", url=postgres_url, embedder="none") as memory:
        await asyncio.gather(*start(memory, 50))
    assert await look(observer.value, TRANSACTIONS) <= 6
    assert len(await stored(observer)) == 50


async def test_switched_off_each_has_its_own_transaction(postgres_url: str, observer: Observer) -> None:
    async with AsyncMemory("postgres", url=postgres_url, embedder="none", group_adds=False) as memory:
        await asyncio.gather(*start(memory, 30))
    assert await look(observer.value, TRANSACTIONS) == 30


async def test_keys_and_predecessors_keep_their_own_transaction(memory: AsyncMemory, observer: Observer) -> None:
    old = await memory.add(content="note 0", user_id="ann")
    await asyncio.gather(
        *(memory.add(content="note 1", user_id="ann", key="one") for _ in range(3)),
        *(memory.add(content=f"note {n}", user_id="ann", supersedes=[old.id]) for n in (2, 3)),
    )
    assert await stored(observer) == ["note 0", "note 1", "note 2", "note 3"]
    assert [item.content for item in (await memory.list("ann")).items if item.version == 3] == ["note 1"]


async def test_bad_row_fails_alone(memory: AsyncMemory, observer: Observer) -> None:
    await look(observer.rows, "alter table openmem.memories add constraint no_13 check (content <> 'note 13')")
    done = await asyncio.gather(*start(memory, 40), return_exceptions=True)
    wrong = [number for number, found in enumerate(done) if isinstance(found, BaseException)]
    assert wrong == [13]
    assert isinstance(done[13], ProviderError)
    assert done[13].details == {"sqlstate": "23514", "constraint": "no_13"}
    assert done[13].request_id
    assert await stored(observer) == [f"note {number}" for number in range(40) if number != 13]
    assert await look(observer.value, NO_ENTRY) == 0


async def until_waiting(memory: AsyncMemory, count: int) -> None:
    provider: Any = memory._provider
    async with asyncio.timeout(5.0):
        while len(provider._singles._waiting) != count:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.001)


async def under_way(memory: AsyncMemory, observer: Observer, **options: Any) -> list[asyncio.Task[MemoryRecord]]:
    """Return tasks of a group that is held up: what went before it has been cancelled."""
    first = start(memory, 2)
    await look(observer.until_held, 2)
    group = start(memory, 5, **options)
    await until_waiting(memory, 5)
    before = await look(observer.value, "select clock_timestamp()")
    for task in first:
        task.cancel()
    await asyncio.wait(first)
    await look(observer.until_held_since, before)
    return group


async def test_cancelled_member_leaves_at_once_and_the_rest_are_stored(memory: AsyncMemory, observer: Observer) -> None:
    with observer.hold():
        group = await under_way(memory, observer)
        group[2].cancel()
        done, _ = await asyncio.wait({group[2]}, timeout=AT_ONCE)
        assert done
        assert group[2].cancelled()
        assert await look(observer.held) == 1
    await asyncio.gather(*group[:2], *group[3:])
    assert await stored(observer) == [f"note {number}" for number in range(5)]
    assert await look(observer.value, NO_ENTRY) == 0


async def test_group_of_cancelled_members_ends_on_the_server(memory: AsyncMemory, observer: Observer) -> None:
    with observer.hold():
        group = await under_way(memory, observer)
        for task in group:
            task.cancel()
        done, _ = await asyncio.wait(group, timeout=AT_ONCE)
        assert len(done) == len(group)
        await look(observer.until_held, 0)
    assert await stored(observer) == []
    await memory.add(content="note 1", user_id="ann")
    assert await stored(observer) == ["note 1"]


async def test_late_member_leaves_at_once_and_the_rest_are_stored(memory: AsyncMemory, observer: Observer) -> None:
    with observer.hold():
        first = start(memory, 2)
        await look(observer.until_held, 2)
        late = asyncio.create_task(memory.add(content="note 100", user_id="ann", timeout=0.3))
        group = start(memory, 5)
        with fails(DeadlineExceededError, within=0.3 + AT_ONCE):
            await late
    await asyncio.gather(*first, *group)
    assert len(await stored(observer)) == 7  # the late one had not begun


async def test_lost_connection_is_reported_to_each_and_nothing_is_doubled(
    memory: AsyncMemory, observer: Observer
) -> None:
    with observer.hold():
        group = await under_way(memory, observer)
        await look(observer.terminate)
        done = await asyncio.gather(*group, return_exceptions=True)
    assert {type(found) for found in done} == {ProviderUnavailableError}
    ids = {found.request_id for found in done if isinstance(found, OMPError)}
    assert len(ids) == len(group)
    assert await stored(observer) == []
    await asyncio.gather(*start(memory, 5))
    assert len(await stored(observer)) == 5


async def test_closing_ends_those_who_wait_and_leaves_no_task(postgres_url: str) -> None:
    observer = Observer(postgres_url)
    memory = AsyncMemory("postgres", url=postgres_url, embedder="none")
    await memory.health()
    before = asyncio.all_tasks()
    with observer.hold():
        tasks = start(memory, 20)
        await look(observer.until_held, 2)
        await asyncio.wait_for(memory.close(), 5.0)
        done = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(found) for found in done} == {ProviderUnavailableError}
    assert asyncio.all_tasks() <= before
    assert await stored(observer) == []


async def test_loop_that_ends_while_adds_wait_does_not_hang(memory: AsyncMemory, observer: Observer) -> None:
    with observer.hold():
        tasks = start(memory, 20)
        await look(observer.until_held, 2)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:  # as `asyncio.run` does at its end
            task.cancel()
        done, pending = await asyncio.wait(tasks, timeout=5.0)
    assert not pending
    assert all(task.cancelled() for task in done)
    assert await stored(observer) == []


async def test_option_is_checked(postgres_url: str) -> None:
    with fails(InvalidRequestError, "group_adds", within=1.0):
        AsyncMemory(ProviderName("postgres"), url=postgres_url, group_adds="no")
