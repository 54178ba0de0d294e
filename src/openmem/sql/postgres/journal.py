"""The audit journal on Postgres: written in the statement of the verb itself. Never content."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from openmem.ids import routing_bucket
from openmem.requests import AuditQuery
from openmem.sql.postgres.names import Names
from openmem.sql.postgres.rows import Stamp
from openmem.sql.steps import Query, Steps
from openmem.types import Action, AuditEntry

_COLUMNS: Final = "bucket, id, user_id, at, app, action, memory_id, scope, request_id"


@lru_cache(maxsize=64)
def read_entry(db: Names, start: int, condition: str = "true") -> str:
    """Return a CTE `entry` that enters a read, for a statement whose bucket is `$1` and whose user is `$2`.

    Its seven parameters, made by `entry_values`, begin with `$start`. The transaction of a read does not wait for
    the disk: a crash of the server may lose the entries of its last reads, never a memory. Nothing is entered
    unless the condition holds, and a read that is repeated after its reply was lost is entered once.
    """
    numbers = [f"${start + offset}" for offset in range(7)]
    casts = ("text", "timestamptz", "text", "text", "text", "text", "text")
    values = ", ".join(f"{number}::{cast}" for number, cast in zip(numbers, casts, strict=True))
    id_, rest = values.split(", ", 1)
    return f"""
        entry as (
          insert into {db.audit}({_COLUMNS})
          select $1::smallint, {id_}, $2::text, {rest}
          from (select set_config('synchronous_commit', 'off', true)) as no_wait where {condition}
          on conflict (bucket, id) do nothing
        )
    """


def entry_values(stamp: Stamp, action: Action, memory_id: str | None, scope: str | None) -> tuple[Any, ...]:
    """Return the parameters of `read_entry`."""
    return (stamp.entry_id, stamp.now, stamp.app, action, memory_id, scope, stamp.request_id)


def write(
    db: Names, user_id: str, action: Action, items: Sequence[tuple[str | None, str | None, str | None]], stamp: Stamp
) -> Query:
    """Return the statement that enters one verb for some (memory id, scope, app of the source)."""
    ids, scopes, apps = (list(column) for column in zip(*items, strict=True))
    return Query(
        f"""
        insert into {db.audit}({_COLUMNS})
        select $1::smallint, $3::text || lpad(item.number::text, 6, '0'), $2::text, $4::timestamptz,
          coalesce($5::text, item.app), $6::text, item.memory_id, item.scope, $7::text
        from unnest($8::text[], $9::text[], $10::text[]) with ordinality as item(memory_id, scope, app, number)
        """,
        (
            routing_bucket(user_id),
            user_id,
            stamp.entry_id,
            stamp.now,
            stamp.app,
            action,
            stamp.request_id,
            ids,
            scopes,
            apps,
        ),
    )


def note(db: Names, user_id: str, action: Action, stamp: Stamp) -> Steps[None]:
    """Enter a read by itself, where it cannot be part of the statement that read."""
    yield Query(
        f"with {read_entry(db, 3)} select 1",
        (routing_bucket(user_id), user_id, *entry_values(stamp, action, None, None)),
    )


def entries(db: Names, query: AuditQuery) -> Steps[list[AuditEntry]]:
    """Read a user's journal, newest first."""
    values: list[Any] = [routing_bucket(query.user_id), query.user_id, query.limit]
    conditions = []
    for condition, value in (("app =", query.app), ("at >=", query.since)):
        if value is not None:
            values.append(value)
            conditions.append(f"{condition} ${len(values)}")
    rows = yield Query(
        f"""
        select at, app, action, memory_id, scope, request_id from {db.audit}
        where bucket = $1 and user_id = $2{"".join(f" and {condition}" for condition in conditions)}
        order by at desc, id desc limit $3
        """,
        values,
    )
    names = ("timestamp", "app", "action", "memory_id", "scope", "request_id")
    return [AuditEntry.model_construct(**dict(zip(names, row, strict=True))) for row in rows]
