"""Times that lie days away from now, so that no rule depends on how fast a test runs."""

from __future__ import annotations

from datetime import datetime, timedelta

from openmem.types import UTC


def days(count: float) -> datetime:
    """Return the time `count` days from now; a negative count lies in the past."""
    return datetime.now(UTC) + timedelta(days=count)
