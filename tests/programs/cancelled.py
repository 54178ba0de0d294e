"""Cancels a write that waits for a lock which another process holds, and ends. Argument: the address of the store."""

from __future__ import annotations

import asyncio
import sys

from openmem import AsyncMemory


async def main(url: str) -> None:
    memory = AsyncMemory(url=url, embedder="none", timeout=60)
    await memory.health()
    task = asyncio.create_task(memory.add(content="never", user_id="ann"))
    await asyncio.wait({task}, timeout=0.2)
    task.cancel()
    await asyncio.wait({task})
    print("cancelled" if task.cancelled() else task, flush=True)
    await memory.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
