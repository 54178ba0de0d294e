"""The audit journal: who did what to which memory, and when. Never content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from openmem.requests import AuditQuery
from openmem.sql.sqlite.rows import Stamp, micros, moment
from openmem.sql.sqlite.schema import USER_RANGE
from openmem.sql.sqlite.writer import Writer
from openmem.sql.steps import Many, Query, Row, Steps
from openmem.types import Action, AuditEntry

_COLUMNS: Final = "audit(entry, at, app, action, memory_id, scope, request_id)"
_INSERT: Final = f"insert into {_COLUMNS} values(?,?,?,?,?,?,?)"
_ENSURE_USER: Final = "insert into users(user_id) values(?) on conflict(user_id) do nothing"
_INSERT_BY_NAME: Final = f"""
    insert into {_COLUMNS} select 1 + coalesce(
      (select max(entry) from audit where entry {USER_RANGE}), user_no << 32
    ), ?, ?, ?, ?, ?, ? from users where user_id = ?
"""


def write(writer: Writer, action: Action, items: Sequence[tuple[str | None, str | None, str | None]]) -> Many:
    """Return the statement that enters one verb for some (memory id, scope, app of the source)."""
    stamp, first = writer.stamp, writer.next_entry
    writer.next_entry += len(items)
    rows = [
        (entry, stamp.now, stamp.app or app, action, memory_id, scope, stamp.request_id)
        for entry, (memory_id, scope, app) in enumerate(items, first)
    ]
    return Many(_INSERT, rows)


def read_entry(
    user_id: str, action: Action, memory_id: str | None, scope: str | None, stamp: Stamp
) -> tuple[Query, Query]:
    """Return the statements that enter a read."""
    values = (stamp.now, stamp.app, action, memory_id, scope, stamp.request_id, user_id)
    return Query(_ENSURE_USER, (user_id,)), Query(_INSERT_BY_NAME, values)


def entries(query: AuditQuery) -> Steps[list[AuditEntry]]:
    """Read a user's journal, newest first."""
    rows = yield Query(
        f"""
        select at, app, action, memory_id, scope, request_id
        from users join audit on entry {USER_RANGE}
        where user_id = ? and (? is null or app = ?) and at >= ?
        order by entry desc limit ?
        """,
        (query.user_id, query.app, query.app, micros(query.since) or 0, query.limit),
    )
    return [_entry(row) for row in rows]


def _entry(row: Row) -> AuditEntry:
    at, app, action, memory_id, scope, request_id = row
    return AuditEntry(
        timestamp=moment(at), app=app, action=action, memory_id=memory_id, scope=scope, request_id=request_id
    )
