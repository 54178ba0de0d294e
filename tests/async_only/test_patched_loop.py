"""On a loop that nest_asyncio has patched, work goes to threads that let the process end."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from openmem import AsyncMemory
from openmem._io.concurrency.primitives import async_to_thread


class PatchedLoop(asyncio.SelectorEventLoop):
    """A loop with the mark that nest_asyncio leaves."""

    _nest_patched = True


def test_work_goes_to_threads_of_the_loop_where_the_loop_is_patched(tmp_path: Path) -> None:
    others = set(threading.enumerate())  # of tests before this one

    def of_anyio() -> list[str]:
        return [thread.name for thread in set(threading.enumerate()) - others if "AnyIO" in thread.name]

    async def use() -> tuple[str, list[str]]:
        memory = AsyncMemory(url=str(tmp_path / "m.db"), embedder="none")
        await memory.add(content="likes tea", user_id="ann")
        thread = await async_to_thread(threading.current_thread)
        await memory.close()
        return thread.name, of_anyio()

    with asyncio.Runner(loop_factory=PatchedLoop) as runner:
        name, left = runner.run(use())
    assert "AnyIO" not in name
    assert left == of_anyio() == []
