"""Every way to name, filter, count and follow memories, on any backend; what one does not offer is left out.

python everything.py                                          # your own SQLite file
python everything.py '{"provider": "mem0", "api_key": "…"}'   # what `Memory` takes, as JSON
"""

from __future__ import annotations

import json
import sys

from openmem import Memory, MemoryItem
from openmem.errors import AlreadyExistsError
from openmem.types import ReadyVector

USER = "everything-example"  # one of its own: it is erased at the end
EAST: ReadyVector = {"model": "compass", "vector": [1.0, 0.0]}
FACTS: list[MemoryItem] = [
    {"content": "Ann drinks green tea", "key": "tea", "scope": "home/kitchen", "metadata": {"cups": 3}},
    {"content": "Ann drinks tea at work", "key": "work", "scope": "work", "tags": ["desk"], "metadata": {"cups": 1}},
    {"content": "Minutes of the tea meeting", "key": "minutes", "scope": "work", "tags": ["desk"], "searchable": False},
]


def main() -> None:
    with Memory(**json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}"), app="everything") as memory:
        said = memory.capabilities()
        start = memory.changes(USER).next_cursor if "changes" in said.all_verbs else None
        stored = memory.add_many(FACTS, user_id=USER)
        memory.wait_for_ingest([record.id for record in stored], USER)  # some services take texts in by and by

        if "if_absent" in said.arguments:
            try:
                memory.add("Ann drinks coffee", user_id=USER, key="tea", if_absent=True)
            except AlreadyExistsError as error:
                print("there already:", (error.details or {})["version"])
        changed = memory.update(key="tea", user_id=USER, metadata_patch={"cups": 4})
        memory.wait_for_ingest([changed.id], USER)
        print("by key:", memory.get(key="tea", user_id=USER).metadata)
        print("where:", [hit.memory.key for hit in memory.search("tea", USER, where={"cups": {"$gt": 3}})])
        pages = [memory.search("tea", USER, limit=1, offset=number) for number in range(3)]
        print("found:", sorted(str(hit.memory.key) for page in pages for hit in page))
        print("kept:", sorted(str(record.key) for record in memory.list(USER, scope="work")))
        print("last changed:", memory.list(USER, order="updated", limit=1)[0].key)
        print("scopes:", {info.scope: info.current for info in memory.scopes(USER, depth=1)})
        print("tags:", {info.tag: info.count for info in memory.tags(USER)})
        print("users:", [info.user_id for info in memory.users(prefix=USER)])
        if "embedding" in said.arguments and not said.features.vector_search:  # an embedder takes its own model only
            memory.add("Ann sits in the east", user_id=USER, scope="desk", embedding=EAST)
            near = memory.search("?", USER, scope="desk", mode="vector", embedding=EAST)
            print("by vector:", near[0].memory.content)
        if start is not None:
            print("changes:", [change.action for change in memory.changes(USER, cursor=start)])
        print("erased:", memory.delete_all(USER, where={"cups": {"$gte": 0}}).erased["memories"])
        print("all erased:", memory.delete_all(USER).complete)


if __name__ == "__main__":
    main()
