"""Steps over the journal that a server keeps for providers without one. It only grows, and holds no content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from openmem.requests import AuditQuery
from openmem.sql.server.dialect import Dialect
from openmem.sql.sqlite.rows import micros, time_of
from openmem.sql.steps import Steps
from openmem.types import AuditEntry

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
    """Read a user's journal, newest first."""
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
