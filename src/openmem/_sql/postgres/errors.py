"""The meaning of failures of Postgres: SQLSTATE in, one of the SDK's errors out. Pure; both drivers use it.

The server's own texts never go on: they quote names, statements and stored values.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, TypeAlias

from openmem.errors import (
    InvalidRequestError,
    OMPError,
    ProviderError,
    ProviderUnavailableError,
    UnauthorizedError,
)

PROVIDER: Final = "postgres"

Kind: TypeAlias = type[OMPError]

TLS_FAILED: Final = "TLS with the database server failed: check sslmode and sslrootcert"

_BUSY: Final = "another transaction was in the way; try again"
_SCHEMA: Final = "the schema is missing or of another version: run the migrations"
_STOPPING: Final = "the database server is shutting down or was restarted"
_REFUSED: Final = "the database server refused the user name or the password"
_POOLER: Final = "a prepared statement is gone: behind a connection pooler, give statement_cache=False"

_OF_STATE: Final[dict[str, tuple[Kind, str]]] = {
    "0A000": (ProviderError, "the database server does not support this"),
    "25006": (ProviderUnavailableError, "the database is read-only: a replica, or a server in recovery"),
    "25P03": (ProviderUnavailableError, "the database server ended a transaction that was idle for too long"),
    "25P04": (ProviderUnavailableError, "the database server ended a transaction that took too long"),
    "26000": (ProviderError, _POOLER),
    "3D000": (ProviderError, "the database does not exist"),
    "3F000": (ProviderError, _SCHEMA),
    "40001": (ProviderUnavailableError, _BUSY),
    "40P01": (ProviderUnavailableError, _BUSY),
    "42501": (ProviderError, "the database role is not allowed to do this"),
    "42703": (ProviderError, _SCHEMA),
    "42704": (ProviderError, "a type or another object is missing; is the extension vector installed?"),
    "42P01": (ProviderError, _SCHEMA),
    "42P05": (ProviderError, _POOLER),
    "53100": (ProviderUnavailableError, "the disk of the database server is full; nothing was stored"),
    "53200": (ProviderUnavailableError, "the database server is out of memory"),
    "53300": (ProviderUnavailableError, "the database server has too many connections"),
    "54000": (ProviderError, "a value is larger than the database server can take"),
    "55P03": (ProviderUnavailableError, _BUSY),
    "57014": (ProviderError, "the database server cancelled the statement: somebody, or its statement_timeout"),
    "57P01": (ProviderUnavailableError, _STOPPING),
    "57P02": (ProviderUnavailableError, _STOPPING),
    "57P03": (ProviderUnavailableError, "the database server is starting or shutting down"),
    "57P04": (ProviderError, "the database was dropped"),
    "57P05": (ProviderUnavailableError, "the database server closed an idle connection"),
}
_OF_CLASS: Final[dict[str, tuple[Kind, str]]] = {
    "08": (ProviderUnavailableError, "the connection to the database server was lost"),
    "22": (ProviderError, "the database server refused a value"),
    "23": (ProviderError, "the change breaks a constraint of the database"),
    "28": (UnauthorizedError, _REFUSED),
    "40": (ProviderUnavailableError, _BUSY),
    "53": (ProviderUnavailableError, "the database server is out of resources"),
    "54": (ProviderError, "the database server's limits are exceeded"),
    "57": (ProviderUnavailableError, _STOPPING),
    "58": (ProviderUnavailableError, "the database server failed"),
    "XX": (ProviderError, "the database is damaged, or its server has a fault"),
}
_LOST_CLASSES: Final = frozenset({"08"})
_LOST_STATES: Final = frozenset({"25006", "25P03", "25P04", "57P01", "57P02", "57P03", "57P04", "57P05"})
# What a server answers to a setting that it does not know, or does not take from a client.
_SETTING_STATES: Final = frozenset({"22023", "42501", "42601", "42704", "55P02"})
_COLLISIONS: Final = frozenset({"40001", "40P01"})
# Where Citus reports that it cannot speak to a node; Postgres itself has no files of these names.
_OF_A_CLUSTER: Final = frozenset(
    {"adaptive_executor.c", "connection_management.c", "placement_connection.c", "remote_commands.c"}
    | {"remote_transaction.c", "worker_transaction.c", "shared_connection_stats.c"}
)
_NODE_LOST: Final = "a node of the database cluster cannot be reached"
_CHANGED: Final = "the tables were changed at this moment; try again"

# While connecting, libpq says what happened in words only. Other languages end up as "cannot be reached".
_IN_WORDS: Final = (
    (r"password authentication failed|no password supplied|authentication failed|role .* does not exist", "28P01"),
    (r"no pg_hba\.conf entry|not permitted to log in|permission denied for database", "28000"),
    (r"database .* does not exist", "3D000"),
    (r"unrecognized configuration parameter", "42704"),
    (r"parameter .* cannot be changed", "55P02"),
    (r"invalid command-line argument for server process", "42601"),
    (r"invalid value for parameter|parameter .* requires a|outside the valid range for parameter", "22023"),
    (r"permission denied to set parameter", "42501"),
    (r"too many clients|too many connections|connection slots are reserved|connection limit exceeded", "53300"),
    (r"starting up|shutting down|not accepting connections|not yet accepting|in recovery mode", "57P03"),
)


def error_of_state(sqlstate: str | None, constraint: str | None = None) -> OMPError:
    """Return the error to raise for a failure of the server.

    Args:
        sqlstate: The five characters the server gave; `None` if the connection itself failed.
        constraint: The name of the broken constraint, if there is one.

    Returns:
        An error whose `details` hold `sqlstate` and `constraint` where known, for callers that can do more.
    """
    state = sqlstate or "08006"
    kind, message = _OF_STATE.get(state) or _OF_CLASS.get(state[:2]) or (ProviderError, "the database failed")
    details = {name: value for name, value in (("sqlstate", sqlstate), ("constraint", constraint)) if value}
    return kind(message, provider=PROVIDER, details=details)


def unreachable(reason: str = "the database server cannot be reached") -> ProviderUnavailableError:
    """Return the error for a connection that did not come about."""
    return ProviderUnavailableError(reason, provider=PROVIDER)


def unusable() -> InvalidRequestError:
    """Return the error for an address that a driver cannot use."""
    return InvalidRequestError("the url's host, port or options cannot be used", provider=PROVIDER)


def error_while_connecting(sqlstate: str, settings: Collection[str]) -> OMPError:
    """Return the error to raise for a server that does not let a client in.

    Args:
        sqlstate: The five characters the server gave.
        settings: The parameters of the address that were sent to the server as settings.
    """
    if sqlstate in _SETTING_STATES and settings:
        return InvalidRequestError(
            f"url: the database server does not take a parameter of it: {', '.join(sorted(settings))}",
            provider=PROVIDER,
            details={"sqlstate": sqlstate},
        )
    return error_of_state(sqlstate)


def exhausted(size: int, seconds: float) -> ProviderUnavailableError:
    """Return the error for a call that waited too long for a free connection."""
    return ProviderUnavailableError(
        f"pool exhausted: all {size} connections were in use for {seconds:.3g} s", provider=PROVIDER
    )


def misused() -> ProviderError:
    """Return the error for a statement that did not get as far as the server."""
    return ProviderError("the database driver refused the statement or one of its values", provider=PROVIDER)


def closed() -> ProviderUnavailableError:
    """Return the error for a call that the closing of its instance ended."""
    return ProviderUnavailableError("the instance was closed during the call", provider=PROVIDER)


def wrong_encoding() -> ProviderError:
    """Return the error for a database that cannot hold every text."""
    return ProviderError(
        "the encoding of the database is not UTF8: make it with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
        provider=PROVIDER,
    )


def state_in_words(text: str) -> str | None:
    """Return the SQLSTATE behind the text of a failed attempt to connect, if it can be told."""
    for pattern, state in _IN_WORDS:
        if re.search(pattern, text):
            return state
    return None


def is_lost(sqlstate: str | None) -> bool:
    """Return whether the connection that gave this is of no further use."""
    return sqlstate is None or sqlstate in _LOST_STATES or sqlstate[:2] in _LOST_CLASSES


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a server on a failure, apart from its words.

    Attributes:
        state: The SQLSTATE; `None` if the connection itself failed.
        severity: `ERROR` if the session goes on, `FATAL` or `PANIC` if not; `None` if the driver made the error up.
        file: The source file of the server that reports it.
        routine: The function there.
        constraint: The name of the broken constraint.
    """

    state: str | None
    severity: str | None = None
    file: str | None = None
    routine: str | None = None
    constraint: str | None = None

    @property
    def concerns_a_node(self) -> bool:
        """Whether the session is in order, but what is behind the server is not: a node of a cluster is gone."""
        state = self.state or ""
        behind = state[:2] == "08" or (state == "XX000" and self.file in _OF_A_CLUSTER)
        return behind and self.severity == "ERROR"

    @property
    def lost(self) -> bool:
        """Whether the session is of no further use."""
        return is_lost(self.state) and not self.concerns_a_node

    @property
    def unprepared(self) -> bool:
        """Whether a prepared statement is not there, or another is in its place, as behind a pooler."""
        return self.state in ("26000", "42P05")

    @property
    def stale(self) -> bool:
        """True if nothing was done, because the statement has to be prepared once more."""
        return self.unprepared or (self.state == "0A000" and self.routine == "RevalidateCachedQuery")

    def error(self) -> OMPError:
        """Return the error to raise."""
        details = {"sqlstate": self.state} if self.state else None
        if self.concerns_a_node:
            return ProviderUnavailableError(_NODE_LOST, provider=PROVIDER, details=details)
        if self.stale and not self.unprepared:
            return ProviderUnavailableError(_CHANGED, provider=PROVIDER, details=details)
        return error_of_state(self.state, self.constraint)


def is_collision(sqlstate: str | None) -> bool:
    """Return whether the transaction did nothing and may just be run again."""
    return sqlstate in _COLLISIONS


def quotes_values(sqlstate: str | None) -> bool:
    """Return whether the server's own text may quote what was to be stored."""
    return sqlstate is not None and sqlstate[:2] in {"22", "23"}
