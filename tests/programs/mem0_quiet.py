"""Uses mem0 in process with a wall around the network, and says what was tried."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

tried: list[str] = []


def wall(self: socket.socket, address: Any) -> None:
    tried.append(str(address))
    raise OSError("no network here")


def main(folder: Path) -> None:
    socket.socket.connect = wall  # type: ignore[method-assign,assignment]
    from openmem import Memory

    imported_early = "mem0" in sys.modules
    from tests.vendor.mem0_oss import qdrant_config

    os.environ.pop("MEM0_TELEMETRY", None)  # as in a program of a user's: the provider must see to it
    config = qdrant_config(folder)
    with Memory("mem0", mode="oss", config=config) as memory:
        imported_by_constructor = "mem0" in sys.modules
        memory.health()  # imports and makes mem0's object
        from tests.vendor.mem0_oss import hash_embedding

        backend: Any = memory._provider._sdk._ref._made[0]  # type: ignore[attr-defined]
        backend.sdk.embedding_model = hash_embedding(None)
        record = memory.add(content="likes tea", user_id="ann")
        memory.update(record.id, content="likes coffee")
        found = memory.search("coffee", "ann")
        memory.delete_all("ann")
    import mem0.memory.telemetry as telemetry

    said = {
        "tried": tried,
        "early": imported_early or imported_by_constructor,
        "found": len(found),
        "telemetry": telemetry.MEM0_TELEMETRY,
        "threads": [thread.name for thread in threading.enumerate() if "posthog" in thread.name.lower()],
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
