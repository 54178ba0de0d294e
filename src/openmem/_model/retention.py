"""Retention: how long a store keeps its audit log and earlier versions, and the report of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from openmem.errors import InvalidRequestError
from openmem.types import OMPModel

OPTIONS: Final = frozenset({"audit_days", "versions"})
MAX_DAYS: Final = 36_500
MAX_VERSIONS: Final = 2_147_483_647
_VARIABLES: Final = {"audit_days": "OMP_AUDIT_DAYS", "versions": "OMP_VERSIONS"}
_KEEPING: Final = frozenset({"sqlite", "postgres"})


@dataclass(frozen=True, slots=True)
class Retention:
    """The retention of a store.

    Args:
        audit_days: Days for which the audit log keeps an entry, `None` for ever; more than 0.
        versions: How many earlier versions of each memory are kept, `None` for all; from 0.

    Raises:
        InvalidRequestError: One of them is out of range.
    """

    audit_days: float | None = None
    versions: int | None = None

    def __post_init__(self) -> None:
        days: Any = self.audit_days
        versions: Any = self.versions
        if days is not None:
            numeric = isinstance(days, (int, float)) and not isinstance(days, bool)
            if not numeric or not math.isfinite(days) or not 0 < days <= MAX_DAYS:
                raise InvalidRequestError(f"audit_days must be a number above 0, at most {MAX_DAYS}")
        if versions is not None:
            whole = isinstance(versions, int) and not isinstance(versions, bool)
            if not whole or not 0 <= versions <= MAX_VERSIONS:
                raise InvalidRequestError(f"versions must be a whole number from 0 to {MAX_VERSIONS}")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Retention:
        """Return what the options of a provider say."""
        return cls(options.get("audit_days"), options.get("versions"))

    def or_else(self, other: Retention) -> Retention:
        """Return this, with what it leaves open as in another."""
        return Retention(
            other.audit_days if self.audit_days is None else self.audit_days,
            other.versions if self.versions is None else self.versions,
        )

    @property
    def limited(self) -> bool:
        """Whether anything is ever removed."""
        return self.audit_days is not None or self.versions is not None

    @property
    def seconds(self) -> float | None:
        """For how many seconds the audit log keeps an entry."""
        return None if self.audit_days is None else self.audit_days * 86_400

    def oldest(self, now: datetime) -> datetime | None:
        """Return the time before which entries go."""
        return None if self.audit_days is None else now - timedelta(days=self.audit_days)


class MaintenanceReport(OMPModel):
    """The rows that `maintain` removed, or with `dry_run` would remove.

    `purged` says whether the bytes are gone from the file as well, `None` where that is not known; sizes are known of
    the embedded store only.
    """

    entries: int = 0
    versions: int = 0
    dry_run: bool = False
    bytes_before: int | None = None
    bytes_after: int | None = None
    purged: bool | None = None


def options_from(environ: Mapping[str, str], provider: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with what the environment says of those that are not given.

    Raises:
        InvalidRequestError: A variable holds no number.
    """
    found = dict(options)
    for name, variable in _VARIABLES.items() if provider in _KEEPING else ():
        text = environ.get(variable)
        if text and name not in found:
            try:
                found[name] = float(text) if name == "audit_days" else int(text)
            except ValueError:
                kind = "a number" if name == "audit_days" else "a whole number"
                raise InvalidRequestError(f"{variable} must be {kind}") from None
    return found
