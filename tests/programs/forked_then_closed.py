"""Forks; the parent closes its client while the child goes on with it. Argument: the address of the store.

Prints the ids that the child stored: one before the parent closed, the others after that.
"""

from __future__ import annotations

import os
import sys

from openmem import Memory


def main(url: str) -> None:
    memory = Memory(url=url, embedder="none")
    memory.add(content="tea before", user_id="ann")
    memory.search("tea", "ann")
    used, closed = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        print(memory.add(content="tea", user_id="ann").id, flush=True)
        os.write(used[1], b"x")
        os.read(closed[0], 1)
        for number in range(5):
            print(memory.add(content=f"tea {number}", user_id="ann").id, flush=True)
        memory.close()
        os._exit(0)
    os.read(used[0], 1)
    memory.close()
    os.write(closed[1], b"x")
    assert os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    main(sys.argv[1])
