"""Where the database is and how its pool behaves; the same address in the words of each driver.

libpq refuses what it does not know, and asyncpg sends what it does not know to the server as a setting: an
address that works for one must work for the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from openmem.errors import InvalidRequestError
from openmem.postgres_errors import PROVIDER

CONNECT_SECONDS: Final = 10.0

# What only libpq knows. The connections of the other driver are kept alive by the same means as ours.
_LIBPQ_ONLY: Final = frozenset(
    [
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "fallback_application_name",
        "gssdelegation",
        "gssencmode",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "max_protocol_version",
        "min_protocol_version",
        "replication",
        "require_auth",
        "requirepeer",
        "requiressl",
        "scram_client_key",
        "scram_server_key",
        "sslcertmode",
        "sslcompression",
        "sslkeylogfile",
        "sslsni",
        "tcp_user_timeout",
    ]
)
_SSL_NAMES: Final = frozenset({"sslmode", "sslrootcert"})


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """What a pool is made of. Equal options may share a pool.

    Without `extension` nobody asks for the types of the extension `vector`, and it may be missing.
    """

    dsn: str = field(repr=False)
    min_size: int = 0
    max_size: int = 10
    timeout: float = 30.0
    statement_cache: bool = True
    application_name: str = "openmem"
    setup: tuple[str, ...] = ()
    extension: bool = True

    def __post_init__(self) -> None:
        if not re.match(r"postgres(ql)?://", self.dsn):
            raise _unreadable()
        try:
            parameters(self.dsn)
            place = urlsplit(self.dsn).netloc
            ports = [_port(host) for host in place.rpartition("@")[2].split(",")]
        except ValueError:
            raise _unreadable() from None
        # The drivers disagree about which of two "@" ends the password, and would show a part of it as the host.
        if place.count("@") > 1 or not all(0 < port < 65_536 for port in ports):
            raise _unreadable()
        for name, value in (("pool_min_size", self.min_size), ("pool_max_size", self.max_size)):
            _check_number(name, value, int)
        _check_number("pool_timeout", self.timeout, (int, float))
        if not 0 <= self.min_size <= self.max_size or self.max_size < 1:
            raise InvalidRequestError("pool_min_size must be from 0 to pool_max_size", provider=PROVIDER)
        if not self.timeout > 0:
            raise InvalidRequestError("pool_timeout must be above 0", provider=PROVIDER)

    @property
    def connect_seconds(self) -> float:
        """Seconds an attempt to connect may take: the address's own `connect_timeout`, or ten."""
        try:
            seconds = float(parameters(self.dsn).get("connect_timeout", CONNECT_SECONDS))
        except ValueError:
            raise _unreadable() from None
        return seconds if seconds > 0 else CONNECT_SECONDS


def parameters(dsn: str) -> dict[str, str]:
    """Return the parameters after the question mark; a plus sign in them is a plus sign."""
    pairs = (pair.partition("=") for pair in urlsplit(dsn).query.split("&") if pair)
    return {unquote(name): unquote(value) for name, _, value in pairs}


def asyncpg_arguments(options: PoolOptions) -> dict[str, Any]:
    """Return the arguments of `asyncpg.connect`."""
    given = parameters(options.dsn)
    kept = {name: value for name, value in given.items() if name not in _LIBPQ_ONLY}
    if given.get("sslrootcert") == "system":
        kept = {name: value for name, value in kept.items() if name not in _SSL_NAMES}
    settings = {} if "application_name" in given else {"application_name": options.application_name}
    return {
        "dsn": _with_parameters(options.dsn, kept),
        "server_settings": settings,
        "statement_cache_size": 100 if options.statement_cache else 0,
        "max_cached_statement_lifetime": 0,
    }


def trusts_system_roots(options: PoolOptions) -> bool:
    """Return whether the server's certificate is judged by the roots of the operating system."""
    return parameters(options.dsn).get("sslrootcert") == "system"


def libpq_arguments(options: PoolOptions, known: frozenset[str]) -> tuple[str, dict[str, str]]:
    """Return an address for libpq and the parameters that go with it.

    Args:
        options: The pool's options.
        known: The names that this libpq knows; everything else becomes a setting of the session.
    """
    given = parameters(options.dsn)
    kept = {name: value for name, value in given.items() if name in known}
    settings = [f"-c {name}={_escaped(value)}" for name, value in given.items() if name not in known]
    extra = {"application_name": options.application_name, "keepalives_idle": "60", "keepalives_interval": "10"}
    extra = {name: value for name, value in extra.items() if name not in given}
    if settings:
        extra["options"] = " ".join(filter(None, [kept.pop("options", ""), *settings]))
    return _with_parameters(options.dsn, kept), extra


def _with_parameters(dsn: str, kept: dict[str, str]) -> str:
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in kept.items())
    return urlsplit(dsn)._replace(query=query).geturl()


def _escaped(value: str) -> str:
    return re.sub(r"([\s\\])", r"\\\1", value)


def _unreadable() -> InvalidRequestError:
    return InvalidRequestError(
        "url must be postgresql://user:password@host:port/database, with @ in a password written as %40",
        provider=PROVIDER,
    )


def _port(host: str) -> int:
    _, colon, port = host.rpartition(":")
    return int(port) if colon and port and not port.endswith("]") else 5432


def _check_number(name: str, value: object, kind: type | tuple[type, ...]) -> None:
    if isinstance(value, bool) or not isinstance(value, kind):
        raise InvalidRequestError(f"{name} must be a number, not {type(value).__name__}", provider=PROVIDER)
