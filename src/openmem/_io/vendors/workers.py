"""The number of calls to another service's SDK that may run at once."""

from __future__ import annotations

from typing import Final

from openmem._config.settings import Settings
from openmem._model.checks import check_limit

WORKERS: Final = 8


def workers_of(settings: Settings) -> int:
    """Return the option `workers`, from 1 to 1,000.

    Raises:
        InvalidRequestError: It is no such number.
    """
    return check_limit(settings.options.get("workers", WORKERS), 1_000, "workers")
