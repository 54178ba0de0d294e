"""The options of the Postgres provider. The classes that hold it check themselves with the functions here."""

from __future__ import annotations

import re
from typing import Any, Final

from openmem._config.settings import Settings
from openmem._model.checks import check_flag
from openmem._model.retention import Retention
from openmem._sql.postgres.errors import PROVIDER
from openmem._sql.postgres.url import parse_database_url
from openmem.errors import InvalidRequestError

DEFAULT_SCHEMA: Final = "openmem"
DEFAULT_CONFIG: Final = "english"
DEFAULT_FROM_ROWS: Final = 20_000

_IDENTIFIER: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_FLAGS: Final = (("migrate", True), ("distribute", False), ("group_adds", True))


def check(settings: Settings) -> None:
    """Check what a provider is to be built from, without looking for the database.

    Raises:
        InvalidRequestError: The address cannot be read, or an option is wrong.
    """
    if not settings.url:
        raise InvalidRequestError(
            'provider "postgres" requires url="postgresql://user:password@host/database"', provider=PROVIDER
        )
    given = settings.options
    check_names(given.get("schema", DEFAULT_SCHEMA), given.get("text_search", DEFAULT_CONFIG))
    Retention.of(given)
    for name, value in _FLAGS:
        check_flag(given.get(name, value), name)
    check_approximation(given.get("hnsw", False), given.get("hnsw_from", DEFAULT_FROM_ROWS))
    parse_database_url(settings.url)
    check_pool(given.get("pool_min_size", 0), given.get("pool_max_size", 10), given.get("pool_timeout", 30.0))


def is_identifier(value: object) -> bool:
    """Return whether a value is a name that SQL takes as it is, unless it is reserved."""
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def check_names(schema: Any, config: Any) -> None:
    """Check the name of the schema and of the text search configuration.

    Raises:
        InvalidRequestError: One of them is no identifier, or the schema's is one that Postgres keeps for itself.
    """
    for name, value in (("schema", schema), ("text_search", config)):
        if not is_identifier(value):
            raise InvalidRequestError(f"{name} must be a lower-case identifier, such as {DEFAULT_SCHEMA}")
    if schema.startswith("pg_"):
        raise InvalidRequestError("schema must not begin with pg_, which Postgres keeps for itself")


def check_approximation(on: Any, from_rows: Any) -> None:
    """Check whether and for whom a search may use an approximate index.

    Raises:
        InvalidRequestError: `hnsw` is no flag, or `hnsw_from` no number of memories.
    """
    check_flag(on, "hnsw")
    if type(from_rows) is not int or from_rows < 1:
        raise InvalidRequestError("hnsw_from must be a number of memories, 1 or more")


def check_pool(min_size: Any, max_size: Any, timeout: Any) -> None:
    """Check the sizes of a pool and the seconds to wait for one of its connections.

    Raises:
        InvalidRequestError: They are no numbers, or do not fit together.
    """
    for name, value in (("pool_min_size", min_size), ("pool_max_size", max_size)):
        _check_number(name, value, int)
    _check_number("pool_timeout", timeout, (int, float))
    if not 0 <= min_size <= max_size or max_size < 1:
        raise InvalidRequestError("pool_min_size must be from 0 to pool_max_size", provider=PROVIDER)
    if not timeout > 0:
        raise InvalidRequestError("pool_timeout must be above 0", provider=PROVIDER)


def _check_number(name: str, value: object, kind: type | tuple[type, ...]) -> None:
    if isinstance(value, bool) or not isinstance(value, kind):
        raise InvalidRequestError(f"{name} must be a number, not {type(value).__name__}", provider=PROVIDER)
