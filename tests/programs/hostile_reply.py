"""Ask a service once that answers as it should not, and print by how many KiB that made this process larger at most.

Arguments: the client, an address that answers in little, the address that is asked.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Awaitable
from pathlib import Path

from openmem import OMPError
from tests._async.hostile_clients import CLIENTS


async def main(name: str, small: str, large: str) -> None:
    client = next(client for client in CLIENTS if client.name == name)
    for url in (small, small):  # loads what every exchange needs
        await failure(client.ask(url, 10))
    before = peak()
    error = await failure(client.ask(large, 15))
    print(json.dumps({"grown": peak() - before, "error": error}))


def peak() -> int:
    """Return the most KiB of memory that this program had; `getrusage` would tell the peak of who started it, too."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1])


async def failure(asked: Awaitable[object]) -> str:
    try:
        await asked
    except OMPError as error:
        return type(error).__name__
    return ""


asyncio.run(main(*sys.argv[1:]))
