"""The audit log: who did what to which memory, and when. Never content.

The entry of an `add` stands in the row of its memory until that changes or goes, and then in the table `journal`: an
`add` writes a page less, and names everything once only. The number of an entry tells which was first. They grow with
`rid`, so the newest one is the last of `journal` or that of a user's last row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from openmem._model.requests import AuditQuery, Draft
from openmem._model.timestamps import micros, time_of
from openmem._rules.writing import app_of
from openmem._sql.sqlite.rows import dumps
from openmem._sql.sqlite.schema import LAST_ENTRY, USER_RANGE
from openmem._sql.sqlite.writer import Writer
from openmem._sql.steps import Many, Query, Row, Steps
from openmem._sql.writing import Stamp
from openmem.types import Action, AuditEntry

Entered: TypeAlias = tuple[str | None, str | None, str | None, int | None]
"""The subject of a write: the id of a memory, its scope, the app that its source names, and its version.

The version is the one that the write left, or took away; `ERASURE` where it concerns no single memory.
"""

_COLUMNS: Final = "journal(entry, at, app, action, memory_id, scope, request_id)"
_INSERT: Final = """
    insert into journal(entry, at, app, action, memory_id, scope, request_id, version) values(?,?,?,?,?,?,?,?)
"""
_ENSURE_USER: Final = "insert into users(user_id) values(?) on conflict(user_id) do nothing"
_INSERT_BY_NAME: Final = (
    f"insert into {_COLUMNS} select 1 + {LAST_ENTRY}, ?, ?, ?, ?, ?, ? from users where user_id = ?"
)

# The memory may have been erased between the read and its entry: then the entry names neither it nor its scope.
# That of one which `delete` took out goes on naming it, as the entry of its deletion does.
_DELETED: Final = f"""
    exists(select 1 from journal where memory_id = seen.memory_id and action = 'delete' and +entry {USER_RANGE})
"""
_INSERT_NAMING: Final = f"""
    insert into {_COLUMNS}
    select 1 + {LAST_ENTRY}, seen.at, seen.app, seen.action,
      case when kept is not null then kept when {_DELETED} then seen.memory_id end,
      case when kept is not null then seen.scope when {_DELETED} then seen.scope end, seen.request_id
    from (select ? as at, ? as app, ? as action, ? as memory_id, ? as scope, ? as request_id) as seen
    join users on user_id = ?
    left join (select id as kept, user_no as owner from memories) on kept = seen.memory_id and owner = users.user_no
"""
_KEEP: Final = """
    insert into journal(entry, at, app, action, memory_id, scope, request_id, version)
    select entry, created_at, app, 'add', id, path, request_id, version
    from memories left join scopes on scopes.scope_no = memories.scope_no
    where rid in (select value from json_each(?)) and entry is not null
"""
_ENTRIES: Final = f"""
    select * from (
      select at, app, action, memory_id, scope, request_id, entry
      from users join journal on entry {USER_RANGE}
      where user_id = ? and (? is null or app = ?) and at >= ? order by entry desc limit ?
    ) union all select * from (
      select created_at, app, 'add', id, path, request_id, entry
      from users join memories on rid {USER_RANGE} left join scopes on scopes.scope_no = memories.scope_no
      where user_id = ? and entry is not null and (? is null or app = ?) and created_at >= ?
      order by rid desc limit ?
    ) order by entry desc limit ?
"""


def write(writer: Writer, action: Action, items: Sequence[Entered]) -> Many:
    """Return the statement that enters one verb for some memories."""
    stamp, first = writer.stamp, writer.next_entry
    writer.next_entry += len(items)
    rows = [
        (entry, writer.now, stamp.app or app, action, memory_id, scope, stamp.request_id, version)
        for entry, (memory_id, scope, app, version) in enumerate(items, first)
    ]
    return Many(_INSERT, rows)


def own_entry(writer: Writer, draft: Draft) -> tuple[int | None, str | None, str | None]:
    """Return what the row of a new memory says of its `add`: the number of the entry, the app and the request.

    The row of a memory that was made at another time than it is stored (an import) cannot say when that was, so it
    says nothing.
    """
    if draft.created_at is not None:
        return None, None, None
    stamp, entry = writer.stamp, writer.next_entry
    writer.next_entry += 1
    return entry, stamp.app or app_of(draft), stamp.request_id


def keep(rids: Sequence[int]) -> Query:
    """Return the statement that enters what the rows of memories say, which are about to change or to go."""
    return Query(_KEEP, (dumps(list(rids)),))


def read_entry(
    user_id: str, action: Action, memory_id: str | None, scope: str | None, stamp: Stamp
) -> tuple[Query, Query]:
    """Return the statements that enter a read."""
    values = (micros(stamp.now), stamp.app, action, memory_id, scope, stamp.request_id, user_id)
    return Query(_ENSURE_USER, (user_id,)), Query(_INSERT_BY_NAME if memory_id is None else _INSERT_NAMING, values)


def entries(query: AuditQuery) -> Steps[list[AuditEntry]]:
    """Read a user's audit log, newest first."""
    asked = (query.user_id, query.app, query.app, micros(query.since) or 0, query.limit)
    rows = yield Query(_ENTRIES, (*asked, *asked, query.limit))
    return [_entry(row) for row in rows]


def _entry(row: Row) -> AuditEntry:
    at, app, action, memory_id, scope, request_id, _ = row
    return AuditEntry(
        timestamp=time_of(at), app=app, action=action, memory_id=memory_id, scope=scope, request_id=request_id
    )
