"""The schema is made once, by the first role that may; one that may not is told what an administrator must run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from openmem import AsyncMemory, InvalidRequestError, ProviderError, migration_script
from openmem._io.concurrency.primitives import async_gather
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.schema import migrations
from openmem.testing import HashEmbedder
from openmem.testing.postgres import PostgresServer
from tests.postgres_catalog import catalog, execute, plain_role
from tests.postgres_observer import Observer, until

SCRIPT = migration_script()


def opened(url: str, **options: Any) -> AsyncMemory:
    return AsyncMemory(url=url, **{"embedder": HashEmbedder(16), **options})


async def use(url: str, **options: Any) -> list[str]:
    """Add a memory as a new application would; return everything the user has."""
    async with opened(url, **options) as memory:
        await memory.add(content="likes tea", user_id="ann")
        return [record.content for record in (await memory.list("ann")).items]


@pytest.fixture
def scripted_url(postgres: PostgresServer) -> Iterator[str]:
    """The address of a database in which an administrator ran the script."""
    url = postgres.new_database()
    execute(url, SCRIPT)
    yield url
    postgres.drop_database(url)


# --- made once ---


async def test_script_makes_the_same_schema_as_the_first_use(empty_postgres_url: str, scripted_url: str) -> None:
    await use(empty_postgres_url)
    assert catalog(empty_postgres_url) == catalog(scripted_url)


async def test_many_instances_may_open_an_empty_database_at_once(empty_postgres_url: str) -> None:
    # Each has connections of its own, as if it were another process.
    urls = [f"{empty_postgres_url}?application_name=app{number}" for number in range(12)]
    await async_gather(*(partial(use, url) for url in urls))
    assert await use(empty_postgres_url) == ["likes tea"] * 13


async def test_schemas_are_made_side_by_side(empty_postgres_url: str) -> None:
    await async_gather(*(partial(use, empty_postgres_url, schema=f"team{number}") for number in range(6)))
    assert await use(empty_postgres_url, schema="team3") == ["likes tea"] * 2


async def test_second_use_changes_nothing(empty_postgres_url: str) -> None:
    await use(empty_postgres_url)
    before = catalog(empty_postgres_url)
    assert await use(empty_postgres_url) == ["likes tea"] * 2
    assert catalog(empty_postgres_url) == before


async def test_script_may_be_run_again_over_a_schema_in_use(empty_postgres_url: str) -> None:
    await use(empty_postgres_url)
    before = catalog(empty_postgres_url)
    execute(empty_postgres_url, SCRIPT, SCRIPT)
    assert catalog(empty_postgres_url) == before
    assert await use(empty_postgres_url) == ["likes tea"] * 2


async def test_migration_that_fails_leaves_nothing_behind(empty_postgres_url: str) -> None:
    execute(empty_postgres_url, "create schema openmem", "create view openmem.audit as select 1 as bucket")
    with pytest.raises(ProviderError):
        await use(empty_postgres_url)
    execute(empty_postgres_url, "drop view openmem.audit")
    assert await use(empty_postgres_url) == ["likes tea"]


async def test_newer_schema_is_refused(scripted_url: str) -> None:
    execute(scripted_url, "insert into openmem.migrations(version) values(99)")
    with pytest.raises(
        ProviderError, match=rf"newer version of openmem \(schema 99, this one knows {migrations(Names()).newest}\)"
    ):
        await use(scripted_url)
    with pytest.raises(ProviderError, match="upgrade openmem"):
        await use(scripted_url, migrate=False)


# --- without the right to ---


async def test_role_that_may_not_make_the_extension_is_told_the_statement(empty_postgres_url: str) -> None:
    with plain_role(empty_postgres_url) as (_, url), pytest.raises(ProviderError, match="CREATE EXTENSION vector;"):
        await use(url)


async def test_role_that_may_not_make_the_schema_is_told_what_helps(empty_postgres_url: str) -> None:
    execute(empty_postgres_url, "create extension vector")
    with plain_role(empty_postgres_url) as (name, url):
        with pytest.raises(ProviderError, match="GRANT CREATE ON DATABASE"):
            await use(url)
        execute(empty_postgres_url, f"grant create on database {empty_postgres_url.rpartition('/')[2]} to {name}")
        assert await use(url) == ["likes tea"]


async def test_extension_and_schema_made_beforehand_are_enough(empty_postgres_url: str) -> None:
    with plain_role(empty_postgres_url) as (name, url):
        execute(empty_postgres_url, "create extension vector", f"create schema openmem authorization {name}")
        assert await use(url) == ["likes tea"]


async def test_role_that_may_only_read_and_write_can_work_on_tables_made_for_it(scripted_url: str) -> None:
    with plain_role(scripted_url) as (name, url):
        execute(
            scripted_url,
            f"grant usage on schema openmem to {name}",
            f"grant select, insert, update, delete on all tables in schema openmem to {name}",
        )
        assert await use(url) == ["likes tea"]
        assert await use(url, migrate=False) == ["likes tea"] * 2


async def test_server_without_the_extension_says_so(empty_postgres_url: str) -> None:
    name = empty_postgres_url.rpartition("/")[2]
    execute(empty_postgres_url, f"alter database {name} set extension_control_path = '/nowhere'")
    with pytest.raises(ProviderError, match="pgvector is not installed on the database server"):
        await use(empty_postgres_url)


async def test_without_leave_to_migrate_an_empty_database_is_an_error_and_stays_empty(empty_postgres_url: str) -> None:
    with pytest.raises(ProviderError, match="not up to date: run omp migrate"):
        await use(empty_postgres_url, migrate=False)
    execute(empty_postgres_url, "create schema openmem")


async def test_without_leave_to_migrate_a_schema_that_is_there_can_be_used(scripted_url: str) -> None:
    assert await use(scripted_url, migrate=False) == ["likes tea"]


# --- a name of its own, and words of a language ---


async def test_schemas_of_other_names_do_not_see_each_other(empty_postgres_url: str) -> None:
    assert await use(empty_postgres_url, schema="one") == ["likes tea"]
    assert await use(empty_postgres_url, schema="two") == ["likes tea"]
    execute(empty_postgres_url, "create schema openmem")


async def test_script_takes_the_name_of_the_schema(empty_postgres_url: str, scripted_url: str) -> None:
    execute(empty_postgres_url, migration_script("own_name"))
    assert await use(empty_postgres_url, schema="own_name", migrate=False) == ["likes tea"]
    assert str(catalog(empty_postgres_url, "own_name")).replace("own_name", "openmem") == str(catalog(scripted_url))


@pytest.mark.parametrize(
    ("config", "asked", "found"),
    [
        ("english", "running", True),
        ("simple", "running", False),
        ("german", "Häuser", True),
        ("simple", "Häuser", False),
    ],
)
async def test_text_search_option_decides_which_words_are_alike(
    empty_postgres_url: str, config: str, asked: str, found: bool
) -> None:
    async with opened(empty_postgres_url, text_search=config) as memory:
        await memory.add(content="runs past the Haus", user_id="ann")
        assert bool(await memory.search(asked, "ann", mode="keyword")) == found


async def test_unknown_text_search_is_refused_at_once_and_those_there_are_named(empty_postgres_url: str) -> None:
    with pytest.raises(
        InvalidRequestError, match=r"text_search: .* no configuration 'klingon', only .*english.*simple"
    ):
        await use(empty_postgres_url, text_search="klingon")
    assert await use(empty_postgres_url) == ["likes tea"]
    with pytest.raises(InvalidRequestError, match="klingon"):
        await use(empty_postgres_url, text_search="klingon", migrate=False)


BAD = [
    "",
    "Upper",
    "two words",
    "a.b",
    "1st",
    'quote"',
    "quote'",
    "semi;colon",
    "ümlaut",
    "nul\0",
    "x" * 64,
    7,
    None,
    True,
]


@pytest.mark.parametrize("option", ["schema", "text_search"])
@pytest.mark.parametrize("value", BAD)
def test_name_that_is_no_plain_identifier_is_refused(option: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"{option} must be a lower-case identifier"):
        AsyncMemory(url="postgresql://nobody@nowhere.invalid/x", embedder="none", **{option: value})


@pytest.mark.parametrize("names", [("x; drop table y", "english"), ("openmem", "'")])
def test_script_refuses_names_that_are_no_plain_identifiers(names: tuple[str, str]) -> None:
    with pytest.raises(InvalidRequestError, match="must be a lower-case identifier"):
        migration_script(*names)


async def test_context_that_fails_to_open_leaves_no_connection_behind(scripted_url: str) -> None:
    with pytest.raises(InvalidRequestError, match="klingon"):
        async with opened(scripted_url, text_search="klingon"):
            pass
    until(lambda: Observer(scripted_url).connections() == 0)


async def test_closing_what_failed_to_open_leaves_no_connection_behind(scripted_url: str) -> None:
    memory = opened(scripted_url, text_search="klingon")
    with pytest.raises(InvalidRequestError, match="klingon"):
        await memory.health()
    await memory.close()
    until(lambda: Observer(scripted_url).connections() == 0)
