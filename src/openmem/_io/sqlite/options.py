"""The options of the embedded provider."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from openmem._config.settings import Settings, sqlite_path
from openmem._io.paths import user_data_dir
from openmem._model.retention import Retention
from openmem.errors import InvalidRequestError

_SYNCHRONOUS: Final = ("normal", "full")


class SqliteOptions(NamedTuple):
    """The options, checked."""

    synchronous: str
    cache_mb: int
    path: str | None

    @property
    def place(self) -> str:
        """The path of the file. Only now is the user's folder looked for, if none was given."""
        return self.path or os.path.join(user_data_dir(), "memories.db")


def check(settings: Settings) -> SqliteOptions:
    """Return the options.

    Raises:
        InvalidRequestError: One of them is wrong, or `url` names no file.
    """
    synchronous = settings.options.get("synchronous", "normal")
    if synchronous not in _SYNCHRONOUS:
        raise InvalidRequestError('synchronous must be "normal" or "full"', provider="sqlite")
    cache_mb = settings.options.get("cache_mb", 256)
    if not isinstance(cache_mb, int) or isinstance(cache_mb, bool) or cache_mb < 1:
        raise InvalidRequestError("cache_mb must be a whole number from 1", provider="sqlite")
    Retention.of(settings.options)
    return SqliteOptions(synchronous, cache_mb, sqlite_path(settings.url) if settings.url else None)
