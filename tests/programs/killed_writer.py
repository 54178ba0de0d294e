"""Forks writers that change a store until they are killed, one after the other. Argument: the address of the store.

Each prints its process id, then what it is about to do and what was acknowledged, one line each. A new one is
forked when the last is dead, for as long as standard input is open.
"""

from __future__ import annotations

import itertools
import os
import select
import sys

from openmem import Memory, MemoryItem
from openmem.testing import HashEmbedder


def say(*words: object) -> None:
    # One system call for a line: a killed process leaves no half of one behind.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def write(url: str) -> None:
    memory = Memory(url=url, embedder=HashEmbedder(16), app="writer")
    user = f"user{os.getpid() % 3}"
    for number in itertools.count():
        record = memory.add(content=f"note {number} of {os.getpid()}", user_id=user, tags=["note"])
        say("added", record.id)
        if number % 5 == 1:
            items: list[MemoryItem] = [
                {"content": f"note {number}.{part}", "supersedes": [record.id]} for part in range(20)
            ]
            say("added", *(made.id for made in memory.add_many(items, user_id=user)))
        if number % 5 == 2:
            memory.update(record.id, content=f"changed note {number}", tags=None)
            say("updated", record.id)
        if number % 5 == 3:
            say("deleting", record.id)
            memory.delete(record.id)
            say("deleted", record.id)
        if number % 5 == 4:
            memory.search(f"note {number}", user)


def main(url: str) -> None:
    while not select.select([sys.stdin], [], [], 0)[0]:
        child = os.fork()
        if child == 0:
            say("pid", os.getpid())
            write(url)
        os.waitpid(child, 0)
    say("end")


if __name__ == "__main__":
    main(sys.argv[1])
