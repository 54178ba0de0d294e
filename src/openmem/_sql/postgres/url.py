"""The URL of a database as the parameters that libpq knows, so that both drivers can be told the same. Pure.

libpq refuses what it does not know, and asyncpg sends what it does not know to the server as a setting: an address
that works for one must work for the other, and mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from openmem._model.urls import decode, is_host, is_url, parse_port, parse_url
from openmem._sql.postgres.errors import PROVIDER
from openmem.errors import InvalidRequestError

FORM: Final = "url must be postgresql://user:password@host:port/database"
SCHEMES: Final = frozenset({"postgresql", "postgres"})

# The parameters of libpq, and the variables from which it takes them where the URL and the service say nothing.
VARIABLES: Final[Mapping[str, str]] = {
    "application_name": "PGAPPNAME",
    "channel_binding": "PGCHANNELBINDING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "dbname": "PGDATABASE",
    "gssdelegation": "PGGSSDELEGATION",
    "gssencmode": "PGGSSENCMODE",
    "gsslib": "PGGSSLIB",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "krbsrvname": "PGKRBSRVNAME",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
    "max_protocol_version": "PGMAXPROTOCOLVERSION",
    "min_protocol_version": "PGMINPROTOCOLVERSION",
    "options": "PGOPTIONS",
    "passfile": "PGPASSFILE",
    "password": "PGPASSWORD",
    "port": "PGPORT",
    "require_auth": "PGREQUIREAUTH",
    "requirepeer": "PGREQUIREPEER",
    "service": "PGSERVICE",
    "sslcert": "PGSSLCERT",
    "sslcertmode": "PGSSLCERTMODE",
    "sslcompression": "PGSSLCOMPRESSION",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslkey": "PGSSLKEY",
    "sslmode": "PGSSLMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslrootcert": "PGSSLROOTCERT",
    "sslsni": "PGSSLSNI",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "user": "PGUSER",
}
_NUMBERS: Final = frozenset(
    {"connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
)
KNOWN: Final = (
    frozenset(VARIABLES)
    | _NUMBERS
    | {"client_encoding", "fallback_application_name", "sslpassword", "sslkeylogfile"}
    | {"oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope", "scram_client_key", "scram_server_key"}
)
_TLS_VERSIONS: Final = frozenset({"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"})
_CHOICES: Final[Mapping[str, frozenset[str]]] = {
    "channel_binding": frozenset({"disable", "prefer", "require"}),
    "gssencmode": frozenset({"disable", "prefer", "require"}),
    "load_balance_hosts": frozenset({"disable", "random"}),
    "sslcertmode": frozenset({"disable", "allow", "require"}),
    "sslmode": frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}),
    "sslnegotiation": frozenset({"postgres", "direct"}),
    "ssl_max_protocol_version": _TLS_VERSIONS,
    "ssl_min_protocol_version": _TLS_VERSIONS,
    "target_session_attrs": frozenset({"any", "read-write", "read-only", "primary", "standby", "prefer-standby"}),
}
# What other drivers and frameworks put into such an address, and what stands for it here.
_FOREIGN: Final[Mapping[str, str]] = {
    "pgbouncer": "give statement_cache=False",
    "preparethreshold": "give statement_cache=False",
    "prepare_threshold": "give statement_cache=False",
    "statement_cache_size": "give statement_cache=False",
    "prepared_statement_cache_size": "give statement_cache=False",
    "prepared_statement_name_func": "give statement_cache=False",
    "schema": "give schema=…",
    "currentschema": "give schema=…",
    "connection_limit": "give pool_max_size=…",
    "pool_size": "give pool_max_size=…",
    "max_overflow": "give pool_max_size=…",
    "pool_max_size": "it is an argument of its own",
    "pool_min_size": "it is an argument of its own",
    "pool_timeout": "it is an argument of its own",
    "statement_cache": "it is an argument of its own",
    "command_timeout": "give timeout=…",
    "socket_timeout": "give timeout=…",
    "sockettimeout": "give timeout=…",
    "logintimeout": "write connect_timeout",
    "ssl": "write sslmode=require",
    "sslaccept": "write sslmode",
    "sslidentity": "write sslcert and sslkey",
    "uselibpqcompat": "",
    "supa": "",
    "charset": "",
    "encoding": "",
    "replication": "",
}


def parse_database_url(url: str) -> dict[str, str]:
    """Return the parameters that a URL gives, by the names of libpq; what is neither there is a setting.

    Raises:
        InvalidRequestError: The URL cannot be read, or a parameter cannot be used; the message names the parameter
            and quotes no value.
    """
    return dict(_parameters_of(url))


@lru_cache(maxsize=16)
def _parameters_of(url: str) -> Mapping[str, str]:
    parts = parse_url(url) if is_url(url) else None
    if parts is None or parts.scheme not in SCHEMES or parts.fragment:
        raise _refused("")
    given = _query(parts.query)
    if "@" in parts.path or (set(given) - KNOWN and "@" in parts.query):
        raise _refused("an @ that belongs to a password is written %40")
    own = {
        "host": ",".join(host for host, _ in parts.hosts),
        "port": ",".join(str(port or "") for _, port in parts.hosts) if any(port for _, port in parts.hosts) else "",
        "user": parts.user or "",
        "password": parts.password or "",
        "dbname": decode(parts.path[1:]),
    }
    found = {name: value for name, value in {**own, **given}.items() if value}
    check_parameters(found, "url")
    return found


def check_parameters(given: Mapping[str, str], source: str) -> None:
    """Refuse values that the drivers would refuse, each in its own way, or quote.

    Args:
        given: The parameters.
        source: Where they are from, for the message.

    Raises:
        InvalidRequestError: Names the parameter.
    """
    for name, value in given.items():
        choices = _CHOICES.get(name)
        if choices is not None and value not in choices:
            raise _bad(name, source, f"must be one of {', '.join(sorted(choices))}")
        if name in _NUMBERS and not re.fullmatch(r"\s*-?[0-9]{1,9}(\.[0-9]+)?\s*", value):
            raise _bad(name, source, "must be a number")
        if "\0" in value:
            raise _bad(name, source, "must not hold a NUL character")
    hosts, ports = given.get("host", "").split(","), given.get("port", "").split(",")
    if not all(map(is_host, filter(None, hosts))):
        raise _bad("host", source, "must be a name, an address or the folder of a socket")
    for port in ports:
        parse_port(port, f"{source}: the parameter port")
    if "host" in given and len(ports) not in (1, len(hosts)):
        raise _bad("port", source, "must be given once, or once for each host")
    weak = given.get("sslmode", "prefer") in ("disable", "allow", "prefer")
    if given.get("sslnegotiation") == "direct" and weak and given.get("sslrootcert") != "system":
        raise _bad("sslnegotiation", source, "needs sslmode=require, verify-ca or verify-full")


def environment_parameters(variables: Mapping[str, str]) -> dict[str, str]:
    """Return what libpq's variables say, by the names of its parameters.

    Args:
        variables: The environment.
    """
    found = {name: value for name, variable in VARIABLES.items() if (value := variables.get(variable))}
    # An old variable that libpq still reads: without it, one form would do without TLS where it is asked for.
    if variables.get("PGREQUIRESSL", "").startswith("1"):
        found.setdefault("sslmode", "require")
    return found


def service_parameters(text: str, name: str) -> dict[str, str] | None:
    """Return what a file of services says of one of them, or `None` if it is not in the file."""
    found: dict[str, str] | None = None
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            if found is not None:
                break
            found = {} if line == f"[{name}]" else None
        elif found is not None and line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(_ALIASES.get(key.strip(), key.strip()), value.strip())
    return found


def password_in(text: str, hosts: Iterable[str], ports: Iterable[str], database: str, user: str) -> str | None:
    """Return the password that a password file has for the first of these hosts that is in it."""
    entries = [_fields(line) for line in text.splitlines() if not line.startswith("#")]
    for host, port in zip(hosts, ports, strict=True):
        names = {host, "localhost"} if host.startswith("/") else {host}
        for entry in entries:
            wanted = (names, {port}, {database}, {user})
            if len(entry) == 5 and all(map(_fits, entry, wanted)):
                return entry[4]
    return None


_ALIASES: Final = {"database": "dbname", "username": "user"}


def _query(query: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    given = {decode(name): decode(value) for name, _, value in pairs}
    if "ssl" in given and given["ssl"] in {"true", "require", "verify-ca", "verify-full", "prefer"}:
        mode = given.pop("ssl")
        given.setdefault("sslmode", "require" if mode == "true" else mode)
    if "requiressl" in given:  # as libpq reads it
        given.setdefault("sslmode", "require" if given.pop("requiressl").startswith("1") else "prefer")
    for name in given:
        hint = _FOREIGN.get(name.lower())
        if hint is not None:
            raise _bad(name, "url", f"is not one of Postgres: leave it out{hint and ', and '}{hint}")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]{0,62}", name):
            raise _refused(f"after the ? come parameters such as sslmode=require; {_AMPERSAND}")
    return {_ALIASES.get(name, name): value for name, value in given.items()}


_AMPERSAND: Final = "in a password write ? as %3F and & as %26"


def _fields(line: str) -> list[str]:
    fields, characters = [""], iter(line)
    for character in characters:
        if character == ":" and len(fields) < 5:
            fields.append("")
        else:
            fields[-1] += next(characters, "") if character == "\\" else character
    return fields


def _fits(entry: str, wanted: set[str]) -> bool:
    return entry == "*" or entry in wanted


def _refused(why: str) -> InvalidRequestError:
    return InvalidRequestError(f"{FORM}{why and ': '}{why}", provider=PROVIDER)


def _bad(name: str, source: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"{source}: the parameter {name} {why}", provider=PROVIDER)
