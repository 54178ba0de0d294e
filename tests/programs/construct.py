"""Constructs clients while an audit hook listens, and prints what they opened: nothing, if all is well."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

from openmem import AsyncMemory, Memory
from openmem.testing import HashEmbedder

IO = {"open", "sqlite3.connect", "os.mkdir", "socket.connect", "_thread.start_new_thread", "subprocess.Popen"}
seen: list[str] = []
listening = False


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    if listening and event in IO:
        seen.append(f"{event} {arguments[:1]}")


def main(folder: Path) -> None:
    global listening
    for kind in (AsyncMemory, Memory):
        kind(url=str(folder / "warm.db"), embedder="none")  # loads the provider's module
    sys.addaudithook(hook)
    listening = True
    clients = [kind(url=str(folder / "new.db"), embedder=HashEmbedder()) for kind in (AsyncMemory, Memory)]
    clients += [kind(embedder="none") for kind in (AsyncMemory, Memory)]
    listening = False
    print(seen, [path.name for path in folder.rglob("*")], threading.active_count(), *clients, sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
