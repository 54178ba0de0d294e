"""The same program on any backend. Which one is settings, never code.

    python switching.py                                                       # your own SQLite file
    python switching.py '{"url": "postgresql://app:password@db.example/app"}'
    python switching.py '{"provider": "mem0", "api_key": "…"}'                # or "supermemory", "letta"
    OMP_BASE_URL=https://memories.example python switching.py                 # an OMP server

The argument is what `Memory` takes, as JSON; without one, the environment decides (OMP_PROVIDER, OMP_URL, …).
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

from openmem import Memory, NotFoundError

USER = "switching-example"  # one of its own: it is erased at the end
MOVED, BEFORE = datetime(2025, 6, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)


def main() -> None:
    with Memory(**json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}"), app="switching") as memory:
        berlin = memory.add(content="Ann lives in Berlin", user_id=USER, valid_from=datetime(2023, 5, 8, tzinfo=UTC))
        lisbon = memory.add(content="Ann lives in Lisbon", user_id=USER, valid_from=MOVED, supersedes=[berlin.id])
        tea = memory.add(content="Ann drinks green tea", user_id=USER, scope="home/kitchen", tags=["drink"], key="tea")
        memory.wait_for_ingest([berlin.id, lisbon.id, tea.id], USER)  # some services take texts in by and by

        found = memory.search("Where does Ann live, in Lisbon or Berlin?", USER, limit=1)
        print("now:    ", found[0].memory.content)
        found = memory.search("Where does Ann live, in Lisbon or Berlin?", USER, limit=1, as_of=BEFORE)
        print("then:   ", found[0].memory.content)
        print("home:   ", [hit.memory.content for hit in memory.search("tea", USER, scope="home/*", tags=["drink"])])
        print("list:   ", [record.content for record in memory.list(USER).items])
        print("context:", memory.context("Ann lives in Lisbon", USER, token_budget=40).text.splitlines()[2])
        record = memory.get(tea.id, user_id=USER)
        print("get:    ", record.content, record.scope, record.tags, record.key, record.version)
        memory.delete(tea.id, user_id=USER)
        try:
            memory.get(tea.id, user_id=USER)
        except NotFoundError as error:
            print("deleted:", error.code)
        print("erased: ", memory.delete_all(USER).complete)


if __name__ == "__main__":
    main()
