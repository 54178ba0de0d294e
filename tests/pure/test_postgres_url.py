"""The URL of a database as parameters; files of services and passwords."""

from __future__ import annotations

import pytest

from openmem._sql.postgres.url import (
    FORM,
    check_parameters,
    environment_parameters,
    parse_database_url,
    password_in,
    service_parameters,
)
from openmem.errors import InvalidRequestError

BAD = "url: the parameter"
IN_A_PASSWORD = "in a password write ? as %3F and & as %26"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql:///d", {"dbname": "d"}),
        ("postgres://", {}),
        ("postgresql://u:p@h:1/d", {"user": "u", "password": "p", "host": "h", "port": "1", "dbname": "d"}),
        ("postgresql://h/d?host=/run/pg&port=2", {"host": "/run/pg", "port": "2", "dbname": "d"}),
        ("postgresql://a,b:2/d", {"host": "a,b", "port": ",2", "dbname": "d"}),
        ("postgresql:///?dbname=d%20b&sslmode=", {"dbname": "d b"}),
        ("postgresql:///?database=d", {"dbname": "d"}),
        ("postgresql:///d?ssl=true", {"dbname": "d", "sslmode": "require"}),
        ("postgresql:///d?ssl=require", {"dbname": "d", "sslmode": "require"}),
        ("postgresql:///d?ssl=verify-ca", {"dbname": "d", "sslmode": "verify-ca"}),
        ("postgresql:///d?ssl=verify-full", {"dbname": "d", "sslmode": "verify-full"}),
        ("postgresql:///d?ssl=prefer", {"dbname": "d", "sslmode": "prefer"}),
        ("postgresql:///d?ssl=true&sslmode=verify-ca", {"dbname": "d", "sslmode": "verify-ca"}),
        ("postgresql://a,b/d", {"host": "a,b", "dbname": "d"}),
        (
            "postgresql:///?sslnegotiation=direct&sslmode=require",
            {"sslnegotiation": "direct", "sslmode": "require"},
        ),
        (
            "postgresql:///?sslnegotiation=direct&sslrootcert=system",
            {"sslnegotiation": "direct", "sslrootcert": "system"},
        ),
        ("postgresql:///?sslnegotiation=postgres", {"sslnegotiation": "postgres"}),
        ("postgresql:///d?requiressl=1", {"dbname": "d", "sslmode": "require"}),
        ("postgresql:///d?requiressl=0", {"dbname": "d", "sslmode": "prefer"}),
        ("postgresql:///d?requiressl=1&sslmode=verify-full", {"dbname": "d", "sslmode": "verify-full"}),
        ("postgresql:///d?options=-c%20a%3Db&work_mem=5MB", {"dbname": "d", "options": "-c a=b", "work_mem": "5MB"}),
        ("postgresql://[::1]/d?application_name=a+b", {"host": "::1", "dbname": "d", "application_name": "a+b"}),
    ],
)
def test_a_url_becomes_parameters(url: str, found: dict[str, str]) -> None:
    assert parse_database_url(url) == found


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("pgbouncer=true", "pgbouncer .* statement_cache=False"),
        ("schema=public", "schema .* schema=…"),
        ("connection_limit=1", "connection_limit .* pool_max_size"),
        ("prepareThreshold=0", "prepareThreshold .* statement_cache=False"),
        ("ssl=no", "ssl .* sslmode"),
        ("replication=database", "replication"),
        ("sslmode=no-verify", "sslmode must be one of"),
        ("target_session_attrs=master", "target_session_attrs must be one of"),
        ("connect_timeout=soon", "connect_timeout must be a number"),
        ("port=0", "port cannot be read: a port must be a number"),
        ("host=a&port=1,2", "port must be given once"),
        ("host=a..b", "host must be"),
        ("ssl_min_protocol_version=1.2", "ssl_min_protocol_version must be one of"),
        ("sslcertmode=never", "sslcertmode must be one of"),
        ("load_balance_hosts=yes", "load_balance_hosts must be one of"),
        ("sslnegotiation=direct", "sslnegotiation needs sslmode"),
        *((f"sslnegotiation=direct&sslmode={mode}", "sslnegotiation needs") for mode in ("disable", "allow", "prefer")),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(query: str, named: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"parameter {named}"):
        parse_database_url(f"postgresql:///d?{query}")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", FORM),
        ("mysql://h/d", FORM),
        ("postgresql://h/d#x", FORM),
        ("mysql://h/d#x", FORM),
        ("postgresql:///d?work_mem=a@b", f"{FORM}: an @ that belongs to a password is written %40"),
        ("postgresql:///d?1=2", f"{FORM}: after the ? come parameters such as sslmode=require; {IN_A_PASSWORD}"),
        ("postgresql:///d?charset=utf8", f"{BAD} charset is not one of Postgres: leave it out"),
        ("postgresql:///d?schema=a", f"{BAD} schema is not one of Postgres: leave it out, and give schema=…"),
        ("postgresql:///d?sslcertmode=x", f"{BAD} sslcertmode must be one of allow, disable, require"),
        ("postgresql:///d?connect_timeout=x", f"{BAD} connect_timeout must be a number"),
        ("postgresql:///d?host=a..b", f"{BAD} host must be a name, an address or the folder of a socket"),
        ("postgresql:///d?host=a&port=1,2", f"{BAD} port must be given once, or once for each host"),
        (
            "postgresql:///d?sslnegotiation=direct",
            f"{BAD} sslnegotiation needs sslmode=require, verify-ca or verify-full",
        ),
    ],
)
def test_address_that_cannot_be_used_says_why(url: str, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_database_url(url)
    assert (caught.value.message, caught.value.provider) == (message, "postgres")


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"PGHOST": "h", "PGPORT": "", "HOME": "/h"}, {"host": "h"}),
        ({"PGREQUIRESSL": "1"}, {"sslmode": "require"}),
        ({"PGREQUIRESSL": "1", "PGSSLMODE": "verify-full"}, {"sslmode": "verify-full"}),
        ({"PGREQUIRESSL": "0"}, {}),
        ({}, {}),
    ],
)
def test_variables_of_libpq_become_parameters(variables: dict[str, str], found: dict[str, str]) -> None:
    assert environment_parameters(variables) == found


def test_parameter_of_another_source_is_named_with_it() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_parameters({"user": "a\0"}, "PGUSER")
    assert caught.value.message == "PGUSER: the parameter user must not hold a NUL character"
    with pytest.raises(InvalidRequestError, match=r"^pg_service: the parameter port cannot be read: a port must be"):
        check_parameters({"port": "1,65536"}, "pg_service")
    check_parameters({"port": "1,,65535", "host": "a,b,c"}, "pg_service")
    check_parameters({}, "pg_service")


def test_a_service_is_read_from_its_section() -> None:
    text = "# all\n[other]\nhost=no\n[mine]\n host = h \nport=1\n# note\ndatabase=d\nhost=second\n[third]\nuser=u\n"
    assert service_parameters(text, "mine") == {"host": "h", "port": "1", "dbname": "d"}
    assert service_parameters(text, "none") is None


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("h:1:d:u:secret", "secret"),
        ("*:*:*:*:se:cr\\:et\\\\", "se:cr:et\\"),
        ("h:2:d:u:secret", None),
        ("h:1:d:v:secret", None),
        ("#h:1:d:u:secret", None),
        ("h:1:d:u", None),
        ("h:1:d:u:a\\", "a"),
        ("", None),
        ("h:1:d:u:", ""),
    ],
)
def test_a_password_is_found_by_host_port_database_and_user(line: str, password: str | None) -> None:
    assert password_in(f"other:*:*:*:no\n{line}\n", ["h"], ["1"], "d", "u") == password


def test_a_socket_is_looked_up_as_localhost_too() -> None:
    assert password_in("localhost:5432:*:u:secret\n", ["/run/pg"], ["5432"], "d", "u") == "secret"
