"""Does a search stay as fast while the store grows? Every user has 1,000 memories; only the number of users changes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpus import Batch, Corpus, GivenVectors
from benchmarks.measure import Line, Timing, note, race, ratio

from openmem import Memory

ROWS_PER_USER = 1_000
AT_MOST = 1.5
_USERS_AT_ONCE = 10
_USERS_ASKED = 20
_SEED = 7


@dataclass(frozen=True, slots=True)
class Store:
    """A filled store and some users, spread over all of them."""

    rows: int
    memory: Memory
    embedder: GivenVectors
    users: list[str]

    def search(self, user: str, queries: Batch, number: int) -> None:
        """Ask one of the users."""
        place = number % len(queries)
        self.embedder.give_query(queries.vectors[place])
        self.memory.search(queries.texts[place], user)

    def ask_one(self, queries: Batch) -> Callable[[int], None]:
        """Return the search of the user in the middle."""
        user = self.users[len(self.users) // 2]
        return lambda number: self.search(user, queries, number)

    def ask_in_turn(self, queries: Batch) -> Callable[[int], None]:
        """Return the search of one user after the other."""
        return lambda number: self.search(self.users[number % len(self.users)], queries, number)


async def growth(folder: Path, sizes: Sequence[int], rounds: int) -> list[Line]:
    """Fill a store of each size, then ask them in turns.

    Args:
        folder: Where the files are made; the largest needs about 2.5 kB per row.
        sizes: Rows in each store, the smallest first; at least three.
        rounds: Searches in each store.
    """
    corpus = Corpus(_SEED)
    queries = corpus.queries(rounds + 1)
    with contextlib.ExitStack() as stack:
        filled = [_fill(stack, folder / f"growth-{size}.db", size, corpus) for size in sizes]
        note("growth: searching")
        first = {store.rows: _first_searches(store, queries) for store in filled}
        one = await race({store.rows: store.ask_one(queries) for store in filled}, rounds)
        turns = await race({store.rows: store.ask_in_turn(queries) for store in filled[1:]}, rounds)
    smallest, few, *_, largest = sizes
    return [
        *(_line("search, one user", rows, smallest, one) for rows in sizes[1:-1]),
        _line("search, one user", largest, smallest, one, AT_MOST),
        _line("search, users in turn", largest, few, turns),
        _line("first search of a user", largest, few, first),
    ]


def _line(what: str, rows: int, base: int, timings: dict[int, Timing], at_most: float | None = None) -> Line:
    return ratio(f"{what}, {rows:,} rows against {base:,}", timings[rows], timings[base], at_most)


def _fill(stack: contextlib.ExitStack, path: Path, rows: int, corpus: Corpus) -> Store:
    embedder = GivenVectors()
    memory = stack.enter_context(Memory(url=str(path), embedder=embedder, app="benchmark"))
    users = [f"user-{number}" for number in range(rows // ROWS_PER_USER)]
    start = time.perf_counter()
    for place in range(0, len(users), _USERS_AT_ONCE):
        some = users[place : place + _USERS_AT_ONCE]
        batch = corpus.batch(len(some) * ROWS_PER_USER)
        embedder.give(batch.vectors)
        owners = [user for user in some for _ in range(ROWS_PER_USER)]
        memory.add_many(
            [{"content": text, "user_id": owner} for text, owner in zip(batch.texts, owners, strict=True)],
            timeout=600.0,
        )
        if place % 100 == 0:
            note(f"growth: {place * ROWS_PER_USER:,} of {rows:,} rows after {time.perf_counter() - start:.0f} s")
    step = max(1, len(users) // _USERS_ASKED)
    return Store(rows, memory, embedder, users[::step][:_USERS_ASKED])


def _first_searches(store: Store, queries: Batch) -> Timing:
    samples = []
    for number in range(len(store.users)):
        start = time.perf_counter()
        store.search(store.users[number], queries, number)
        samples.append(time.perf_counter() - start)
    return Timing(tuple(samples))
