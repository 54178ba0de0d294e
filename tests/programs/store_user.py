"""Opens a server's store, says so, and with the next line of input uses it as a server does; prints what it got."""

from __future__ import annotations

import json
import sys
from datetime import datetime

from openmem import ServerStore

url, now = sys.argv[1], datetime.fromisoformat(sys.argv[2])
with ServerStore(url) as store:
    print("open", flush=True)
    sys.stdin.readline()
    made = store.create_key(app="program", user_id=None, grants=["read:*"])
    went = sum(store.take("c", 100, now) == 0.0 for _ in range(60))
    seeds = [store.begin_reply("c", f"k{number}", "f", now, user_id="ann").seed for number in range(20)]
    found = store.find_key(made.secret)
print(json.dumps({"id": found and found.id, "went": went, "seeds": [str(seed.entropy) for seed in seeds]}))
