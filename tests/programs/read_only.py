"""Writes to and searches a store as a user without privileges, and prints what happened. Argument: the file."""

from __future__ import annotations

import os
import sys

from openmem import Memory, OMPError
from openmem._io.plugins import load_provider

NOBODY = 65534


def main(path: str) -> None:
    load_provider("sqlite")  # afterwards this user may be unable to read Python's own files
    memory = Memory(url=path, embedder="none", timeout=2)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)  # nothing is read-only for root
    try:
        print("add", memory.add(content="likes milk", user_id="ann").id)
    except OMPError as error:
        print("add", type(error).__name__, error)
    try:
        print("search found", len(memory.search("tea", "ann")))
    except OMPError as error:
        print("search", type(error).__name__, error)
    memory.close()
    print("closed")


if __name__ == "__main__":
    main(sys.argv[1])
