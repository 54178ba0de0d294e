"""Uses a store and ends without closing it. Arguments: sync or async, and the address of the store."""

from __future__ import annotations

import asyncio
import sys

from openmem import AsyncMemory, Memory


def use_sync(url: str) -> None:
    memory = Memory(url=url, embedder="none")
    memory.add(content="likes tea", user_id="ann")
    print(len(memory.search("tea", "ann")), flush=True)


async def use_async(url: str) -> None:
    memory = AsyncMemory(url=url, embedder="none")
    await memory.add(content="likes tea", user_id="ann")
    print(len(await memory.search("tea", "ann")), flush=True)


if __name__ == "__main__":
    form, address = sys.argv[1:]
    if form == "sync":
        use_sync(address)
    else:
        asyncio.run(use_async(address))
