"""The options of a pool of connections, and the same parameters in the words of each driver."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from openmem._sql.postgres.errors import PROVIDER
from openmem._sql.postgres.options import check_pool
from openmem._sql.postgres.url import KNOWN, parse_database_url
from openmem.errors import InvalidRequestError

CONNECT_SECONDS: Final = 10.0

# What asyncpg takes from its DSN only.
_TLS: Final = (
    *("sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version"),
)
# What asyncpg cannot do, and would leave out without a word: each makes a connection safer.
_LIBPQ_ONLY: Final = (
    *("require_auth", "requirepeer", "scram_client_key", "scram_server_key", "sslcrldir", "oauth_issuer"),
    *("oauth_client_id", "oauth_client_secret", "oauth_scope"),
)


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """The options of a pool. Equal options may share one.

    Without `extension` no connection asks for the types of the extension `vector`, and it may be missing.
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
        parse_database_url(self.dsn)
        check_pool(self.min_size, self.max_size, self.timeout)


@dataclass(frozen=True, slots=True)
class Target:
    """The server to connect to, and the way to do it: URL, service, environment and defaults put together.

    Attributes:
        parameters: Those of libpq, by their names.
        settings: Everything else that the URL or the service holds: settings for the session.
    """

    parameters: Mapping[str, str] = field(repr=False)
    settings: Mapping[str, str] = field(repr=False)

    @property
    def connect_seconds(self) -> float:
        """Seconds an attempt to connect may take: `connect_timeout`, or ten."""
        seconds = float(self.parameters.get("connect_timeout", CONNECT_SECONDS))
        return seconds if seconds > 0 else CONNECT_SECONDS

    @property
    def for_server(self) -> list[str]:
        """The names of what is sent to the server to be set for the session."""
        return [*self.settings, *({"options"} & self.parameters.keys())]

    @property
    def trusts_system_roots(self) -> bool:
        """Whether the server's certificate is judged by the roots of the operating system."""
        return self.parameters.get("sslrootcert") == "system"

    @property
    def hosts(self) -> tuple[list[str], list[int]]:
        """Hosts and the port of each."""
        hosts = self.parameters["host"].split(",")
        ports = [int(port or 5432) for port in self.parameters["port"].split(",")]
        return hosts, ports if len(ports) == len(hosts) else ports * len(hosts)


def describe_pool(stats: Mapping[str, int], most: int, *, closed: bool = False) -> tuple[str, ...]:
    """Return the state of a pool and its numbers, as they are shown.

    Args:
        stats: What `stats` of the pool returns.
        most: The most connections at a time.
        closed: The pool was closed.
    """
    if closed:
        return ("closed",)
    state = "open" if stats["size"] else "empty"
    return state, f"{stats['size']} of {most} connections", f"{stats['idle']} idle", f"{stats['waiting']} waiting"


def asyncpg_arguments(target: Target, options: PoolOptions) -> dict[str, Any]:
    """Return the arguments of `asyncpg.connect`, but for those of TLS.

    Raises:
        InvalidRequestError: A parameter is one that this driver cannot do.
    """
    given = target.parameters
    _refuse_libpq_only(given)
    hosts, ports = target.hosts
    # The address is used and the name is not, unless the certificate is judged by the name.
    if "hostaddr" in given and given.get("sslmode") != "verify-full" and not target.trusts_system_roots:
        hosts = given["hostaddr"].split(",")
    # The name of the application from the URL goes before that of the options.
    settings = dict(target.settings)
    settings["application_name"] = given.get("application_name") or options.application_name
    if given.get("options"):
        settings["options"] = given["options"]
    optional = {"target_session_attrs", "krbsrvname", "gsslib"} & given.keys()
    return {
        "host": hosts,
        "port": ports,
        "user": given["user"],
        "password": given.get("password", ""),
        "database": given["dbname"],
        "server_settings": settings,
        "statement_cache_size": 100 if options.statement_cache else 0,
        "max_cached_statement_lifetime": 0,
        **{name: given[name] for name in optional},
    }


def asyncpg_tls(target: Target, *, certificate: bool = True) -> tuple[str, bool]:
    """Return a DSN that holds nothing but the parameters of TLS, and whether TLS begins without being asked for.

    Args:
        target: What they are made of.
        certificate: Whether there is the client's certificate that is named: libpq does without one that is not there.
    """
    given = {name: target.parameters[name] for name in _TLS if name in target.parameters}
    if not certificate or given.get("sslmode") == "disable" or target.parameters.get("sslcertmode") == "disable":
        given = {name: value for name, value in given.items() if name not in ("sslcert", "sslkey")}
    if target.trusts_system_roots:
        given = {name: value for name, value in given.items() if name not in ("sslmode", "sslrootcert")}
    elif target.parameters.get("channel_binding") == "require" and given.get("sslmode", "prefer") in _WEAK:
        given["sslmode"] = "require"  # the other driver would refuse a server without TLS, too
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items())
    return f"postgresql:///?{query}" if query else "postgresql:///", target.parameters.get("sslnegotiation") == "direct"


_WEAK: Final = frozenset({"disable", "allow", "prefer"})


def libpq_arguments(target: Target, options: PoolOptions, known: frozenset[str]) -> dict[str, str]:
    """Return the parameters for libpq.

    Args:
        target: What they are made of.
        options: The pool's options.
        known: The names that this libpq knows; everything else becomes a setting of the session.
    """
    given = {"application_name": options.application_name, **_KEPT_ALIVE, **target.parameters}
    # 1. Parameters that this libpq knows.
    # 2. Settings of the session, which go into its `options`.
    unknown = {name: value for name, value in given.items() if name not in known}
    settings = [f"-c {name}={_escaped(value)}" for name, value in {**unknown, **target.settings}.items()]
    kept = {name: value for name, value in given.items() if name in known and name != "connect_timeout"}
    if settings:
        kept["options"] = " ".join(filter(None, [kept.get("options", ""), *settings]))
    return {**kept, "client_encoding": "UTF8"}


_KEPT_ALIVE: Final = {"keepalives_idle": "60", "keepalives_interval": "10"}


def split_parameters(given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return what libpq knows, and the settings of the session. The encoding is always UTF-8, whatever was given."""
    ours = {name: value for name, value in given.items() if name in KNOWN and name != "client_encoding"}
    return ours, {name: value for name, value in given.items() if name not in KNOWN}


def _refuse_libpq_only(given: Mapping[str, str]) -> None:
    refused = [name for name in _LIBPQ_ONLY if name in given]
    refused += [name for name in ("gssencmode", "sslcertmode") if given.get(name) == "require"]
    if refused:
        names = ", ".join(refused)
        raise InvalidRequestError(
            f"the driver of AsyncMemory cannot do what the url asks for: {names}; Memory can", provider=PROVIDER
        )


def _escaped(value: str) -> str:
    return re.sub(r"([\s\\])", r"\\\1", value)
