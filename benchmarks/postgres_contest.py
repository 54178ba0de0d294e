"""openmem against the others on one server: the same vectors, the same rows, in turns.

Twice: without an approximate index, where all scan the rows of the user, and with the HNSW index that the
others make unless they are told otherwise. openmem's default is without; it stays as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.corpus import Batch, Corpus, Floats
from benchmarks.measure import Line, Timing, note, race, ratio
from benchmarks.postgres_bare import BareSync
from benchmarks.postgres_goals import Share
from benchmarks.postgres_rivals import POOL, Known, KnownAsync, LangGraph, Mem0, Rival
from benchmarks.postgres_stores import LONG, USERS, user

from openmem import AsyncMemory, Memory, MemoryItem
from openmem.testing.postgres import PostgresServer

AT_ONCE = 64
INGESTED = 1_000
FASTER = 1.0
_FILLED_AT_ONCE = 1_000
_RECALL_QUERIES = 50
_RECALL_AT_LEAST = 1.0


@dataclass(frozen=True, slots=True)
class Contest:
    """A filled store of each, and what was asked and stored."""

    batch: Batch
    owners: list[str]
    vectors: tuple[Known, KnownAsync]
    awaited: AsyncMemory
    plain: Memory
    rivals: list[Rival]

    def learn(self, batch: Batch) -> Batch:
        """Let the embedders know texts that are to come."""
        for known in self.vectors:
            known.learn(batch)
        return batch

    def search(self, text: str, owner: str) -> Any:
        """Search with the async face."""
        return self.awaited.search(text, owner, mode="vector")

    def nearest(self, owner: str, query: Floats) -> set[str]:
        """Return the ten texts of a user that are nearest to a query."""
        places = np.flatnonzero(np.array(self.owners) == owner)
        nearest = places[np.argsort(-(self.batch.vectors[places] @ query))[:10]]
        return {self.batch.texts[place] for place in nearest}


async def contest(server: PostgresServer, rows: int, rounds: int, seed: int) -> list[Line]:
    """Compare searches, adds, concurrent searches and an ingest with each of the others that is installed."""
    lines: list[Line] = []
    corpus = Corpus(seed)
    with tempfile.TemporaryDirectory(prefix="openmem-benchmark-") as name:
        async with _opened(server, rows, corpus, Path(name)) as (contest, databases):
            if not contest.rivals:
                return []
            for index in ("exact", "HNSW"):
                if index == "HNSW":
                    for rival in contest.rivals:
                        note(f"{rival.name}: making its index")
                        await rival.make_index()
                _settle(databases)
                where = f"{rows // USERS:,} rows per user, theirs {index}"
                lines += await _searches(contest, corpus, rounds, where)
                lines += await _writes(contest, corpus, rounds, where)
                lines += await _recalls(contest, corpus, where)
    return lines


async def _searches(contest: Contest, corpus: Corpus, rounds: int, where: str) -> list[Line]:
    note(f"contest: searches, {where}")
    queries = contest.learn(corpus.queries(rounds + 1))
    texts = queries.texts
    competitors: dict[str, Any] = {
        "async": lambda n: contest.search(texts[n], user(n)),
        "sync": lambda n: contest.plain.search(texts[n], user(n), mode="vector"),
        "hybrid": lambda n: contest.plain.search(texts[n], user(n)),
    }
    for rival in contest.rivals:
        competitors[rival.name] = lambda n, rival=rival: rival.search(texts[n], user(n))
    one = await race(competitors, rounds)
    asked = [(texts[n], user(n)) for n in range(min(AT_ONCE, len(texts)))]
    competitors = {"async": lambda n: _all(contest, asked)}
    for rival in contest.rivals:
        competitors[rival.name] = lambda n, rival=rival: rival.search_all(asked)
    many = await race(competitors, max(5, rounds // 20))
    lines = []
    for rival in contest.rivals:
        ours = _face(rival)
        lines.append(_line("search", rival, one[ours], one[rival.name], where))
        if rival.name == Mem0.name:  # which searches by words as well
            lines.append(_line("hybrid search", rival, one["hybrid"], one[rival.name], where))
        lines.append(_line(f"{AT_ONCE} searches at once", rival, many["async"], many[rival.name], where))
    return lines


async def _writes(contest: Contest, corpus: Corpus, rounds: int, where: str) -> list[Line]:
    note(f"contest: adds, {where}")
    texts = contest.learn(corpus.batch(rounds + 1)).texts
    competitors: dict[str, Any] = {
        "async": lambda n: contest.awaited.add(content=texts[n], user_id=_writer(n)),
        "sync": lambda n: contest.plain.add(content=texts[n], user_id=_writer(n)),
    }
    for rival in contest.rivals:
        competitors[rival.name] = lambda n, rival=rival: rival.add(texts[n], _writer(n))
    one = await race(competitors, rounds)
    note(f"contest: {INGESTED:,} rows ingested, {where}")
    batches = [contest.learn(corpus.batch(INGESTED)).texts for _ in range(4)]
    competitors = {
        "async": lambda n: contest.awaited.add_many(_items(batches[n]), user_id=f"new-{n}", timeout=LONG),
        "sync": lambda n: contest.plain.add_many(_items(batches[n]), user_id=f"new-{n}", timeout=LONG),
    }
    for rival in contest.rivals:
        competitors[rival.name] = lambda n, rival=rival: rival.ingest(batches[n], f"new-{n}")
    many = await race(competitors, len(batches) - 1)
    lines = []
    for rival in contest.rivals:
        ours = _face(rival)
        lines.append(_line("add", rival, one[ours], one[rival.name], where))
        lines.append(_line(f"{INGESTED:,} rows ingested", rival, many[ours], many[rival.name], where))
    return lines


async def _recalls(contest: Contest, corpus: Corpus, where: str) -> list[Line]:
    """Compare what is found with the ten nearest rows of the user."""
    queries = contest.learn(corpus.queries(_RECALL_QUERIES))
    shares = {"openmem": 0.0} | {rival.name: 0.0 for rival in contest.rivals}
    for number, text in enumerate(queries.texts):
        owner = user(number)
        wanted = contest.nearest(owner, queries.vectors[number])
        found = [result.memory.content for result in await contest.search(text, owner)]
        shares["openmem"] += len(wanted.intersection(found)) / len(wanted)
        for rival in contest.rivals:
            answer = rival.search(text, owner)
            answer = await answer if hasattr(answer, "__await__") else answer
            shares[rival.name] += len(wanted.intersection(rival.found(answer))) / len(wanted)
    recalls = {name: share / len(queries) for name, share in shares.items()}
    return [_recall_line(rival.name, recalls, len(queries), where) for rival in contest.rivals]


@contextlib.asynccontextmanager
async def _opened(
    server: PostgresServer, rows: int, corpus: Corpus, folder: Path
) -> AsyncIterator[tuple[Contest, list[str]]]:
    vectors = (Known(), KnownAsync())
    batch = corpus.batch(rows)
    owners = [user(number) for number in range(USERS) for _ in range(rows // USERS)]
    for known in vectors:
        known.learn(batch)
    databases = {name: server.new_database() for name in ("openmem", Mem0.name, LangGraph.name)}
    rivals = await _rivals(databases, vectors[0], folder)
    url = databases["openmem"]
    async with AsyncMemory(url=url, embedder=vectors[1], pool_max_size=POOL) as awaited:
        with Memory(url=url, embedder=vectors[0], pool_max_size=POOL) as plain:
            contest = Contest(batch, owners, vectors, awaited, plain, rivals)
            await _fill(contest)
            yield contest, list(databases.values())
    for rival in rivals:
        await rival.close()
    for database in databases.values():
        server.drop_database(database)


async def _rivals(databases: dict[str, str], vectors: Known, folder: Path) -> list[Rival]:
    """Open those that are installed."""
    rivals: list[Rival] = []
    try:
        rivals.append(Mem0(databases[Mem0.name], vectors, folder))
    except ImportError as error:
        note(f"mem0 is left out ({error.name} is missing): make bench-postgres installs it")
    try:
        rivals.append(await LangGraph(databases[LangGraph.name], vectors).open())
    except ImportError as error:
        note(f"LangGraph is left out ({error.name} is missing): make bench-postgres installs it")
    return rivals


async def _fill(contest: Contest) -> None:
    asked = list(zip(contest.batch.texts, contest.owners, strict=True))
    note(f"contest: filling {1 + len(contest.rivals)} stores with {len(asked):,} rows")
    for place in range(0, len(asked), _FILLED_AT_ONCE):
        some = asked[place : place + _FILLED_AT_ONCE]
        rows: list[MemoryItem] = [{"content": text, "user_id": owner} for text, owner in some]
        await contest.awaited.add_many(rows, timeout=LONG)
        for rival in contest.rivals:
            await rival.fill(some)


def _settle(databases: Sequence[str]) -> None:
    for database in databases:
        with contextlib.closing(BareSync(database)) as bare:
            bare.run(("vacuum analyze", []))


async def _all(contest: Contest, asked: Sequence[tuple[str, str]]) -> None:
    await asyncio.gather(*(contest.search(text, owner) for text, owner in asked))


def _writer(number: int) -> str:
    # Not one of those who are asked: what they have stays known.
    return f"writer-{user(number)}"


def _items(texts: Sequence[str]) -> list[MemoryItem]:
    return [{"content": text} for text in texts]


def _face(rival: Rival) -> str:
    return "sync" if rival.name == Mem0.name else "async"


def _line(what: str, rival: Rival, mine: Timing, theirs: Timing, where: str) -> Line:
    return ratio(f"{what}, against {rival.name}, {where}", mine, theirs, FASTER)


def _recall_line(name: str, recalls: dict[str, float], count: int, where: str) -> Line:
    mine, theirs = recalls["openmem"], recalls[name]
    what = f"recall@10, against {name}, {where}"
    return Share(what, f"{mine:.3f}", f"{theirs:.3f}", mine, count, at_least=_RECALL_AT_LEAST)
