"""Every failure of Postgres becomes one of our errors, by its SQLSTATE."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from openmem._sql.postgres import errors
from openmem._sql.postgres.errors import (
    Report,
    error_of_state,
    exhausted,
    is_collision,
    is_lost,
    quotes_values,
    state_in_words,
)
from openmem.errors import InvalidRequestError, OMPError, ProviderError, ProviderUnavailableError, UnauthorizedError

REPAIR = "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"


@pytest.mark.parametrize(
    ("sqlstate", "kind", "words"),
    [
        (None, ProviderUnavailableError, "connection to the database server was lost"),
        ("08003", ProviderUnavailableError, "connection to the database server was lost"),
        ("25006", ProviderUnavailableError, "read-only"),
        ("28P01", UnauthorizedError, "refused the user name or the password"),
        ("28000", UnauthorizedError, "refused the user name or the password"),
        ("3D000", ProviderError, "does not exist"),
        ("40001", ProviderUnavailableError, "try again"),
        ("40P01", ProviderUnavailableError, "try again"),
        ("42P01", ProviderError, "run the migrations"),
        ("42501", ProviderError, "not allowed"),
        ("53100", ProviderUnavailableError, "disk of the database server is full"),
        ("53300", ProviderUnavailableError, "too many connections"),
        ("53400", ProviderUnavailableError, "out of resources"),
        ("57014", ProviderError, "cancelled"),
        ("57P01", ProviderUnavailableError, "shutting down"),
        ("57P03", ProviderUnavailableError, "starting"),
        ("23505", ProviderError, "constraint"),
        ("22021", ProviderError, "refused a value"),
        ("XX001", ProviderError, "damaged"),
        ("ZZ999", ProviderError, "failed"),
    ],
)
def test_sqlstate_gives_its_error(sqlstate: str | None, kind: type[OMPError], words: str) -> None:
    error = error_of_state(sqlstate)
    assert type(error) is kind
    assert words in error.message
    assert error.provider == "postgres"
    if sqlstate == "ZZ999":
        assert error.message == "the database failed"


def test_details_hold_what_is_known() -> None:
    assert error_of_state("23505", "memories_key").details == {"sqlstate": "23505", "constraint": "memories_key"}
    assert error_of_state("42P01").details == {"sqlstate": "42P01"}
    assert error_of_state(None).details is None


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (errors.unreachable, ProviderUnavailableError, "the database server cannot be reached"),
        (lambda: errors.unreachable("gone"), ProviderUnavailableError, "gone"),
        (errors.unusable, InvalidRequestError, "the url's host, port or options cannot be used"),
        (errors.misused, ProviderError, "the database driver refused the statement or one of its values"),
        (errors.closed, ProviderUnavailableError, "the instance was closed during the call"),
        (
            errors.wrong_encoding,
            ProviderError,
            f"the encoding of the database is not UTF8: make it with {REPAIR}",
        ),
        (
            lambda: exhausted(10, 0.25),
            ProviderUnavailableError,
            "pool exhausted: all 10 connections were in use for 0.25 s",
        ),
    ],
)
def test_failure_without_a_state_says_what_it_is(
    error: Callable[[], OMPError], kind: type[OMPError], message: str
) -> None:
    made = error()
    assert (type(made), made.message, made.provider) == (kind, message, "postgres")


def test_setting_that_a_server_does_not_take_is_named() -> None:
    error = errors.error_while_connecting("42704", {"work_mem", "geqo"})
    assert (type(error), error.provider, error.details) == (InvalidRequestError, "postgres", {"sqlstate": "42704"})
    assert error.message == "url: the database server does not take a parameter of it: geqo, work_mem"
    for sqlstate, settings in (("42704", ()), ("3D000", ("geqo",))):
        other = errors.error_while_connecting(sqlstate, settings)
        assert (type(other), other.details) == (ProviderError, {"sqlstate": sqlstate})


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (
            Report("08006", "ERROR"),
            "a node of the database cluster cannot be reached",
        ),
        (
            Report("XX000", "ERROR", "worker_transaction.c"),
            "a node of the database cluster cannot be reached",
        ),
        (Report("0A000", "ERROR", None, "RevalidateCachedQuery"), "the tables were changed at this moment; try again"),
    ],
)
def test_report_of_a_cluster_or_a_stale_statement_is_worth_another_try(report: Report, message: str) -> None:
    error = report.error()
    assert (type(error), error.message) == (ProviderUnavailableError, message)
    assert (error.provider, error.details) == ("postgres", {"sqlstate": report.state})


def test_report_of_anything_else_is_that_of_its_state() -> None:
    for report in (Report("23505", "ERROR", constraint="memories_key"), Report("26000", "ERROR"), Report(None)):
        error, expected = report.error(), error_of_state(report.state, report.constraint)
        assert (type(error), error.message, error.details) == (type(expected), expected.message, expected.details)


def test_exhausted_pool_says_so() -> None:
    error = exhausted(10, 0.25)
    assert type(error) is ProviderUnavailableError
    assert "pool exhausted" in error.message
    assert "0.25 s" in error.message


@pytest.mark.parametrize("sqlstate", [None, "08006", "08P01", "25006", "57P01", "57P02", "57P03", "57P05"])
def test_connection_of_no_further_use_is_lost(sqlstate: str | None) -> None:
    assert is_lost(sqlstate)


@pytest.mark.parametrize("sqlstate", ["23505", "40001", "57014", "53300", "42P01", "XX000"])
def test_failed_statement_leaves_the_connection(sqlstate: str) -> None:
    assert not is_lost(sqlstate)


def test_only_collisions_may_just_be_run_again() -> None:
    assert is_collision("40001")
    assert is_collision("40P01")
    assert not is_collision("23505")
    assert not is_collision(None)


def test_texts_about_values_are_told_from_others() -> None:
    assert quotes_values("23514")
    assert quotes_values("22P02")
    assert not quotes_values("57P01")
    assert not quotes_values(None)


@pytest.mark.parametrize(
    ("text", "sqlstate"),
    [
        ('connection to server at "x" failed: FATAL:  password authentication failed for user "u"', "28P01"),
        ('FATAL:  role "u" does not exist', "28P01"),
        ("fe_sendauth: no password supplied", "28P01"),
        ('FATAL:  no pg_hba.conf entry for host "::1", user "u", database "d", no encryption', "28000"),
        ('FATAL:  database "d" does not exist', "3D000"),
        ("FATAL:  sorry, too many clients already", "53300"),
        ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", "53300"),
        ("FATAL:  the database system is starting up", "57P03"),
        ("FATAL:  the database system is not yet accepting connections", "57P03"),
        ("Connection refused\n\tIs the server running on that host?", None),
        ('could not translate host name "nowhere.invalid" to address', None),
    ],
)
def test_words_of_a_failed_connection_are_understood(text: str, sqlstate: str | None) -> None:
    assert state_in_words(text) == sqlstate


@pytest.mark.parametrize(
    ("report", "is_node"),
    [
        (Report("08006", "ERROR", "connection_management.c"), True),
        (Report("08001", "ERROR", "libpqwalreceiver.c"), True),
        (Report("XX000", "ERROR", "adaptive_executor.c"), True),
        (Report("XX000", "ERROR", "heapam.c"), False),
        (Report("XX001", "ERROR", "bufmgr.c"), False),
        (Report("08006", "FATAL"), False),
        (Report("08003"), False),
        (Report(None), False),
    ],
)
def test_a_lost_node_of_a_cluster_is_told_from_a_lost_connection(report: Report, is_node: bool) -> None:
    assert report.concerns_a_node is is_node
    assert report.lost is (not is_node and (report.state or "08")[:2] == "08")
    if is_node:
        assert isinstance(report.error(), ProviderUnavailableError)
        assert "node" in report.error().message


@pytest.mark.parametrize(
    ("report", "is_stale"),
    [
        (Report("0A000", "ERROR", "plancache.c", "RevalidateCachedQuery"), True),
        (Report("0A000", "ERROR", "parse_clause.c", "transformLockingClause"), False),
        (Report("26000", "ERROR"), True),
        (Report("42P05", "ERROR"), True),
        (Report("42P01", "ERROR"), False),
    ],
)
def test_statement_that_must_be_prepared_again_is_recognised(report: Report, is_stale: bool) -> None:
    assert report.stale is is_stale
