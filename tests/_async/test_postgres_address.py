"""One address means the same to both drivers, whatever the environment, files, role and database add to it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from openmem import AsyncMemory, InvalidRequestError, OMPError, ProviderError
from openmem._io.concurrency.call import Deadline
from openmem._io.postgres.database import AsyncPg
from openmem._sql.steps import Query, Steps
from openmem.errors import ProviderUnavailableError, UnauthorizedError
from openmem.testing.postgres import PostgresServer
from tests.postgres_observer import Observer

TEXT = "Ann likes caf\u00e9 \U0001f355 na\u00efve \u6771\u4eac"
EXTENSION: dict[str, Any] = {"x-a": {"k": "\u00fc"}}


async def asked(url: str, sql: str) -> Any:
    """Return the value of a statement through a connection of our own."""

    def steps() -> Steps[Any]:
        rows = yield Query(sql)
        return rows[0][0]

    db = AsyncPg(url, extension=False)
    try:
        return await db.run(steps, Deadline.after(15))
    finally:
        await db.aclose()


async def works(url: str, **options: Any) -> bool:
    """Return whether a memory comes back from there as it was stored."""
    async with AsyncMemory(url=url, embedder="none", timeout=15, **options) as memory:
        stored = await memory.add(content=TEXT, user_id="ann", tags=["\u00fc"], **EXTENSION)
        found = await memory.search("caf\u00e9", "ann")
        return await memory.get(stored.id, user_id="ann") == stored == found[0].memory


@pytest.fixture
def parts(empty_postgres_url: str) -> tuple[str, int, str]:
    """Host, port and name of a database that was never used."""
    found = urlsplit(empty_postgres_url)
    return found.hostname or "", found.port or 0, found.path[1:]


async def test_the_place_may_stand_in_the_query(parts: tuple[str, int, str]) -> None:
    host, port, name = parts
    assert (
        await asked(f"postgresql:///{name}?host={host}&port={port}&user=postgres", "select current_database()") == name
    )


async def test_the_first_host_that_answers_is_taken(parts: tuple[str, int, str]) -> None:
    host, port, name = parts
    url = f"postgresql://postgres@127.0.0.1:1,{host}:{port}/{name}?target_session_attrs=read-write"
    assert await asked(url, "select current_database()") == name


async def test_part_that_the_url_leaves_out_comes_from_the_environment(
    parts: tuple[str, int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port, name = parts
    for variable, value in (("PGHOST", host), ("PGPORT", str(port)), ("PGDATABASE", name), ("PGUSER", "postgres")):
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("PGAPPNAME", "mine")
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=5MB")
    assert await asked("postgresql://", "select current_database()") == name
    assert await asked("postgresql://", "show work_mem") == "5MB"
    assert await asked("postgresql://", "show application_name") == "mine"
    assert await asked("postgresql:///?application_name=yours", "show application_name") == "yours"


async def test_part_that_the_url_leaves_out_comes_from_its_service(
    parts: tuple[str, int, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host, port, name = parts
    file = tmp_path / "services"
    file.write_text(
        f"[mine]\nhost={host}\nport={port}\ndbname={name}\nuser=postgres\napplication_name=served\n", encoding="utf-8"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    monkeypatch.setenv("PGHOST", "nowhere.invalid")  # the service goes before the environment
    assert await asked("postgresql:///?service=mine", "show application_name") == "served"
    monkeypatch.setenv("PGSERVICE", "mine")
    assert await asked("postgresql://", "select current_database()") == name
    with pytest.raises(InvalidRequestError, match="service"):
        await asked("postgresql:///?service=other", "select 1")
    monkeypatch.delenv("PGSERVICE")
    file.write_text(f"[mine]\nhost={host}\nwork_mem=6MB\n", encoding="utf-8")
    with pytest.raises(InvalidRequestError, match="no parameter work_mem"):
        await asked("postgresql:///?service=mine", "select 1")


@pytest.fixture
def guarded(own_postgres: PostgresServer) -> Any:
    """The port of a server that lets the role `guarded` in with its password only."""
    observer = Observer(own_postgres.url)
    port, file = urlsplit(own_postgres.url).port, Path(observer.value("show hba_file"))
    before = file.read_text(encoding="utf-8")
    file.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + before, encoding="utf-8")
    observer.rows("create role guarded login password 'a:b\\c'")
    observer.rows("select pg_reload_conf()")
    yield port
    file.write_text(before, encoding="utf-8")
    observer.rows("select pg_reload_conf()")
    observer.rows("drop role guarded")


async def test_password_may_be_in_a_file_that_no_other_user_can_read(
    guarded: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file, url = tmp_path / ".pgpass", f"postgresql://guarded@127.0.0.1:{guarded}/postgres"
    file.write_text(f"# mine\nother:*:*:*:no\n127.0.0.1:{guarded}:*:guarded:a\\:b\\\\c\n", encoding="utf-8")
    file.chmod(0o600)
    assert await asked(url, "select current_user::text") == "guarded"
    other = tmp_path / "other"
    other.write_text("*:*:*:*:wrong\n", encoding="utf-8")
    other.chmod(0o600)
    with pytest.raises(UnauthorizedError):
        await asked(f"{url}?passfile={quote(str(other))}", "select 1")
    file.chmod(0o644)
    with pytest.raises(UnauthorizedError):
        await asked(url, "select 1")


@pytest.mark.parametrize(
    "query", ["unheard_of=1", "options=-c%20unheard_of%3D1", "options=endpoint%3Dx", "jit=perhaps"]
)
async def test_a_parameter_that_the_server_refuses_is_named(empty_postgres_url: str, query: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"does not take a parameter of it: {query.partition('=')[0]}"):
        await asked(f"{empty_postgres_url}?{query}", "select 1")


@pytest.mark.parametrize("query", ["sslmode=require", "requiressl=1", "channel_binding=require", "sslmode=verify-full"])
async def test_a_server_without_tls_is_refused_where_tls_is_asked_for(empty_postgres_url: str, query: str) -> None:
    with pytest.raises(ProviderUnavailableError, match="TLS"):
        await asked(f"{empty_postgres_url}?{query}", "select 1")


async def test_old_variable_that_asks_for_tls_counts(empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("PGREQUIRESSL", "1")
        with pytest.raises(ProviderUnavailableError, match="TLS"):
            await asked(empty_postgres_url, "select 1")


@pytest.mark.parametrize(
    "query",
    [
        "sslcert=/nonexistent",
        "sslcert=/nonexistent&sslkey=/nonexistent",
        f"sslcertmode=disable&sslcert={quote(__file__)}",
    ],
)
async def test_certificate_that_is_not_there_or_not_wanted_is_done_without(empty_postgres_url: str, query: str) -> None:
    assert await asked(f"{empty_postgres_url}?{query}", "select 1") == 1


async def test_the_encoding_of_the_client_is_utf_8_whatever_is_said(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = urlsplit(empty_postgres_url).path[1:]
    Observer(empty_postgres_url).rows(f'alter database "{name}" set client_encoding = LATIN1')
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    assert await works(f"{empty_postgres_url}?client_encoding=latin1")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
async def test_a_database_that_cannot_hold_every_text_is_refused(postgres: PostgresServer, encoding: str) -> None:
    name, admin = f"encoded_{encoding.lower()}_{id(works)}", Observer(postgres.url)
    admin.rows(f"create database {name} encoding '{encoding}' locale 'C' template template0")
    try:
        with pytest.raises(ProviderError, match="encoding of the database is not UTF8"):
            await works(postgres.database_url(name))
    finally:
        admin.rows(f"drop database {name} with (force)")


SETTINGS = {
    "timezone": "Asia/Kolkata",
    "datestyle": "German, DMY",
    "intervalstyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "default_text_search_config": "pg_catalog.simple",
    "row_security": "off",
    "quote_all_identifiers": "on",
    "transform_null_equals": "on",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_indexscan": "off",
    "jit": "on",
    "jit_above_cost": "0",
    "synchronous_commit": "off",
    "lock_timeout": "5s",
    "statement_timeout": "15s",
    "work_mem": "64kB",
}


@pytest.mark.parametrize("holder", ["database", "role"])
async def test_settings_of_database_and_role_change_no_answer(own_postgres: PostgresServer, holder: str) -> None:
    url = own_postgres.new_database()
    admin, name = Observer(own_postgres.url), urlsplit(url).path[1:]
    role = f"set_{name}"
    admin.rows(f"create role {role} superuser login")
    try:
        for setting, value in SETTINGS.items():
            admin.rows(f"alter {holder} {name if holder == 'database' else role} set {setting} = '{value}'")
        address = url.replace("//postgres@", f"//{role}@")
        assert await works(address)
        shown = await asked(address, "show datestyle")
        assert shown == "German, DMY"  # they were in force
    finally:
        own_postgres.drop_database(url)
        admin.rows(f"drop role {role}")


@pytest.mark.parametrize(
    ("setting", "kind"),
    [("default_transaction_read_only = on", ProviderUnavailableError), ("statement_timeout = 1", ProviderError)],
)
async def test_settings_that_forbid_the_work_end_in_an_error_of_ours(
    postgres_url: str, setting: str, kind: type[OMPError]
) -> None:
    name = urlsplit(postgres_url).path[1:]
    Observer(postgres_url).rows(f'alter database "{name}" set {setting}')
    with contextlib.suppress(OMPError):
        await works(postgres_url)
    if kind is ProviderUnavailableError:
        with pytest.raises(kind, match="read-only"):
            await works(postgres_url)
