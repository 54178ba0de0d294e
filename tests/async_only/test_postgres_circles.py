"""Circles that several tasks close together, each a part of it: never is everything hidden."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from openmem import AsyncMemory, NotFoundError
from openmem._emulation.views import shows, superseded_since
from openmem._model.requests import View
from openmem.errors import ProviderUnavailableError
from openmem.types import ImportConflict, MemoryRecord

ROUNDS = 12


async def everything(memory: AsyncMemory) -> list[MemoryRecord]:
    return (await memory.list("ann", limit=500, include_superseded=True)).items


async def check(memory: AsyncMemory) -> None:
    """Hold what is shown against what the records themselves say."""
    records = await everything(memory)
    since = superseded_since(records)
    expected = {one.id for one in records if shows(View("ann"), one, datetime.now(UTC), since)}
    assert {one.id for one in (await memory.list("ann", limit=500)).items} == expected
    assert expected or not records


async def insist(verb: Callable[[], Awaitable[object]]) -> None:
    """Call a verb again as long as another transaction is in the way, as the error says."""
    while True:
        try:
            await verb()
            return
        except ProviderUnavailableError:
            continue
        except NotFoundError:
            return


async def link(memory: AsyncMemory, new: str, old: str) -> None:
    await insist(lambda: memory.update(new, supersedes=[old]))


async def act(memory: AsyncMemory, rng: random.Random, ids: list[str], lines: list[str]) -> None:
    """Do something that changes which memory supersedes which."""
    one, other = rng.sample(ids, 2)
    conflict: ImportConflict = rng.choice(["skip", "overwrite"])
    verbs: list[Callable[[], Awaitable[object]]] = [
        partial(memory.update, one, supersedes=[other]),
        partial(memory.update, one, supersedes=None),
        partial(memory.update, one, content="green tea"),
        partial(memory.add, content="mint tea", user_id="ann", supersedes=[one, other]),
        partial(memory.add, content="no tea", user_id="ann", key="tea", supersedes=[one]),
        partial(memory.add, content="black tea", user_id="ann", key="tea"),
        partial(memory.delete, one),
        partial(memory.import_, rng.sample(lines, 3), conflict=conflict),
    ]
    await insist(rng.choice(verbs))


@pytest.fixture(params=["postgres", "sqlite"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    url: str = request.getfixturevalue("quick_url") if request.param == "postgres" else f"sqlite:///{tmp_path / 'm.db'}"
    return url


async def test_all_verbs_of_one_user_at_once_leave_what_the_records_say(any_url: str) -> None:
    rng = random.Random(5)
    async with AsyncMemory(url=any_url, embedder="none") as memory:
        ids = [(await memory.add(content="tea", user_id="ann")).id for _ in range(6)]
        for new, old in pairwise(ids):
            await link(memory, new, old)
        lines = [line for line in (await memory.export("ann")).lines if '"memory"' in line]
        for number in range(8):
            await asyncio.gather(*(act(memory, rng, ids, lines) for _ in range(8)))
            if number == 5:
                await asyncio.gather(
                    insist(partial(memory.delete_all, "ann")), *(act(memory, rng, ids, lines) for _ in range(4))
                )
            await check(memory)


@pytest.fixture
def quick_url(postgres_url: str) -> str:
    """The address of a database that looks for deadlocks after 20 ms, not after a second."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("alter database {} set deadlock_timeout = '20ms'").format(name))
    return postgres_url


async def test_halves_of_a_circle_that_share_no_memory_close_it_together(quick_url: str) -> None:
    async with AsyncMemory(url=quick_url, embedder="none") as memory:
        for _ in range(ROUNDS):
            a, b, c, d = [(await memory.add(content="tea", user_id="ann")).id for _ in range(4)]
            await link(memory, a, b)
            await link(memory, c, d)
            await asyncio.gather(link(memory, b, c), link(memory, d, a))
            await check(memory)
            assert (await memory.list("ann")).items
            await memory.delete_all("ann")


@pytest.mark.parametrize("seed", range(3))
async def test_links_of_many_tasks_at_once_end_as_the_records_say(quick_url: str, seed: int) -> None:
    rng = random.Random(seed)
    async with AsyncMemory(url=quick_url, embedder="none") as memory:
        ids = [(await memory.add(content="tea", user_id="ann")).id for _ in range(7)]
        for _ in range(4):
            pairs = [rng.sample(ids, 2) for _ in range(8)]
            await asyncio.gather(*(link(memory, new, old) for new, old in pairs))
            await check(memory)
        await asyncio.gather(*(insist(partial(memory.delete, id_)) for id_ in ids[:3]), link(memory, ids[4], ids[5]))
        await check(memory)
