"""Forks while a client is in use; parent and children go on with it. Arguments: the address, "quiet" or "busy".

With "busy" other threads hold the client's locks at the moment of the fork. Prints what each process stored.
"""

from __future__ import annotations

import json
import os
import sys
import threading

from openmem import Memory
from openmem.testing import HashEmbedder

CHILDREN, ROUNDS = 3, 30


def use(memory: Memory, name: str, rounds: int = ROUNDS) -> list[str]:
    made = []
    for number in range(rounds):
        record = memory.add(content=f"tea {number} of {name}", user_id="ann")
        assert memory.search(f"tea {number} {name}", "ann", limit=1)
        assert memory.get(record.id).content == record.content
        made.append(record.id)
    return made


def report(name: str, made: list[str]) -> None:
    os.write(1, (json.dumps({name: made}) + "\n").encode())


def in_threads(memory: Memory, name: str) -> None:
    """Use the client in two threads at once, so that both notice the fork together."""
    start, results = threading.Barrier(2), []

    def work(number: int) -> None:
        start.wait()
        results.append(use(memory, f"{name} thread {number}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2, "a thread failed"
    report(name, [*results[0], *results[1]])


def main(url: str, busy: bool) -> None:
    memory = Memory(url=url, embedder=HashEmbedder(16), app="forked")
    report("before", use(memory, "before", 3))
    stop = threading.Event()
    noise: list[str] = []

    def disturb() -> None:
        while not stop.is_set():
            noise.extend(use(memory, "noise", 1))

    disturbers = [threading.Thread(target=disturb) for _ in range(3 if busy else 0)]
    for thread in disturbers:
        thread.start()
    children = []
    for number in range(CHILDREN):
        child = os.fork()
        if child == 0:
            in_threads(memory, f"child{number}")
            memory.close()
            os._exit(0)
        children.append(child)
    in_threads(memory, "parent")
    stop.set()
    for thread in disturbers:
        thread.join()
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    report("after", use(memory, "after", 3) + noise)
    memory.close()
    assert codes == [0] * CHILDREN, codes


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "busy")
