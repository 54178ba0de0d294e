"""Changes under a running program: tables, prepared statements, nodes of a cluster, names of constraints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from openmem import AsyncMemory
from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.primitives import async_gather
from openmem._io.postgres.database import AsyncPg
from openmem._sql.steps import Query, Steps
from openmem.errors import ProviderUnavailableError
from openmem.testing.embedder import HashEmbedder
from tests.postgres_observer import Observer

SOON = Deadline.after(3600)


@pytest.fixture
async def memory(postgres_url: str) -> AsyncIterator[AsyncMemory]:
    """A memory with one connection, so that every statement meets the same prepared ones."""
    async with AsyncMemory(url=postgres_url, embedder=HashEmbedder(16), pool_max_size=1) as memory:
        yield memory


async def use(memory: AsyncMemory, times: int) -> None:
    """Use each verb often enough for its statements to be prepared."""
    for number in range(times):
        stored = await memory.add(content=f"tea {number}", user_id="ann", key="tea")
        await memory.add(content=f"milk {number}", user_id="ann")
        assert (await memory.get(stored.id)).content == f"tea {number}"
        assert (await memory.update(stored.id, content=f"cold tea {number}")).content == f"cold tea {number}"
        assert (await memory.search("cold tea", "ann"))[0].memory.id == stored.id
        assert len(await memory.history(stored.id)) == stored.version
        assert len((await memory.list("ann")).items) > 1


async def test_table_that_is_changed_meanwhile_stops_no_caller(memory: AsyncMemory, postgres_url: str) -> None:
    """The server said "cached plan must not change result type", and one driver never recovered."""
    await use(memory, 4)
    for kind in ("bigint", "integer"):
        Observer(postgres_url).rows(f"alter table openmem.memories alter column version type {kind}")
        await use(memory, 4)


def forgets() -> Steps[None]:
    """Have the server forget what is prepared on this connection, in a way that the driver does not notice."""
    yield Query(
        "do $$ declare name text; begin for name in select s.name from pg_prepared_statements s loop "
        "execute format('deallocate %I', name); end loop; end $$"
    )


def twice(first: str, second: str) -> Steps[Any]:
    """Run two statements and return what the second gives."""
    yield Query(first)
    rows = yield Query(second, ("x",))
    return rows[0][0]


def kept() -> Steps[Any]:
    """Count what is prepared on this connection."""
    rows = yield Query("select count(*) from pg_prepared_statements where statement like 'select $1%nothing else%'")
    return rows[0][0]


@pytest.mark.parametrize("manner", ["run", "transact"])
async def test_prepared_statement_that_is_gone_is_prepared_again(empty_postgres_url: str, manner: str) -> None:
    db = AsyncPg(empty_postgres_url, pool_max_size=1, extension=False)
    work = getattr(db, manner)
    ask = lambda: twice("select 1", "select $1::text || '' /* nothing else */")  # noqa: E731
    for _ in range(5):
        assert await work(ask, SOON, retry=manner == "run") == "x"
    assert await db.run(kept, SOON) == 1
    await db.run(forgets, SOON)
    assert await work(ask, SOON, retry=manner == "run") == "x"
    for _ in range(5):
        assert await work(ask, SOON) == "x"
    assert await db.run(kept, SOON) == 0  # something loses them, so none is kept any more
    await db.aclose()


async def test_statement_that_was_done_already_is_not_done_again(empty_postgres_url: str) -> None:
    db = AsyncPg(empty_postgres_url, pool_max_size=1, extension=False)
    Observer(empty_postgres_url).rows("create table counted(n int)")
    ask = lambda: twice("insert into counted values(1)", "select $1::text")  # noqa: E731
    for _ in range(5):
        await db.run(ask, SOON)
    await db.run(forgets, SOON)
    Observer(empty_postgres_url).rows("delete from counted")
    await db.transact(ask, SOON)
    assert Observer(empty_postgres_url).value("select count(*) from counted") == 1
    await db.aclose()


def pid() -> Steps[Any]:
    """Return the process of the server behind this connection."""
    rows = yield Query("select pg_backend_pid()")
    return rows[0][0]


def loses_a_node() -> Steps[None]:
    """Fail as a coordinator does that cannot reach a worker."""
    yield Query("do $$ begin raise exception 'connection to the remote node failed' using errcode = '08006'; end $$")


async def test_a_lost_node_leaves_the_connection_to_the_coordinator(empty_postgres_url: str) -> None:
    db = AsyncPg(empty_postgres_url, pool_max_size=1, extension=False)
    before = await db.run(pid, SOON)
    with pytest.raises(ProviderUnavailableError, match="node") as caught:
        await db.run(loses_a_node, SOON)
    assert caught.value.details == {"sqlstate": "08006"}
    assert await db.run(pid, SOON) == before
    await db.aclose()


NAMELESS = """
    drop index openmem.memories_key;
    create function openmem.refuse() returns trigger language plpgsql as $$ begin
      perform pg_advisory_xact_lock(1);
      if exists(select 1 from openmem.memories where user_id = new.user_id and key = new.key) then
        raise exception 'duplicate key value' using errcode = 'unique_violation';
      end if;
      return new;
    end $$;
    create trigger refuse before insert on openmem.memories for each row when (new.key is not null)
      execute function openmem.refuse()
"""


async def test_a_key_that_is_taken_meanwhile_is_seen_without_the_name_of_its_index(postgres_url: str) -> None:
    """Clusters name no constraint, and concurrent adds of one key failed."""
    Observer(postgres_url).rows(NAMELESS)
    async with AsyncMemory(url=postgres_url, embedder="none") as memory:
        made = await async_gather(
            *[lambda n=n: memory.add(content=f"note {n}", user_id="ann", key="k") for n in range(24)]
        )
        assert len({record.id for record in made}) == 1
        assert len((await memory.list("ann")).items) == 1
        assert (await memory.get(made[0].id)).version == 24
