"""Does the first verbs of a process, and prints which files the thread of the event loop opened to import from."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from typing import Any

from openmem import AsyncMemory

own = threading.get_ident()
opened: list[str] = []
listening = False


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    if (
        listening
        and event == "open"
        and threading.get_ident() == own
        and str(arguments[0]).endswith((".pyc", ".py", ".so"))
    ):
        opened.append(str(arguments[0]))


async def main(given: dict[str, Any]) -> None:
    global listening
    memory = AsyncMemory(**given)
    listening = True
    record = await memory.add(content="likes tea", user_id="ann")
    await memory.get(record.id, user_id="ann")
    await memory.search("tea", "ann")
    await memory.context("tea", "ann")
    await memory.list("ann")
    await memory.export("ann")
    await memory.health()
    listening = False
    await memory.close()
    print(json.dumps(opened))


if __name__ == "__main__":
    sys.addaudithook(hook)
    asyncio.run(main(json.loads(sys.argv[1])))
