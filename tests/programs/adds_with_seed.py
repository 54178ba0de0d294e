"""Adds a memory with a fixed seed and prints the answer: `adds_with_seed.py PROVIDER URL`, once a line comes in."""

import sys
from datetime import UTC, datetime

from openmem import IdempotencySeed, Memory
from openmem.providers import ProviderName

with Memory(ProviderName(sys.argv[1]), url=sys.argv[2], embedder="none") as memory:
    print("ready", flush=True)
    sys.stdin.readline()
    seed = IdempotencySeed(datetime(2026, 3, 1, tzinfo=UTC), 4711)
    record = memory.for_caller(seed=seed).add(content="likes tea", user_id="ann", key="drink")
    print(record.model_dump_json(exclude_none=True))
