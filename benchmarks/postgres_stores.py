"""The stores of the Postgres benchmark: a server, one database for each size, and all that is measured on it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from benchmarks.corpus import Batch, Corpus, GivenVectors, GivenVectorsAsync
from benchmarks.measure import note
from benchmarks.postgres_bare import BareAsync, BareSync

from openmem import AsyncMemory, Memory, MemoryItem
from openmem.testing.postgres import PostgresServer, postgres_server

USERS = 100
SCOPE = "a/b"
LONG = 3_600.0
_AT_ONCE = 10_000

Items = list[MemoryItem]


@dataclass(frozen=True, slots=True)
class Stores:
    """One database with the same rows in openmem's tables and in those of the bare drivers."""

    url: str
    rows: int
    bare: BareAsync
    bare_sync: BareSync
    awaited: AsyncMemory
    awaited_vectors: GivenVectorsAsync
    plain: Memory
    plain_vectors: GivenVectors

    @property
    def per_user(self) -> int:
        """Rows of each user."""
        return self.rows // USERS

    async def add_many(self, batch: Batch, user_id: str) -> None:
        """Store rows of one user with the async face."""
        self.awaited_vectors.give(batch.vectors)
        await self.awaited.add_many(items(batch), user_id=user_id, timeout=LONG)

    def add_many_plain(self, batch: Batch, user_id: str) -> None:
        """Store rows of one user with the sync face."""
        self.plain_vectors.give(batch.vectors)
        self.plain.add_many(items(batch), user_id=user_id, timeout=LONG)


@contextlib.contextmanager
def server() -> Iterator[PostgresServer]:
    """Start a server of its own that writes to the disk, with the memory of a small production server."""
    settings = {
        "shared_buffers": "1GB",
        "maintenance_work_mem": "1GB",
        "max_wal_size": "8GB",
        "checkpoint_timeout": "30min",
    }
    with postgres_server(private=True, settings=settings) as running:
        yield running


@contextlib.asynccontextmanager
async def open_stores(server: PostgresServer, rows: int, corpus: Corpus) -> AsyncIterator[Stores]:
    """Fill a new database: `USERS` users with equally many memories, the same rows for openmem and the bare drivers."""
    note(f"filling a database with {rows:,} rows")
    url = server.new_database()
    awaited_vectors, plain_vectors = GivenVectorsAsync(), GivenVectors()
    async with AsyncMemory(url=url, embedder=awaited_vectors, app="benchmark") as awaited:
        await fill(awaited, awaited_vectors, corpus, [user(number) for number in range(USERS)], rows // USERS)
        bare = await BareAsync.open(url)
        async with AsyncMemory(url=url, embedder="none", schema="bare"):
            await bare.run("insert into bare.memories select * from openmem.memories")
        await bare.run("vacuum analyze")
        with (
            Memory(url=url, embedder=plain_vectors, app="benchmark") as plain,
            contextlib.closing(BareSync(url)) as bare_sync,
        ):
            yield Stores(url, rows, bare, bare_sync, awaited, awaited_vectors, plain, plain_vectors)
        await bare.close()
    server.drop_database(url)


async def fill(
    memory: AsyncMemory, vectors: GivenVectorsAsync, corpus: Corpus, users: list[str], per_user: int
) -> None:
    """Store equally many memories for each user, in large batches."""
    step = max(1, _AT_ONCE // per_user)
    for place in range(0, len(users), step):
        some = users[place : place + step]
        batch = corpus.batch(len(some) * per_user)
        vectors.give(batch.vectors)
        owners = [owner for owner in some for _ in range(per_user)]
        rows: list[MemoryItem] = [{**item, "user_id": owner} for item, owner in zip(items(batch), owners, strict=True)]
        await memory.add_many(rows, timeout=LONG)


def user(number: int) -> str:
    """Return the name of a user."""
    return f"user-{number % USERS:03d}"


def items(batch: Batch) -> Items:
    """Return what `add_many` is given."""
    return [{"content": text, "scope": SCOPE} for text in batch.texts]
