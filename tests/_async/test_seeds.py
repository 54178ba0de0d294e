"""An `add` with a seed can be sent again: it is stored once, and answered alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from openmem import Access, AsyncMemory, IdempotencySeed, InvalidRequestError, MemoryItem, ProviderError, parse_grant
from openmem._io.concurrency.primitives import async_gather
from openmem.testing import HashEmbedder

AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
SEED = IdempotencySeed(AT, 4711)


@pytest.fixture(params=["sqlite", "postgres"])
async def memory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncMemory]:
    """A store without a user yet."""
    name = request.param
    url = request.getfixturevalue("postgres_url") if name == "postgres" else f"sqlite:///{tmp_path / 'a.db'}"
    async with AsyncMemory(name, url=url, embedder=HashEmbedder(16)) as memory:
        yield memory


async def count(memory: AsyncMemory, user_id: str = "ann") -> int:
    return len((await memory.list(user_id, include_superseded=True)).items)


async def test_same_add_twice_is_one_memory(memory: AsyncMemory) -> None:
    first = await memory.for_caller(seed=SEED, request_id="one").add(content="likes tea", user_id="ann", tags=["t"])
    again = await memory.for_caller(seed=SEED, request_id="two").add(content="likes tea", user_id="ann", tags=["t"])
    assert first == again == await memory.get(first.id)
    assert first.created_at == AT
    assert await count(memory) == 1
    assert [entry.request_id for entry in await memory.audit("ann") if entry.action == "add"] == ["one"]


async def test_another_seed_is_another_memory(memory: AsyncMemory) -> None:
    for seed in (SEED, IdempotencySeed(AT, 4711 + 16), IdempotencySeed(AT + timedelta(milliseconds=1), 4711), None):
        await memory.for_caller(seed=seed).add(content="likes tea", user_id="ann")
    await memory.for_caller(seed=SEED).add(content="likes tea", user_id="bob")
    assert (await count(memory), await count(memory, "bob")) == (4, 1)


async def test_batch_of_several_users_is_repeatable(memory: AsyncMemory) -> None:
    items: list[MemoryItem] = [
        {"content": f"note {number}", "user_id": ("ann", "bob")[number % 2]} for number in range(7)
    ]
    answers = [await memory.for_caller(seed=SEED).add_many(items) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert [record.content for record in answers[0]] == [item["content"] for item in items]
    assert (await count(memory), await count(memory, "bob")) == (4, 3)


async def test_rest_of_a_batch_is_stored_by_the_next_attempt(memory: AsyncMemory) -> None:
    items: list[MemoryItem] = [{"content": f"note {number}", "user_id": "ann"} for number in range(3)]
    first = await memory.for_caller(seed=SEED).add_many(items[:2])
    whole = await memory.for_caller(seed=SEED).add_many(items)
    assert whole[:2] == first
    assert await count(memory) == 3


async def test_add_of_a_memory_that_changed_since_answers_it_as_it_is(memory: AsyncMemory) -> None:
    record = await memory.for_caller(seed=SEED).add(content="likes tea", user_id="ann")
    changed = await memory.update(record.id, content="likes coffee")
    assert await memory.for_caller(seed=SEED).add(content="likes tea", user_id="ann") == changed


async def test_add_of_a_memory_that_was_erased_since_stores_it_again(memory: AsyncMemory) -> None:
    record = await memory.for_caller(seed=SEED).add(content="likes tea", user_id="ann", key="drink")
    await memory.delete(record.id)
    assert await memory.for_caller(seed=SEED).add(content="likes tea", user_id="ann", key="drink") == record


async def test_key_is_replaced_once(memory: AsyncMemory) -> None:
    old = await memory.add(content="likes milk", user_id="ann", key="drink")
    again = partial(
        memory.for_caller(seed=SEED).add, content="likes tea", user_id="ann", key="drink", source={"app": "x"}, tags=[]
    )
    first = await again()
    assert (first.id, first.version) == (old.id, 2)
    assert await again() == first
    newest = await memory.add(content="likes coffee", user_id="ann", key="drink")
    assert newest.version == 3
    assert await again() == newest
    assert {state.content for state in await memory.history(old.id)} == {"likes tea", "likes milk"}


async def test_batch_with_one_key_several_times_is_repeatable(memory: AsyncMemory) -> None:
    items: list[MemoryItem] = [{"content": content, "key": "drink"} for content in ("milk", "tea", "coffee")]
    await memory.for_caller(seed=SEED).add_many(items, user_id="ann")
    await memory.for_caller(seed=SEED).add_many(items, user_id="ann")
    (record,) = (await memory.list("ann")).items
    assert (record.content, record.version) == ("coffee", 3)


async def test_other_content_under_the_key_is_another_change(memory: AsyncMemory) -> None:
    await memory.add(content="likes milk", user_id="ann", key="drink")
    caller = memory.for_caller(seed=SEED)
    assert (await caller.add(content="likes tea", user_id="ann", key="drink")).version == 2
    assert (await caller.add(content="likes coffee", user_id="ann", key="drink")).version == 3


async def test_superseding_is_repeatable_though_the_older_memory_is_gone(memory: AsyncMemory) -> None:
    access = Access("ann", (parse_grant("read:a/*"), parse_grant("write:a/*")))
    old = await memory.add(content="likes milk", user_id="ann", scope="a")
    caller = memory.for_caller(seed=SEED, access=access)
    add = partial(caller.add, content="likes tea", user_id="ann", scope="a", supersedes=[old.id])
    first = await add()
    assert await add() == first
    await memory.delete(old.id)
    assert await add() == first


@pytest.mark.parametrize("key", [None, "drink"])
async def test_repeating_tells_nothing_of_what_became_of_the_memory(memory: AsyncMemory, key: str | None) -> None:
    access = Access("ann", (parse_grant("write:inbox"),))
    if key is not None:
        await memory.add(content="likes milk", user_id="ann", scope="inbox", key=key)
    add = partial(
        memory.for_caller(seed=SEED, access=access).add, content="likes tea", user_id="ann", scope="inbox", key=key
    )
    first = await add()
    await memory.update(first.id, content="secret", scope="health", tags=["secret"])
    assert await add() == first
    assert (await memory.get(first.id)).content == "secret"


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("key", [None, "drink"])
async def test_equal_adds_at_once_are_one_memory(memory: AsyncMemory, key: str | None, existing: bool) -> None:
    if existing:
        await memory.add(content="likes milk", user_id="ann", key=key or "other")
    add: Any = partial(memory.for_caller(seed=SEED).add, content="likes tea", user_id="ann", key=key)
    answers = await async_gather(*[add] * 8)
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].version == (2 if existing and key else 1)
    assert await count(memory) == (2 if existing and not key else 1)


async def test_seed_of_another_user_in_the_same_bucket_is_an_error_and_stores_nothing(memory: AsyncMemory) -> None:
    users = ["user-80", "user-107"]  # of the same bucket
    caller = memory.for_caller(seed=SEED)
    await caller.add(content="likes tea", user_id=users[0])
    if (await memory.health()).provider == "sqlite":
        await caller.add(content="likes tea", user_id=users[1])
    else:
        with pytest.raises(ProviderError):
            await caller.add(content="likes tea", user_id=users[1])
    assert await count(memory, users[0]) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"seed": 5},
        {"access": "read:*"},
        {"app": ""},
        {"request_id": "a b"},
        {"request_id": "x" * 65},
        {"timeout": 0},
    ],
)
async def test_nonsense_is_refused(memory: AsyncMemory, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        memory.for_caller(**given)


async def test_acting_is_the_same_instance_for_another_caller(memory: AsyncMemory) -> None:
    caller = memory.for_caller(app="notes", request_id="r-1", timeout=20)
    async with caller:
        await caller.add(content="likes tea", user_id="ann")
    await caller.close()
    await caller.for_caller(request_id="r-2").list("ann")
    assert [(entry.app, entry.request_id) for entry in await memory.audit("ann")] == [
        ("notes", "r-2"),
        ("notes", "r-1"),
    ]
    assert repr(caller) == repr(memory)


async def test_access_cannot_be_exchanged(memory: AsyncMemory) -> None:
    narrow = Access("ann", (parse_grant("read:a"),))
    caller = memory.for_caller(access=narrow)
    with pytest.raises(InvalidRequestError, match="another caller"):
        caller.for_caller(access=Access(None, (parse_grant("admin:*"),)))
    assert (await caller.for_caller(app="x", access=narrow).list("ann")).items == []


async def test_callers_end_with_their_instance(tmp_path: Path) -> None:
    memory = AsyncMemory("sqlite", url=f"sqlite:///{tmp_path / 'b.db'}", embedder="none")
    caller = memory.for_caller(app="x")
    await caller.add(content="likes tea", user_id="ann")
    await memory.close()
    with pytest.raises(RuntimeError, match="closed"):
        await caller.list("ann")


async def test_entries_of_one_request_do_not_get_into_each_others_way(memory: AsyncMemory) -> None:
    caller = memory.for_caller(request_id="the-same-id-for-all")
    await async_gather(*[partial(caller.list, "ann")] * 20)
    assert len(await memory.audit("ann")) == 20
