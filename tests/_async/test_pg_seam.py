"""The seam to Postgres: the same values, the same errors and the same endurance through either driver."""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from pgvector import HalfVector, Vector

from openmem._io.concurrency.call import Deadline
from openmem._io.postgres.database import AsyncPg
from openmem._sql.postgres.values import Json
from openmem._sql.postgres.vectors import PackedVector
from openmem._sql.steps import Many, Query, Steps
from openmem.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    ProviderError,
    ProviderUnavailableError,
    UnauthorizedError,
)

SOON = Deadline.after(3600)
SECRET = "correct-horse-battery"


def ask(sql: str, *params: Any) -> Callable[[], Steps[list[tuple[Any, ...]]]]:
    """Return what makes the steps of one statement; its rows are the result."""

    def steps() -> Steps[list[tuple[Any, ...]]]:
        rows = yield Query(sql, params)
        return [tuple(row) for row in rows]

    return steps


def commands(*texts: str) -> Callable[[], Steps[None]]:
    """Return what makes the steps of some statements."""

    def steps() -> Steps[None]:
        for text in texts:
            yield Query(text)

    return steps


def with_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"nobody:{SECRET}@{parts.hostname}:{parts.port}").geturl()


def shown(error: BaseException) -> str:
    """Return everything a log could show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(getattr(error, "details", None))


async def value_of(db: AsyncPg, sql: str, *params: Any) -> Any:
    rows = await db.run(ask(sql, *params), SOON)
    return rows[0][0]


INSTANT = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=timezone(timedelta(hours=9)))


@pytest.mark.parametrize(
    ("sql", "param", "expected"),
    [
        ("$1::text", "a'b\\ é", "a'b\\ é"),
        ("$1::text", None, None),
        ("$1::text[]", ["x", 'y,"z', ""], ["x", 'y,"z', ""]),
        ("$1::text[]", [], []),
        ("$1::jsonb", Json({"a": [1, None, "é"], "b": True}), {"a": [1, None, "é"], "b": True}),
        ("$1::jsonb", Json(None), None),
        ("$1::timestamptz", INSTANT, INSTANT),
        ("$1::real", 0.9, 0.8999999761581421),
        ("$1::double precision", 0.9, 0.9),
        ("$1::smallint", 4095, 4095),
        ("$1::bigint", 2**40, 2**40),
        ("$1::boolean", True, True),
    ],
)
async def test_value_goes_in_and_comes_out(empty_postgres_url: str, sql: str, param: Any, expected: Any) -> None:
    db = AsyncPg(empty_postgres_url)
    found = await value_of(db, f"select {sql}", param)
    assert found == expected
    assert type(found) is type(expected)
    await db.aclose()


async def test_instant_comes_out_in_utc_whatever_the_session_says(empty_postgres_url: str) -> None:
    db = AsyncPg(empty_postgres_url, setup=("set timezone = 'Asia/Tokyo'",))
    found = await value_of(db, "select $1::timestamptz", INSTANT)
    assert found.tzinfo is UTC
    assert await value_of(db, "show timezone") == "Asia/Tokyo"
    await db.aclose()


@pytest.mark.parametrize("schema", ["public", "elsewhere"])
async def test_vectors_go_in_and_come_out(empty_postgres_url: str, schema: str) -> None:
    db = AsyncPg(empty_postgres_url)
    await db.plain(commands(f"create schema if not exists {schema}", f"create extension vector schema {schema}"), SOON)
    array = np.array([1.5, -2.0, 0.1], dtype=np.float32)
    full = await value_of(db, f"select $1::{schema}.vector(3)", Vector(array))
    packed = await value_of(db, f"select $1::{schema}.vector(3)", PackedVector(array))
    half = await value_of(db, f"select $1::{schema}.halfvec(3)", HalfVector(array))
    assert (full, packed, half) == (Vector(array), Vector(array), HalfVector(array))
    assert half.to_list() == array.astype(np.float16).tolist()
    await db.aclose()


async def test_connection_from_before_the_extension_is_not_used_again(empty_postgres_url: str) -> None:
    db = AsyncPg(empty_postgres_url)
    assert await value_of(db, "select 1") == 1
    await db.plain(commands("create extension vector"), SOON)
    found = await value_of(db, "select $1::vector", Vector(np.ones(2, dtype=np.float32)))
    assert found.to_list() == [1.0, 1.0]
    assert db.stats() == {"size": 1, "idle": 1, "waiting": 0}
    await db.aclose()


async def test_steps_get_the_rows_of_each_statement(empty_postgres_url: str) -> None:
    def steps() -> Steps[tuple[Any, Any]]:
        first = yield Query("create temporary table t(a integer, b text)")
        second = yield Many("insert into t values($1::integer, $2)", [(1, "x"), (2, "y")])
        third = yield Query("select a, b from t order by a")
        return [len(first), len(second)], [tuple(row) for row in third]

    db = AsyncPg(empty_postgres_url)
    assert await db.transact(steps, SOON) == ([0, 0], [(1, "x"), (2, "y")])
    await db.aclose()


async def test_failed_transaction_leaves_nothing_and_a_good_connection(empty_postgres_url: str) -> None:
    def steps() -> Steps[None]:
        yield Query("insert into t values(1)")
        raise InvalidRequestError("no")

    db = AsyncPg(empty_postgres_url)
    await db.plain(commands("create extension vector", "create table t(a integer primary key)"), SOON)
    pid = await value_of(db, "select pg_backend_pid()")
    with pytest.raises(InvalidRequestError, match="no"):
        await db.transact(steps, SOON)
    with pytest.raises(ProviderError):
        await db.transact(commands("insert into t values(2)", "insert into t values(2)"), SOON)
    assert await value_of(db, "select count(*) from t") == 0
    assert await value_of(db, "select pg_backend_pid()") == pid
    await db.aclose()


async def test_broken_constraint_is_named_but_no_value_is_shown(empty_postgres_url: str) -> None:
    db = AsyncPg(empty_postgres_url)
    await db.plain(commands("create table t(a text, constraint only_once unique(a))"), SOON)
    await db.run(ask("insert into t values($1)", SECRET), SOON)
    with pytest.raises(ProviderError) as caught:
        await db.run(ask("insert into t values($1)", SECRET), SOON)
    assert caught.value.details == {"sqlstate": "23505", "constraint": "only_once"}
    assert SECRET not in shown(caught.value)
    await db.aclose()


@pytest.mark.parametrize("param", [object(), "text", 2**70])
async def test_value_of_the_wrong_type_is_a_provider_error(empty_postgres_url: str, param: Any) -> None:
    db = AsyncPg(empty_postgres_url)
    with pytest.raises(ProviderError) as caught:
        await db.run(ask("select $1::integer + 1", param), SOON)
    assert type(caught.value) is ProviderError
    assert await value_of(db, "select 1") == 1
    await db.aclose()


async def test_deadline_ends_the_statement_here_and_on_the_server(empty_postgres_url: str) -> None:
    db = AsyncPg(empty_postgres_url)
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        await db.transact(ask("select pg_sleep(30)"), Deadline.after(0.3))
    assert time.monotonic() - started < 1.0
    active = "select count(*) from pg_stat_activity where query like '%sleep(30)%' and pid <> pg_backend_pid()"
    active += " and state <> 'idle' and datname = current_database()"
    while time.monotonic() - started < 1.3 and await value_of(db, active):
        await value_of(db, "select pg_sleep(0.02)")
    assert await value_of(db, active) == 0
    await db.aclose()


async def test_deadline_that_is_over_leaves_the_connection_in_order(empty_postgres_url: str) -> None:
    db = AsyncPg(empty_postgres_url)
    await db.plain(commands("create extension vector"), SOON)
    pid = await value_of(db, "select pg_backend_pid()")
    with pytest.raises(DeadlineExceededError):
        await db.run(ask("select 1"), Deadline.after(-1.0))
    assert await value_of(db, "select pg_backend_pid()") == pid
    await db.aclose()


async def test_server_that_never_answers_is_given_up_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        db = AsyncPg(f"postgresql://u:{SECRET}@127.0.0.1:{deaf.getsockname()[1]}/d")
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            await db.run(ask("select 1"), Deadline.after(0.3))
        assert time.monotonic() - started < 1.0
        await db.aclose()


async def test_server_that_never_answers_is_given_up_after_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        db = AsyncPg(f"postgresql://u:{SECRET}@127.0.0.1:{deaf.getsockname()[1]}/d?connect_timeout=0.3")
        with pytest.raises(ProviderUnavailableError, match=r"within 0\.3 s"):
            await db.run(ask("select 1"), Deadline.after(None))
        await db.aclose()


@pytest.mark.parametrize("retry", [True, False])
async def test_transaction_survives_that_its_connection_was_ended(empty_postgres_url: str, retry: bool) -> None:
    db, other = AsyncPg(empty_postgres_url), AsyncPg(empty_postgres_url, application_name="other")
    await db.plain(commands("create extension vector"), SOON)
    pid = await value_of(db, "select pg_backend_pid()")
    await other.run(ask("select pg_terminate_backend($1::integer, 2000)", pid), SOON)
    rows = await db.transact(ask("select pg_backend_pid()"), SOON, retry=retry)
    assert rows[0][0] != pid
    await db.aclose()
    await other.aclose()


async def test_connection_lost_in_the_middle_is_tried_again_only_if_that_is_allowed(empty_postgres_url: str) -> None:
    # The statement ends its own connection, so it fails as often as it is run.
    db = AsyncPg(empty_postgres_url)
    await db.plain(commands("create sequence tries"), SOON)
    suicide = ask("select pg_terminate_backend(pg_backend_pid()), nextval('tries'), pg_sleep(1)")
    with pytest.raises(ProviderUnavailableError):
        await db.run(suicide, SOON)
    assert await value_of(db, "select last_value from tries") == 1
    with pytest.raises(ProviderUnavailableError):
        await db.run(suicide, SOON, retry=True)
    assert await value_of(db, "select nextval('tries')") in {3, 4}
    await db.aclose()


async def test_wrong_password_shows_no_secret(empty_postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    db = AsyncPg(with_password(empty_postgres_url))
    with pytest.raises(UnauthorizedError) as caught:
        await db.run(ask("select 1"), SOON)
    assert SECRET not in shown(caught.value) + caplog.text + repr(db)
    assert "nobody" not in caught.value.message
    await db.aclose()


@pytest.mark.parametrize("place", ["nowhere.invalid", "127.0.0.1:1"])
async def test_unreachable_server_shows_no_secret(place: str, caplog: pytest.LogCaptureFixture) -> None:
    db = AsyncPg(f"postgresql://u:{SECRET}@{place}/d")
    with pytest.raises(ProviderUnavailableError, match="cannot be reached") as caught:
        await db.run(ask("select 1"), SOON)
    assert SECRET not in shown(caught.value) + caplog.text
    assert place.partition(":")[0] not in caught.value.message
    await db.aclose()


@pytest.mark.parametrize(
    "dsn",
    [f"mysql://u:{SECRET}@h/d", f"u:{SECRET}@h", "", f"postgresql://u:{SECRET}@[h/d"],
)
def test_unreadable_address_is_refused_without_being_quoted(dsn: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"url (must be|cannot be read)") as caught:
        AsyncPg(dsn)
    assert SECRET not in shown(caught.value)


def test_parameter_that_cannot_be_used_is_named_at_once() -> None:
    with pytest.raises(InvalidRequestError, match="the parameter sslmode must be one of"):
        AsyncPg(f"postgresql://u:{SECRET}@h/d?sslmode=nonsense")


async def test_certificate_that_is_missing_is_a_failure_of_tls(caplog: pytest.LogCaptureFixture) -> None:
    db = AsyncPg(f"postgresql://u:{SECRET}@127.0.0.1:1/d?sslmode=verify-full&sslrootcert=/nowhere/root.crt")
    with pytest.raises(ProviderUnavailableError) as caught:
        await db.run(ask("select 1"), SOON)
    assert SECRET not in shown(caught.value) + caplog.text
    await db.aclose()


async def test_required_tls_is_not_left_out(empty_postgres_url: str) -> None:
    db = AsyncPg(f"{empty_postgres_url}?sslmode=require")
    with pytest.raises(ProviderUnavailableError, match="TLS"):
        await db.run(ask("select 1"), SOON)
    await db.aclose()


@pytest.mark.parametrize("rest", ["", "?application_name=mine"])
async def test_server_knows_the_application_by_name(empty_postgres_url: str, rest: str) -> None:
    db = AsyncPg(empty_postgres_url + rest, application_name="ours")
    assert await value_of(db, "show application_name") == ("mine" if rest else "ours")
    await db.aclose()


async def test_address_may_hold_what_only_the_other_driver_knows(empty_postgres_url: str) -> None:
    rest = "?connect_timeout=5&keepalives=1&channel_binding=prefer&work_mem=5MB&target_session_attrs=read-write"
    db = AsyncPg(empty_postgres_url + rest)
    assert await value_of(db, "show work_mem") == "5MB"
    await db.aclose()


@pytest.mark.parametrize("cached", [True, False])
async def test_statements_are_kept_prepared_unless_switched_off(empty_postgres_url: str, cached: bool) -> None:
    db = AsyncPg(empty_postgres_url, statement_cache=cached)
    await db.plain(commands("create extension vector"), SOON)
    for _ in range(4):
        await value_of(db, "select $1::text", "a")
    kept = await value_of(db, "select count(*) from pg_prepared_statements where statement like 'select $1::text%'")
    assert kept == (1 if cached else 0)
    await db.aclose()


async def test_closing_ends_every_connection_and_may_be_repeated(empty_postgres_url: str) -> None:
    db = AsyncPg(empty_postgres_url)
    other = AsyncPg(empty_postgres_url, application_name="other")
    await db.run(ask("select 1"), SOON)
    await db.aclose()
    await db.aclose()
    with pytest.raises(ProviderUnavailableError, match="closed"):
        await db.run(ask("select 1"), SOON)
    left = "select count(*) from pg_stat_activity where application_name = 'openmem' and datname = current_database()"
    for _ in range(50):
        if not await value_of(other, left):
            break
        await value_of(other, "select pg_sleep(0.02)")
    assert await value_of(other, left) == 0
    await other.aclose()


def test_making_one_opens_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        db = AsyncPg(f"postgresql://u@127.0.0.1:{server.getsockname()[1]}/d")
        with pytest.raises(TimeoutError):
            server.accept()
        assert db.stats() == {"size": 0, "idle": 0, "waiting": 0}
