"""Tables that are spread over servers: how they come to be, and what is said where that is not possible."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

import psycopg
import pytest
from pglast import split
from psycopg import sql

from openmem import InvalidRequestError, Memory, ProviderError, migration_script
from openmem.testing import HashEmbedder
from openmem.testing._postgres.install import find_install
from openmem.testing.postgres import PostgresServer
from tests.citus_standin import become_worker, install, spread_tables
from tests.postgres_catalog import catalog, first_version
from tests.shell import omp, out

SPREAD = {
    "memories": ("bucket", None),
    **dict.fromkeys(["audit", "feed", "supersessions", "vectors", "versions"], ("bucket", "openmem.memories")),
    **dict.fromkeys(["migrations", "models"], (None, None)),
}


@pytest.fixture
def cluster_url(empty_postgres_url: str) -> str:
    """The address of one that says that it is a cluster's."""
    install(empty_postgres_url)
    return empty_postgres_url


def execute(url: str, text: str) -> None:
    """Run the statements of a script one by one, as `psql` does."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in split(text):
            connection.execute(statement.encode())


def test_command_spreads_the_tables_and_says_nothing_new_the_second_time(cluster_url: str) -> None:
    for expected in ("were made", "are up to date"):
        done = out("migrate", "--distribute", "--url", cluster_url)
        assert expected in done
        assert spread_tables(cluster_url) == SPREAD


def test_tables_are_not_spread_unless_that_is_asked_for(cluster_url: str) -> None:
    with Memory(url=cluster_url, embedder="none") as memory:
        memory.add(content="tea", user_id="ann")
        assert memory.search("tea", "ann")
    execute(cluster_url, migration_script())
    assert spread_tables(cluster_url) == {}


def test_script_for_a_cluster_makes_nothing_elsewhere(empty_postgres_url: str) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="no extension citus: run CREATE EXTENSION citus"):
        execute(empty_postgres_url, migration_script(distribute=True))
    with psycopg.connect(empty_postgres_url) as connection:
        assert connection.execute("select to_regnamespace('openmem')").fetchone() == (None,)


def test_command_for_a_cluster_says_elsewhere_what_is_missing_and_leaves_the_store_usable(postgres_url: str) -> None:
    done = omp("migrate", "--distribute", "--url", postgres_url, code=1)
    assert "the database has no extension citus: run CREATE EXTENSION citus" in done.stderr
    with Memory(url=postgres_url, embedder="none") as memory:
        memory.add(content="tea", user_id="ann")
        assert memory.search("tea", "ann")


def test_dump_of_a_cluster_is_spread_again_where_it_is_restored(
    cluster_url: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    with Memory(url=cluster_url, embedder=HashEmbedder(), distribute=True) as memory:
        old = memory.add(content="green tea", user_id="ann")
        memory.add(content="black tea", user_id="ann", supersedes=[old.id])
    binaries, dump = find_install().binaries, tmp_path / "openmem.dump"
    other = postgres.new_database()
    try:
        install(other)
        execute(other, "create extension vector")
        run = partial(subprocess.run, check=True)
        run([binaries / "pg_dump", cluster_url, "--schema=openmem", "--format=custom", f"--file={dump}"])
        run([binaries / "pg_restore", f"--dbname={other}", dump])
        assert spread_tables(other) == {}
        out("migrate", "--distribute", "--url", other)
        assert spread_tables(other) == SPREAD
        with Memory(url=other, embedder=HashEmbedder()) as restored:
            assert [record.content for record in restored.list("ann").items] == ["black tea"]
            assert restored.search("tea", "ann")
            assert [entry.action for entry in restored.audit("ann")][-2:] == ["add", "add"]
    finally:
        postgres.drop_database(other)


def test_script_spreads_the_tables_and_can_be_run_again(cluster_url: str) -> None:
    for distribute in (True, False, True):
        execute(cluster_url, migration_script(distribute=distribute))
        assert spread_tables(cluster_url) == SPREAD
    with Memory(url=cluster_url, embedder="none", migrate=False) as memory:
        assert memory.list("ann").items == []


def test_script_of_a_cluster_makes_the_same_tables(cluster_url: str) -> None:
    execute(cluster_url, migration_script(distribute=True))
    execute(cluster_url, migration_script(schema="beside", distribute=False))
    plain = [[str(value).replace("beside", "openmem") for value in row] for row in catalog(cluster_url, "beside")]
    assert [[*map(str, row)] for row in catalog(cluster_url)] == plain


def test_tables_of_later_migrations_follow_those_that_are_spread(cluster_url: str) -> None:
    execute(cluster_url, ";".join(["create extension if not exists vector", *first_version()]))
    tables = ("memories", "versions", "supersessions", "vectors", "audit")
    execute(cluster_url, ";".join(f"select create_distributed_table('openmem.{name}', 'bucket')" for name in tables))
    with Memory(url=cluster_url, embedder=HashEmbedder()) as memory:
        memory.add(content="tea", user_id="ann")
        assert memory.search("tea", "ann", mode="vector")
    assert spread_tables(cluster_url).keys() == SPREAD.keys()
    assert spread_tables(cluster_url)["models"] == (None, None)


def test_address_of_a_worker_is_refused_before_anything_is_made(cluster_url: str) -> None:
    become_worker(cluster_url)
    with pytest.raises(InvalidRequestError, match="worker of a Citus cluster; give the address of its coordinator"):
        Memory(url=cluster_url, embedder="none").list("ann")
    with psycopg.connect(cluster_url) as connection:
        row = connection.execute("select to_regnamespace('openmem')").fetchone()
    assert row == (None,)


def test_spreading_without_citus_says_what_is_missing(empty_postgres_url: str) -> None:
    with pytest.raises(ProviderError, match="CREATE EXTENSION citus"):
        Memory(url=empty_postgres_url, embedder="none", distribute=True).list("ann")
    with pytest.raises(InvalidRequestError, match="exclude each other"):
        migration_script(partitions=4, distribute=True)


def test_health_counts_the_rows_of_the_shards_that_answer(cluster_url: str) -> None:
    with Memory(url=cluster_url, embedder="none", distribute=True) as memory:
        memory.add_many([{"content": f"tea {number}", "user_id": "ann"} for number in range(30)])
        execute(cluster_url, "analyze openmem.memories")
        assert memory.health().detail["memories"] == 30


def test_health_counts_the_rows_of_partitions(empty_postgres_url: str) -> None:
    execute(empty_postgres_url, migration_script(partitions=4))
    with Memory(url=empty_postgres_url, embedder="none") as memory:
        memory.add_many([{"content": "tea", "user_id": f"user{number}"} for number in range(30)])
        execute(empty_postgres_url, "vacuum analyze")
        assert memory.health().detail["memories"] == 30


def test_index_of_a_large_cluster_is_not_built_during_a_search(cluster_url: str) -> None:
    with Memory(url=cluster_url, embedder=HashEmbedder(), distribute=True) as memory:
        memory.add(content="tea", user_id="ann")
    with psycopg.connect(cluster_url, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("alter database {} set standin.size = '100000000'").format(name))
    with (
        Memory(url=cluster_url, embedder=HashEmbedder(), hnsw=True, hnsw_from=1) as memory,
        pytest.raises(ProviderError, match="too large to be indexed during a call"),
    ):
        memory.search("tea", "ann", mode="vector")


def test_program_with_the_old_length_notices_a_move_on_a_cluster(cluster_url: str) -> None:
    with Memory(url=cluster_url, embedder=HashEmbedder(model="one"), distribute=True) as old:
        old.add(content="tea", user_id="ann")
        with Memory(url=cluster_url, embedder=HashEmbedder(16, model="one")) as new:
            with pytest.raises(InvalidRequestError, match="reembed"):
                new.add(content="coffee", user_id="ann")
            assert new.reembed().done == 1
            # What the older one stores in its last second is not lost: it has a vector of another length.
            with (
                Memory(url=cluster_url, embedder=HashEmbedder(model="one")) as late,
                pytest.raises(InvalidRequestError, match="reembed"),
            ):
                late.add(content="coffee", user_id="ann")
            assert [found.memory.content for found in new.search("tea", "ann", mode="vector")] == ["tea"]
