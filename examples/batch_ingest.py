"""Take many memories in: 50,000 by default, from a generator, in chunks, with bounded memory and progress.

Each memory has a `key`, so a run that was interrupted can be started again: what is there already is updated in
place, and nothing is stored twice.

    python batch_ingest.py --count 50000 --url notes.db
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from openmem import AsyncMemory, MemoryItem

T = TypeVar("T")

TOPICS = ("billing", "shipping", "returns", "search", "login", "invoices", "reports")


def notes(count: int) -> Iterator[MemoryItem]:
    """Yield notes one by one. Put your own source here: a file, a query, a queue."""
    for number in range(count):
        topic = TOPICS[number % len(TOPICS)]
        yield {
            "content": f"Ticket {number}: the customer asked about {topic}",
            "scope": f"support/{topic}",
            "tags": [topic],
            "source": {"app": "helpdesk", "type": "imported", "ref": f"ticket-{number}"},
            "key": f"ticket-{number}",
        }


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of at most `size`."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


async def ingest(memory: AsyncMemory, items: Iterable[MemoryItem], user_id: str, chunk: int) -> int:
    """Store the items chunk by chunk, each in one transaction, and return how many there were."""
    start, done = time.perf_counter(), 0
    for part in chunked(items, chunk):
        done += len(await memory.add_many(part, user_id=user_id))
        print(f"\r{done:,} stored, {done / (time.perf_counter() - start):,.0f} a second", end="", file=sys.stderr)
    print(file=sys.stderr)
    return done


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Store many memories in chunks.")
    parser.add_argument("--count", type=int, default=50_000, help="how many (%(default)s)")
    parser.add_argument("--chunk", type=int, default=1_000, help="how many in one transaction (%(default)s)")
    parser.add_argument("--url", help="where to; by default what OMP_URL says, else the user's own store")
    parser.add_argument("--user", default="helpdesk", help="whose memories (%(default)s)")
    parser.add_argument("--embedder", default="none", help="none, fastembed or openai:MODEL (%(default)s)")
    return parser.parse_args()


async def main() -> None:
    given = arguments()
    # Embedding a chunk on this machine can take a while: five minutes are enough for each.
    async with AsyncMemory(url=given.url, embedder=given.embedder, app="batch-ingest", timeout=300) as memory:
        done = await ingest(memory, notes(given.count), given.user, given.chunk)
        print(f"done: {done} memories in the store of {given.user}")


if __name__ == "__main__":
    asyncio.run(main())
