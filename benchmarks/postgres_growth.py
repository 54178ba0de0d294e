"""Does a search on Postgres stay as fast while the table grows? Every user asked has 1,000 memories.

The rows of the first user are stored as always; those of the others are copies of them, put into the tables by the
server itself and in random order, so that the rows of a user lie scattered as after a long time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from benchmarks.corpus import Batch, Corpus, GivenVectorsAsync
from benchmarks.measure import Line, Timing, note, race, ratio
from benchmarks.postgres_bare import BareSync
from benchmarks.postgres_stores import LONG, items

from openmem import AsyncMemory
from openmem._model.ids import routing_bucket
from openmem.testing.postgres import PostgresServer

ROWS_PER_USER = 1_000
AT_MOST = 1.3
_USERS_AT_ONCE = 100
_USERS_ASKED = 20
_SEED = 7
_FIRST = "user-0000"

_COPY = """
    insert into openmem.memories(bucket, id, user_id, content, scope, model, embedding, created_at, version, words)
    select u.bucket, m.id || u.name, u.name, m.content, m.scope, m.model, m.embedding, m.created_at, m.version, m.words
    from openmem.memories m, unnest($1::smallint[], $2::text[]) as u(bucket, name)
    where m.bucket = $3 and m.user_id = $4 order by random()
"""


@dataclass(frozen=True, slots=True)
class Store:
    """A database with a number of rows, and some users spread over all of them."""

    rows: int
    memory: AsyncMemory
    vectors: GivenVectorsAsync
    users: list[str]

    def search(self, user: str, queries: Batch, number: int) -> Awaitable[object]:
        """Ask one of the users."""
        self.vectors.give_query(queries.vectors[number])
        return self.memory.search(queries.texts[number], user, mode="vector")

    def ask_one(self, queries: Batch) -> Callable[[int], Awaitable[object]]:
        """Return the search of the user in the middle."""
        return lambda number: self.search(self.users[len(self.users) // 2], queries, number)

    def ask_in_turn(self, queries: Batch) -> Callable[[int], Awaitable[object]]:
        """Return the search of one user after the other."""
        return lambda number: self.search(self.users[number % len(self.users)], queries, number)


async def growth(server: PostgresServer, sizes: Sequence[int], rounds: int) -> list[Line]:
    """Fill a database of each size, the smallest first, then ask them in turns."""
    corpus = Corpus(_SEED)
    queries = corpus.queries(rounds + 1)
    async with contextlib.AsyncExitStack() as stack:
        filled = [await _fill(stack, server, size, corpus) for size in sizes]
        note("growth: searching")
        one = await race({store.rows: store.ask_one(queries) for store in filled}, rounds)
        turns = await race({store.rows: store.ask_in_turn(queries) for store in filled}, rounds)
    smallest = sizes[0]
    return [
        _line(what, rows, smallest, timings)
        for what, timings in (("search, one user", one), (f"search, {_USERS_ASKED} users in turn", turns))
        for rows in sizes[1:]
    ]


async def _fill(stack: contextlib.AsyncExitStack, server: PostgresServer, rows: int, corpus: Corpus) -> Store:
    url = server.new_database()
    stack.callback(server.drop_database, url)
    vectors = GivenVectorsAsync()
    memory = await stack.enter_async_context(AsyncMemory(url=url, embedder=vectors, app="benchmark"))
    batch = corpus.batch(ROWS_PER_USER)
    vectors.give(batch.vectors)
    await memory.add_many(items(batch), user_id=_FIRST, timeout=LONG)
    users = [f"user-{number:04d}" for number in range(rows // ROWS_PER_USER)]
    with contextlib.closing(BareSync(url)) as bare:
        _copy(bare, users, time.perf_counter())
    return Store(rows, memory, vectors, users[:: max(1, len(users) // _USERS_ASKED)][:_USERS_ASKED])


def _copy(bare: BareSync, users: list[str], start: float) -> None:
    for place in range(1, len(users), _USERS_AT_ONCE):
        some = users[place : place + _USERS_AT_ONCE]
        buckets = [routing_bucket(user) for user in some]
        bare.run((_COPY, [buckets, some, routing_bucket(_FIRST), _FIRST]))
        done = (place + len(some)) * ROWS_PER_USER
        note(f"growth: {done:,} of {len(users) * ROWS_PER_USER:,} rows after {time.perf_counter() - start:.0f} s")
    bare.run(("vacuum analyze", []))


def _line(what: str, rows: int, base: int, timings: dict[int, Timing]) -> Line:
    return ratio(f"{what}, {rows:,} rows against {base:,}", timings[rows], timings[base], AT_MOST)
