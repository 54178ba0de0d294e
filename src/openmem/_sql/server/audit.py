"""Steps over the audit log that a server keeps for providers without one. No entry holds content."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from openmem._model.requests import AuditQuery
from openmem._model.scopes import EVERYTHING, ScopePattern
from openmem._model.timestamps import micros, time_of
from openmem._sql.server.dialect import Dialect
from openmem._sql.steps import Steps
from openmem.types import AuditEntry

AT_ONCE: Final = 500
"""Entries that a transaction removes."""
LOOKED_AT: Final = 5_000

_EVER: Final = -(2**62)


def enter(db: Dialect, user_id: str, entries: Sequence[AuditEntry]) -> Steps[None]:
    """Add entries of one user."""
    yield db.many(
        f"""
        insert into {db.prefix}journal(user_id, at, app, action, memory_id, scope, request_id)
        values($1, $2, $3, $4, $5, $6, $7)
        """,
        [
            (user_id, micros(entry.timestamp), entry.app, entry.action, entry.memory_id, entry.scope, entry.request_id)
            for entry in entries
        ],
    )


def entries(db: Dialect, query: AuditQuery) -> Steps[list[AuditEntry]]:
    """Read a user's audit log, newest first."""
    since = micros(query.since)
    rows = yield db.query(
        f"""
        select at, app, action, memory_id, scope, request_id from {db.prefix}journal
        where user_id = $1 and (cast($2 as text) is null or app = cast($2 as text)) and at >= $3
        order by at desc, entry desc limit $4
        """,
        query.user_id,
        query.app,
        _EVER if since is None else since,
        query.limit,
    )
    names = ("app", "action", "memory_id", "scope", "request_id")
    return [AuditEntry(timestamp=time_of(row[0]), **dict(zip(names, row[1:], strict=True))) for row in rows]


def old_entries(db: Dialect, before: datetime, after: int) -> Steps[tuple[list[int], int | None]]:
    """Read which entries behind a place are older than a time, and the next place, if there is more."""
    rows = yield db.query(
        f"select entry, at from {db.prefix}journal where entry > $1 order by entry limit $2", after, LOOKED_AT
    )
    bound = micros(before)
    return [entry for entry, at in rows if at < bound], int(rows[-1][0]) if len(rows) == LOOKED_AT else None


def remove(db: Dialect, before: datetime, entries: Sequence[int]) -> Steps[int]:
    """Remove those of some entries that are older than a time; return how many."""
    if not entries:
        return 0
    rows = yield db.query(
        f"""
        delete from {db.prefix}journal where entry between $1 and $2 and at < $3 returning 1
        """,
        entries[0],
        entries[-1],
        micros(before),
    )
    return len(rows)


def forget(db: Dialect, user_id: str, scope: ScopePattern | None) -> Steps[tuple[int, int]]:
    """Take ids and scopes out of a user's entries: all of them, or those about memories last known in a scope.

    Returns:
        How many entries were changed, and how many should be but are not.
    """
    chosen, params = _chosen(db, scope)
    changed = yield db.query(
        f"update {db.prefix}journal set memory_id = null, scope = null where {chosen} returning 1", user_id, *params
    )
    left = yield db.query(f"select count(*) from {db.prefix}journal where {chosen}", user_id, *params)
    return len(changed), int(left[0][0])


def _chosen(db: Dialect, scope: ScopePattern | None) -> tuple[str, tuple[str, ...]]:
    """Return the condition for entries that are to forget what they name, and its parameters from the second on."""
    if scope is None or scope == EVERYTHING:
        return "user_id = $1 and (memory_id is not null or scope is not null)", ()
    below = "cast($3 as text)"
    inside = f"(scope = $2 or substr(scope, 1, length({below})) = {below})" if scope.subtree else "scope = $2"
    return (
        f"""
        user_id = $1 and memory_id in (
          select memory_id from (
            select memory_id, scope, row_number() over (partition by memory_id order by at desc, entry desc) as age
            from {db.prefix}journal where user_id = $1 and memory_id is not null and scope is not null
          ) as known where age = 1 and {inside}
        )
        """,
        (scope.path, f"{scope.path}/") if scope.subtree else (scope.path,),
    )
