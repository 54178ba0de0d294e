"""Bad arguments: the promised error names each, and the store did not notice."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest

from openmem import AsyncMemory, MemoryItem
from openmem.errors import InvalidRequestError
from openmem.testing import HashEmbedder
from tests.bad_calls import AN_ID, EXPORT, PAGE, USER, BadCall, bad_calls

CALLS = list(bad_calls())
VERBS = sorted({call.verb for call in CALLS})
TESTED_ELSEWHERE = {"close", "for_caller", "acting", "iterate", "transfer"}


@pytest.fixture
async def memory(store_url: str) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory(url=store_url, embedder=HashEmbedder(), app="tested") as memory:
        yield memory


@pytest.fixture
async def witness(store_url: str) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory(url=store_url, embedder="none", app="witness") as witness:
        yield witness


@pytest.fixture
async def stand_ins(memory: AsyncMemory) -> dict[str, str]:
    """An id and two cursors of a store with a few memories."""
    items: list[MemoryItem] = [
        {"content": f"tea number {number}", "tags": ["tea"], "scope": "drinks"} for number in range(4)
    ]
    await memory.add_many(items, user_id=USER)
    record = await memory.add(content="likes tea", user_id=USER, key="k", valid_from="2024-01-01T00:00:00+00:00")
    page, export = await memory.list(USER, limit=2), await memory.export(USER, limit=2)
    assert page.next_cursor
    assert export.next_cursor
    return {AN_ID: record.id, PAGE: page.next_cursor, EXPORT: export.next_cursor}


async def fingerprint(memory: AsyncMemory, witness: AsyncMemory) -> tuple[list[str], int]:
    """Everything that is stored, and how long the audit log is without what this look at it adds."""
    entries = await memory.audit(USER, limit=1_000)
    page = await witness.export(limit=500)
    assert page.next_cursor is None
    return page.lines[1:], len([entry for entry in entries if entry.app == "tested"])


async def complaint(memory: AsyncMemory, call: BadCall, stand_ins: dict[str, str]) -> str | None:
    """Return what is wrong with how a call was refused."""
    try:
        result: Any = await getattr(memory, call.verb)(**call.arguments(stand_ins))
    except InvalidRequestError as error:
        unnamed = [name for name in call.names if name not in error.message]
        if unnamed or len(error.message) > 1_000:
            return f"{call}: the message does not name {unnamed}, or is too long: {error.message[:300]!a}"
        return None
    except Exception as error:  # noqa: BLE001 - any other error is the finding
        return f"{call} raised {error!a}"
    return f"{call} returned {result!a:.200}"


def test_table_is_long_and_covers_every_verb() -> None:
    assert len(CALLS) >= 500
    public = {name for name, _ in inspect.getmembers(AsyncMemory, inspect.isfunction) if not name.startswith("_")}
    assert public - {*VERBS} == TESTED_ELSEWHERE


@pytest.mark.parametrize("verb", VERBS)
async def test_bad_value_is_refused_by_name_and_changes_nothing(
    memory: AsyncMemory, witness: AsyncMemory, stand_ins: dict[str, str], verb: str
) -> None:
    before = await fingerprint(memory, witness)
    complaints = [await complaint(memory, call, stand_ins) for call in CALLS if call.verb == verb]
    assert [line for line in complaints if line] == []
    assert await fingerprint(memory, witness) == before


async def test_bad_item_is_named_by_number_too(memory: AsyncMemory, witness: AsyncMemory) -> None:
    items: list[MemoryItem] = [{"content": f"tea {number}"} for number in range(700)]
    items[650] = {"content": ""}
    with pytest.raises(InvalidRequestError, match=r"^items\[650\]: content must not be blank$") as caught:
        await memory.add_many(items, user_id=USER)
    assert caught.value.details == {"index": 650}
    assert await fingerprint(memory, witness) == ([], 0)


async def test_item_that_fails_while_it_is_made_stores_nothing(memory: AsyncMemory, witness: AsyncMemory) -> None:
    def items() -> Any:
        yield {"content": "tea"}
        raise KeyError("of the caller")

    with pytest.raises(KeyError, match="of the caller"):
        await memory.add_many(items(), user_id=USER)
    assert await fingerprint(memory, witness) == ([], 0)


async def test_bad_line_is_named_by_number_and_its_batch_is_not_stored(memory: AsyncMemory) -> None:
    await memory.add_many([{"content": f"tea {number}"} for number in range(700)], user_id=USER)
    first = await memory.export(USER)
    second = await memory.export(USER, cursor=first.next_cursor)
    lines = [*first.lines, *second.lines, "{"]
    await memory.delete_all(USER)
    with pytest.raises(InvalidRequestError, match=r"^line 702: is not JSON") as caught:
        await memory.import_(lines)
    assert caught.value.details
    assert caught.value.details["line"] == 702
    assert caught.value.details["done"]["imported"] == 499  # the header is a line of the first batch
    page = await memory.list(USER, limit=500)
    assert (len(page.items), page.next_cursor) == (499, None)
