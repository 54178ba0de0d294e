"""Ends while a search without a deadline waits for a locked file. Argument: the address of the store."""

from __future__ import annotations

import asyncio
import sys
import traceback

from openmem import AsyncMemory
from openmem._io.sqlite.opening import when_free


def waits_for_the_lock() -> bool:
    """Return whether a thread is where the store tries again until the file is free."""
    stacks = [traceback.walk_stack(frame) for frame in sys._current_frames().values()]
    return any(frame.f_code is when_free.__code__ for stack in stacks for frame, _ in stack)


async def begin() -> None:
    """Turn the loop until the search waits."""
    while not waits_for_the_lock():  # noqa: ASYNC110 - another thread makes it true
        await asyncio.sleep(0)


loop = asyncio.new_event_loop()
memory = AsyncMemory(url=sys.argv[1], embedder="none", timeout=None)
search = loop.create_task(memory.search("tea", "ann"))
loop.run_until_complete(begin())
print("searched" if search.done() else "left", flush=True)
