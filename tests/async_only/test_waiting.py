"""Waiting: cancelled callers leave at once, deadlines hold however a call waits, and the loop is never blocked."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, DeadlineExceededError, InvalidRequestError, MemoryItem
from openmem.testing import HashEmbedder
from tests.bad_calls import CALLS

PROGRAMS = Path(__file__).resolve().parent.parent / "programs"
WRITES = ["add", "add_many", "update", "delete", "delete_all", "import_", "reembed"]
READS = ["get", "list", "search", "context", "history", "export", "health", "capabilities", "wait_for_ingest"]
LINE = '{"memory": {"id": "m1", "content": "tea", "user_id": "ann", "created_at": "2026-01-01T00:00:00Z"}}'
SOON = 5.0
"""Seconds that are far more than anything here takes, and far less than what it must not wait for."""


@pytest.fixture
async def memory(store_url: str) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory(url=store_url, embedder=HashEmbedder()) as memory:
        yield memory


@pytest.fixture
async def known_id(memory: AsyncMemory) -> str:
    return (await memory.add(content="likes tea", user_id="ann")).id


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock of the file, as another process would."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("begin immediate")
        yield
    finally:
        connection.close()


def call(memory: AsyncMemory, verb: str, known_id: str, **more: Any) -> Coroutine[Any, Any, Any]:
    stand_ins: dict[str, Any] = {"id": known_id, "ids": [known_id], "lines": [LINE]}
    given = {name: stand_ins.get(name, value) for name, value in CALLS[verb].items()}
    made: Coroutine[Any, Any, Any] = getattr(memory, verb)(**given, **more)
    return made


async def waiting(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start the work and see that it does not come to an end."""
    task = asyncio.create_task(work)
    done, _ = await asyncio.wait({task}, timeout=0.1)
    assert not done
    return task


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel the task and see it leave at once."""
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=1.0)
    assert done
    assert task.cancelled()


async def contents(memory: AsyncMemory) -> list[str]:
    page = await memory.list("ann", limit=500)
    return sorted(record.content for record in page.items)


class Stuck(HashEmbedder):
    """Hangs in a worker thread on every text with "stuck" in it, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def embed(self, texts: Any) -> Any:
        if any("stuck" in text for text in texts):
            self.go.wait(SOON * 2)
        return super().embed(texts)


def embed_something(memory: AsyncMemory, verb: str, **more: Any) -> Coroutine[Any, Any, Any]:
    """Return a call that needs the vector of a text with "stuck" in it."""
    given = {"content": "stuck", "user_id": "ann"} if verb == "add" else {"query": "stuck tea", "user_id": "ann"}
    made: Coroutine[Any, Any, Any] = getattr(memory, verb)(**given, **more)
    return made


@pytest.mark.parametrize("verb", WRITES)
async def test_cancelled_write_leaves_at_once_and_stores_nothing(
    memory: AsyncMemory, known_id: str, store_path: Path, verb: str
) -> None:
    before = (await memory.export()).lines[1:]
    with locked(store_path):
        await cancel(await waiting(call(memory, verb, known_id)))
        assert await contents(memory) == ["likes tea"]
    await memory.add(content="likes milk", user_id="bob")
    assert (await memory.export("ann")).lines[1:] == before


async def test_many_cancelled_writes_leave_the_instance_usable(memory: AsyncMemory, store_path: Path) -> None:
    with locked(store_path):
        tasks = [await waiting(memory.add(content="never", user_id="ann"))]
        tasks += [asyncio.create_task(memory.add(content="never", user_id="ann")) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks:
            await cancel(task)
    async with asyncio.timeout(SOON):
        await memory.add(content="likes tea", user_id="ann")
        assert await contents(memory) == ["likes tea"]


async def test_close_does_not_wait_for_a_cancelled_write(store_url: str, store_path: Path) -> None:
    memory = AsyncMemory(url=store_url, embedder="none")
    await memory.add(content="likes tea", user_id="ann")
    with locked(store_path):
        await cancel(await waiting(memory.add(content="never", user_id="ann")))
        async with asyncio.timeout(SOON):
            await memory.close()


@pytest.mark.parametrize("verb", ["add", "search", "context"])
async def test_cancelled_caller_does_not_wait_for_the_embedder(store_url: str, verb: str) -> None:
    embedder = Stuck()
    async with AsyncMemory(url=store_url, embedder=embedder) as memory:
        await memory.add(content="likes tea", user_id="ann")
        await cancel(await waiting(embed_something(memory, verb)))
        async with asyncio.timeout(SOON):
            assert len(await memory.search("tea", "ann")) == 1
        embedder.go.set()
        assert await contents(memory) == ["likes tea"]


@pytest.mark.parametrize("verb", WRITES)
async def test_write_gives_up_at_its_deadline(memory: AsyncMemory, known_id: str, store_path: Path, verb: str) -> None:
    before = (await memory.export("ann")).lines[1:]
    with locked(store_path):
        async with asyncio.timeout(SOON):
            with pytest.raises(DeadlineExceededError, match=r"within 0\.2 s") as caught:
                await call(memory, verb, known_id, timeout=0.2)
    assert caught.value.provider == "sqlite"
    assert caught.value.request_id
    assert (await memory.export("ann")).lines[1:] == before


@pytest.mark.parametrize("verb", READS)
async def test_read_does_not_wait_for_a_writer(memory: AsyncMemory, known_id: str, store_path: Path, verb: str) -> None:
    with locked(store_path):
        async with asyncio.timeout(SOON):
            await call(memory, verb, known_id)


async def test_first_read_of_an_instance_does_not_wait_for_a_writer(
    memory: AsyncMemory, known_id: str, store_path: Path, store_url: str
) -> None:
    other = AsyncMemory(url=store_url, embedder="none")
    with locked(store_path):
        async with asyncio.timeout(SOON):
            assert (await other.get(known_id)).content == "likes tea"
            assert len(await other.search("tea", "ann")) == 1
    await other.close()


async def test_deadline_of_the_instance_holds_where_a_verb_has_none(store_url: str, store_path: Path) -> None:
    async with AsyncMemory(url=store_url, embedder="none", timeout=0.2) as memory:
        await memory.add(content="likes tea", user_id="ann", timeout=SOON)
        with locked(store_path):
            async with asyncio.timeout(SOON):
                with pytest.raises(DeadlineExceededError, match=r"within 0\.2 s"):
                    await memory.add(content="likes milk", user_id="ann")


async def test_deadline_holds_behind_a_call_with_a_longer_one(memory: AsyncMemory, store_path: Path) -> None:
    await memory.add(content="likes tea", user_id="ann")
    with locked(store_path):
        patient = await waiting(memory.add(content="patient", user_id="ann", timeout=60))
        async with asyncio.timeout(SOON):
            with pytest.raises(DeadlineExceededError):
                await memory.add(content="never", user_id="ann", timeout=0.2)
        assert not patient.done()
    await patient
    assert await contents(memory) == ["likes tea", "patient"]


@pytest.mark.parametrize("verb", ["add", "search", "context"])
async def test_deadline_holds_while_the_embedder_hangs(store_url: str, verb: str) -> None:
    embedder = Stuck()
    async with AsyncMemory(url=store_url, embedder=embedder) as memory:
        await memory.add(content="likes tea", user_id="ann")
        async with asyncio.timeout(SOON):
            with pytest.raises(DeadlineExceededError):
                await embed_something(memory, verb, timeout=0.2)
        embedder.go.set()
        assert await contents(memory) == ["likes tea"]


def test_program_cancelled_while_a_write_waits_ends_at_once(store_url: str, store_path: Path) -> None:
    with asyncio.Runner() as runner:
        memory = AsyncMemory(url=store_url, embedder="none")
        runner.run(memory.add(content="likes tea", user_id="ann"))
        runner.run(memory.close())
    with locked(store_path):
        command = [sys.executable, str(PROGRAMS / "cancelled.py"), store_url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.returncode) == ("cancelled\n", 0)


async def turns_during(work: Coroutine[Any, Any, Any]) -> int:
    """Return how often the loop came round while the work ran on it."""
    task, turns = asyncio.create_task(work), 0
    while not task.done():
        await asyncio.wait({task}, timeout=0.001)
        turns += 1
    await task
    return turns


async def test_loop_runs_on_while_much_is_stored_and_searched(memory: AsyncMemory) -> None:
    items: list[MemoryItem] = [
        {"content": f"note {n} about word{n % 97} and tea", "tags": ["tea"]} for n in range(3_000)
    ]

    async def search_often() -> None:
        for _ in range(5):
            await asyncio.gather(*(memory.search(f"word{n} tea", "ann", limit=100) for n in range(5)))

    async def export_often() -> None:
        for _ in range(50):
            await memory.export("ann")

    # A loop that is blocked comes round two or three times, however slow the machine is.
    assert await turns_during(memory.add_many(items, user_id="ann", timeout=60)) > 20
    assert await turns_during(search_often()) > 20
    assert await turns_during(export_often()) > 25
    assert await turns_during(memory.delete_all("ann", timeout=60)) > 3


async def test_loop_gets_a_turn_while_many_items_are_checked(memory: AsyncMemory) -> None:
    taken: Counter[int] = Counter()
    turns, loop_thread = 0, threading.get_ident()

    def items() -> Iterator[MemoryItem]:
        for number in range(10_000):
            if threading.get_ident() == loop_thread:
                taken[turns] += 1
            yield {"content": f"note {number}"}
        yield {"content": ""}  # so that nothing but the check is done

    async def work() -> None:
        with pytest.raises(InvalidRequestError, match=r"^items\[10000\]"):
            await memory.add_many(items(), user_id="ann")

    task = asyncio.create_task(work())
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    await task
    assert max(taken.values(), default=0) <= 2_000
