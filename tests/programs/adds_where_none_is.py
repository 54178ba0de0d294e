"""Two threads store under the same keys, each only where none is: `adds_where_none_is.py PROVIDER URL NAME KEYS`.

Once a line comes in, they begin; it prints the keys that each of them won.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from openmem import Memory
from openmem.errors import AlreadyExistsError
from openmem.providers import ProviderName


def win(memory: Memory, name: str, keys: int) -> list[int]:
    """Return the keys under which this writer stored a memory."""
    won = []
    for number in range(keys):
        try:
            record = memory.add(name, user_id="ann", key=f"k{number}", if_absent=True)
        except AlreadyExistsError:
            continue
        assert (record.content, record.version) == (name, 1)
        won.append(number)
    return won


with Memory(ProviderName(sys.argv[1]), url=sys.argv[2], embedder="none", timeout=60) as memory:
    memory.list("ann")
    print("ready", flush=True)
    sys.stdin.readline()
    names = [f"{sys.argv[3]}-{thread}" for thread in range(2)]
    with ThreadPoolExecutor(len(names)) as pool:
        found = pool.map(lambda name: win(memory, name, int(sys.argv[4])), names)
        print(json.dumps(dict(zip(names, found, strict=True))))
