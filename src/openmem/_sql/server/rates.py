"""Steps over the rate counters: a window of a minute for each caller, from its first request on."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from openmem._model.timestamps import micros
from openmem._sql.server.dialect import Dialect
from openmem._sql.steps import Steps

WINDOW: Final = 60_000_000


def take(db: Dialect, caller: str, per_minute: int, now: datetime) -> Steps[float]:
    """Count a request, in one statement; return 0.0 if it may go on, else the seconds to wait."""
    at = micros(now)
    # Also over when it began in the future: some server's clock was wrong, and no caller shall wait for hours.
    over = f"abs($2 - rates.started_at) >= {WINDOW}"
    rows = yield db.query(
        f"""
        insert into {db.prefix}rates(caller, started_at, taken) values($1, $2, 1)
        on conflict(caller) do update set
          taken = case when {over} then 1 when rates.taken > $3 then rates.taken else rates.taken + 1 end,
          started_at = case when {over} then $2 else rates.started_at end
        returning started_at, taken
        """,
        caller,
        at,
        per_minute,
    )
    started_at, taken = rows[0]
    return 0.0 if taken <= per_minute else max(started_at + WINDOW - at, 1) / 1_000_000


def forget(db: Dialect, before: datetime) -> Steps[None]:
    """Forget the callers whose window began before a time."""
    yield db.query(f"delete from {db.prefix}rates where started_at < $1", micros(before))
