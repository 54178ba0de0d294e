"""`iterate` asks for the next page by itself, and gives up on pages that would never end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, InvalidRequestError, MemoryItem, MemoryRecord, ProviderError
from tests.omp_stub import RECORD, OmpStub, answer, problem


@pytest.fixture
def stub() -> Iterator[OmpStub]:
    with OmpStub() as server:
        yield server


def page(number: int, following: str | None) -> Any:
    return answer({"items": [{**RECORD, "id": f"mem_{number}"}], "next_cursor": following})


async def ids(memory: AsyncMemory, **filters: Any) -> list[str]:
    return [record.id async for record in memory.iterate("ann", **filters)]


async def read(records: AsyncIterator[MemoryRecord], seen: list[str]) -> None:
    """Note the ids as they come: what came before an error counts."""
    async for record in records:
        seen.append(record.id)  # noqa: PERF401


async def test_pages_are_asked_for_one_after_the_other(stub: OmpStub) -> None:
    async with AsyncMemory(base_url=stub.url) as memory:
        stub.answers.extend([page(1, "a"), answer({"items": [], "next_cursor": "b"}), page(2, None)])
        records = memory.iterate("ann", tag="tea", limit=7)
        assert stub.verbs == []
        assert [record.id async for record in records] == ["mem_1", "mem_2"]
        assert [record.id async for record in records] == []
    paths = [asked.path for asked in stub.verbs]
    assert [path.partition("&cursor=")[2] for path in paths] == ["", "a", "b"]
    assert all("tag=tea" in path and "limit=7" in path for path in paths)


@pytest.mark.parametrize("cursors", [["a", "a"], ["a", "b", "a"], ["a", "b", "c", "b"]])
async def test_cursor_that_comes_again_is_an_error(stub: OmpStub, cursors: list[str]) -> None:
    async with AsyncMemory(base_url=stub.url) as memory:
        stub.answers.extend([page(number, cursor) for number, cursor in enumerate(cursors)])
        records, seen = memory.iterate("ann"), list[str]()
        with pytest.raises(ProviderError, match="cursor"):
            await read(records, seen)
        assert seen == [f"mem_{number}" for number in range(len(cursors) - 1)]
    assert len(stub.verbs) == len(cursors)


async def test_page_that_failed_is_asked_for_again(stub: OmpStub) -> None:
    async with AsyncMemory(base_url=stub.url) as memory:
        stub.answers.extend([page(1, "a"), problem(403, "scope_denied", "auth"), page(2, None)])
        records, seen = memory.iterate("ann"), list[str]()
        with pytest.raises(Exception, match=r"."):
            await read(records, seen)
        seen += [record.id async for record in records]
    assert seen == ["mem_1", "mem_2"]


async def test_wrong_arguments_are_refused_before_the_loop(tmp_path: Path) -> None:
    async with AsyncMemory(url=str(tmp_path / "a.db"), embedder="none") as memory:
        wrongs: list[dict[str, Any]] = [{"limit": 0}, {"scope": "a//b"}, {"since": "soon"}, {"timeout": 0}]
        for wrong in wrongs:
            with pytest.raises(InvalidRequestError):
                memory.iterate("ann", **wrong)


async def test_add_between_two_pages_neither_skips_nor_repeats_a_memory(tmp_path: Path) -> None:
    async with AsyncMemory(url=str(tmp_path / "a.db"), embedder="none") as memory:
        items: list[MemoryItem] = [{"content": f"tea {number}"} for number in range(10)]
        wanted = [record.id for record in await memory.add_many(items, user_id="ann")]
        seen = []
        async for record in memory.iterate("ann", limit=3):
            seen.append(record.id)
            await memory.add("milk", user_id="ann")
        assert sorted(seen) == sorted(wanted)


async def test_instance_that_is_closed_ends_the_loop_with_an_error(tmp_path: Path) -> None:
    memory = AsyncMemory(url=str(tmp_path / "a.db"), embedder="none")
    await memory.add("tea", user_id="ann")
    records = memory.iterate("ann")
    await memory.close()
    with pytest.raises(RuntimeError, match="is closed"):
        await read(records, [])
