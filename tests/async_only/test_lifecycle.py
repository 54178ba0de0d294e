"""The life of an instance on an event loop: opening, closing, binding to a loop, being dropped, being shared."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, InvalidRequestError, MemoryRecord
from openmem.testing import HashEmbedder
from tests.bad_calls import CALLS

PROGRAMS = Path(__file__).resolve().parent.parent / "programs"
VERBS = sorted(CALLS)
CLOSED = "^AsyncMemory is closed$"
OTHER_LOOP = "^AsyncMemory is bound to a different event loop$"


def call(memory: AsyncMemory, verb: str) -> Coroutine[Any, Any, Any]:
    made: Coroutine[Any, Any, Any] = getattr(memory, verb)(**CALLS[verb])
    return made


def drop(kept: list[AsyncMemory]) -> None:
    """Let go of the last reference to an instance."""
    kept.clear()
    gc.collect()


def journal(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("select action from audit order by at")]
    finally:
        connection.close()


def snapshot(path: Path) -> dict[str, list[Any]]:
    """Return every row of every plain table."""
    connection = sqlite3.connect(path)
    try:
        query = "select name from sqlite_master where type = 'table' and sql not like 'create virtual%'"
        return {name: connection.execute(f"select * from {name}").fetchall() for (name,) in connection.execute(query)}
    finally:
        connection.close()


def test_constructor_opens_nothing_and_starts_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data")}
    command = [sys.executable, str(PROGRAMS / "construct.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    opened, files, threads, *shown = done.stdout.splitlines()
    assert (opened, files, threads) == ("[]", "[]", "1")
    assert shown == ["<AsyncMemory provider='sqlite' unused>", "<Memory provider='sqlite' unused>"] * 2


async def test_file_is_made_by_the_first_verb(store_url: str, store_path: Path) -> None:
    memory = AsyncMemory(url=store_url, embedder="none")
    assert not store_path.exists()
    await memory.add(content="likes tea", user_id="ann")
    assert store_path.exists()
    await memory.close()


async def test_entering_makes_ready_and_leaving_closes(store_url: str) -> None:
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        assert repr(memory) == "<AsyncMemory provider='sqlite' open>"
        await memory.add(content="likes tea", user_id="ann")
    assert repr(memory) == "<AsyncMemory provider='sqlite' closed>"
    with pytest.raises(RuntimeError, match=CLOSED):
        async with memory:
            pass


async def test_leaving_by_an_exception_closes_and_lets_it_pass(store_url: str) -> None:
    with pytest.raises(KeyError, match="of the caller"):
        async with AsyncMemory(url=store_url, embedder="none") as memory:
            raise KeyError("of the caller")
    with pytest.raises(RuntimeError, match=CLOSED):
        await memory.health()


async def test_close_can_be_called_again_and_at_once_by_many(store_url: str) -> None:
    unused = AsyncMemory(url=store_url, embedder="none")
    await unused.close()
    await unused.close()
    memory = AsyncMemory(url=store_url, embedder="none")
    await memory.add(content="likes tea", user_id="ann")
    await asyncio.gather(*(memory.close() for _ in range(5)))
    await memory.close()


async def test_close_leaves_one_plain_file(store_url: str, store_path: Path) -> None:
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        await memory.add(content="likes tea", user_id="ann")
        await memory.search("tea", "ann")
    assert [path.name for path in store_path.parent.iterdir() if path.is_file()] == [store_path.name]
    assert journal(store_path) == ["add", "search"]


@pytest.mark.parametrize("verb", VERBS)
async def test_closed_instance_refuses_each_verb_before_it_looks_at_the_file(
    store_url: str, store_path: Path, verb: str
) -> None:
    unused, used = (AsyncMemory(url=store_url, embedder=HashEmbedder()) for _ in range(2))
    await unused.close()
    with pytest.raises(RuntimeError, match=CLOSED):
        await call(unused, verb)
    assert not store_path.exists()
    await used.add(content="likes tea", user_id="ann")
    await used.close()
    before = snapshot(store_path)
    with pytest.raises(RuntimeError, match=CLOSED):
        await call(used, verb)
    assert snapshot(store_path) == before


@pytest.mark.parametrize("verb", VERBS)
def test_another_loop_is_refused_before_anything_happens(store_url: str, store_path: Path, verb: str) -> None:
    memory = AsyncMemory(url=store_url, embedder=HashEmbedder())
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(memory.add(content="likes tea", user_id="ann"))
        before = snapshot(store_path)
        with pytest.raises(RuntimeError, match=OTHER_LOOP):
            second.run(call(memory, verb))
        with pytest.raises(RuntimeError, match=OTHER_LOOP):
            second.run(memory.close())
        assert snapshot(store_path) == before
        first.run(memory.add(content="likes milk", user_id="ann"))
        first.run(memory.close())


def test_loop_that_has_the_id_of_a_gone_one_is_refused(store_url: str) -> None:
    memory = AsyncMemory(url=store_url, embedder="none")
    with asyncio.Runner() as runner:
        runner.run(memory.add(content="likes tea", user_id="ann"))
    for _ in range(20):
        gc.collect()
        with asyncio.Runner() as runner, pytest.raises(RuntimeError, match=OTHER_LOOP):
            runner.run(memory.search("tea", "ann"))
    kept = [memory]
    del memory
    with pytest.warns(ResourceWarning, match="unclosed"):
        drop(kept)


def test_unused_instance_binds_to_the_loop_that_uses_it_first(store_url: str) -> None:
    memory = AsyncMemory(url=store_url, embedder="none")
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))
    with asyncio.Runner() as runner:
        runner.run(memory.add(content="likes tea", user_id="ann"))
        runner.run(memory.close())


@pytest.mark.parametrize("loop_is_running", [True, False])
def test_instance_dropped_without_close_warns_and_loses_nothing(
    store_url: str, store_path: Path, loop_is_running: bool
) -> None:
    kept = [AsyncMemory(url=store_url, embedder="none")]

    async def use() -> None:
        record = await kept[0].add(content="likes tea", user_id="ann")
        await kept[0].search("tea", "ann")
        await kept[0].get(record.id)
        if loop_is_running:
            with pytest.warns(ResourceWarning, match="unclosed <AsyncMemory provider='sqlite' open>"):
                drop(kept)

    with asyncio.Runner() as runner:
        runner.run(use())
    if not loop_is_running:
        with pytest.warns(ResourceWarning, match="unclosed <AsyncMemory provider='sqlite' open>"):
            drop(kept)
    assert journal(store_path) == ["add", "search", "get"]


def test_program_that_ends_without_close_ends_at_once_and_loses_nothing(store_url: str, store_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(PROGRAMS / "never_closes.py"), "async", store_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert "ResourceWarning: unclosed <AsyncMemory" in done.stderr
    assert journal(store_path) == ["add", "search"]


def test_program_that_ends_while_a_call_waits_for_a_lock_does_not_wait_with_it(
    store_url: str, store_path: Path
) -> None:
    with closing(sqlite3.connect(store_path, isolation_level=None)) as connection:
        connection.execute("begin exclusive")
        command = [sys.executable, str(PROGRAMS / "leaves_a_call.py"), store_url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (0, "left\n")


async def test_one_instance_serves_many_tasks_at_once(store_url: str) -> None:
    async with AsyncMemory(url=store_url, embedder=HashEmbedder()) as memory:

        async def use(number: int) -> MemoryRecord:
            record = await memory.add(content=f"word{number} likes tea", user_id=f"user{number % 3}")
            results = await memory.search(f"word{number}", f"user{number % 3}", limit=1)
            assert [result.memory.id for result in results] == [record.id]
            return record

        records = await asyncio.gather(*(use(number) for number in range(100)))
        stored = [record for user in range(3) for record in (await memory.list(f"user{user}", limit=500)).items]
        assert sorted(record.id for record in stored) == sorted(record.id for record in records)
        entries = [entry.action for user in range(3) for entry in await memory.audit(f"user{user}", limit=500)]
        assert (entries.count("add"), entries.count("search")) == (100, 100)


async def test_many_tasks_may_be_the_first(store_url: str) -> None:
    memory = AsyncMemory(url=store_url, embedder="none")
    await asyncio.gather(*(memory.add(content=f"tea {number}", user_id="ann") for number in range(20)))
    assert len((await memory.list("ann")).items) == 20
    await memory.close()


async def test_one_update_of_many_at_once_wins_a_version(store_url: str) -> None:
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        record = await memory.add(content="likes tea", user_id="ann")
        changes = (memory.update(record.id, content=f"likes {n}", if_version=1) for n in range(20))
        results = await asyncio.gather(*changes, return_exceptions=True)
        assert len([result for result in results if isinstance(result, MemoryRecord)]) == 1
        assert (await memory.get(record.id)).version == 2


async def test_bad_argument_does_not_make_the_file(store_url: str, store_path: Path) -> None:
    memory = AsyncMemory(url=store_url, embedder="none")
    with pytest.raises(InvalidRequestError):
        await memory.add(content="", user_id="ann")
    assert not store_path.exists()
    await memory.close()
