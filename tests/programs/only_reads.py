"""Searches a store and ends without closing it. Argument: the address of the store."""

from __future__ import annotations

import sys

from openmem import Memory

if __name__ == "__main__":
    memory = Memory(url=sys.argv[1], embedder="none")
    print(len(memory.search("tea", "ann")), flush=True)
