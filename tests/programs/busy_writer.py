"""Adds, changes and deletes memories beside other processes. Arguments: the address of the store, a name, a count.

Prints "ready", waits for a line, works, and prints as JSON which memories there must be now, and their versions.
"""

from __future__ import annotations

import json
import sys

from openmem import Memory
from openmem.testing import HashEmbedder


def main(url: str, name: str, count: int) -> None:
    versions: dict[str, int] = {}
    with Memory(url=url, embedder=HashEmbedder(16), app=name) as memory:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(count):
            user = f"user{number % 2}"  # shared with the other processes
            record = memory.add(content=f"note {number} of {name}", user_id=user, scope=f"notes/{number % 5}")
            versions[record.id] = 1
            if number % 4 == 1:
                versions[record.id] = memory.update(record.id, content=f"changed {number}", if_version=1).version
            if number % 4 == 2:
                memory.delete(record.id)
                del versions[record.id]
            if number % 4 == 3:
                shared = memory.add(content=f"by {name}", user_id=user, key=f"key{number % 8}")
                assert shared.version >= 1
                memory.search(f"note {number} {name}", user, limit=3)
    print(json.dumps(versions), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
