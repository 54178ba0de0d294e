"""Opens a store and adds a memory when told. Arguments: the address of the store, the number of memories.

Prints "ready", waits for a line, works, and prints "done".
"""

from __future__ import annotations

import sys

from openmem import Memory
from openmem.testing import HashEmbedder


def main(url: str, count: int) -> None:
    memory = Memory(url=url, embedder=HashEmbedder(16))
    print("ready", flush=True)
    sys.stdin.readline()
    with memory:
        for number in range(count):
            memory.add(content=f"note {number}", user_id="ann")
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
