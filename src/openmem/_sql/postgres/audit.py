"""The audit log on Postgres: written in the statement of the verb itself. Never content."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

from openmem._model.ids import routing_bucket
from openmem._model.requests import AuditQuery
from openmem._sql.postgres.names import Names
from openmem._sql.steps import Many, Query, Statement, Steps
from openmem._sql.writing import Stamp
from openmem.types import Action, AuditEntry

Item: TypeAlias = tuple[str | None, str | None, str | None, int | None]
"""The subject of an entry: the id of a memory, a scope, the app that the memory's source names, and a version.

The version is the one that a write left, or took away; `ERASURE` where it concerns no single memory, nothing of a read.
"""

_COLUMNS: Final = "bucket, id, user_id, at, app, action, memory_id, scope, request_id"


@lru_cache(maxsize=64)
def read_entry(db: Names, start: int, condition: str = "true", scope: str = "null", memory_id: str = "null") -> str:
    """Return a CTE `entry` that enters a read, for a statement whose bucket is `$1` and whose user is `$2`.

    Its seven parameters, made by `entry_values`, begin with `$start`. The transaction of a read does not wait for
    the disk: a crash of the server may lose the entries of its last reads, never a memory. Nothing is entered
    unless the condition holds, and a read that is repeated after its reply was lost is entered once. `scope` and
    `memory_id` are what to enter where none is given.
    """
    numbers = [f"${start + offset}" for offset in range(7)]
    casts = ("text", "timestamptz", "text", "text", "text", "text", "text")
    id_, at, app, action, given_id, given, request_id = (
        f"{number}::{cast}" for number, cast in zip(numbers, casts, strict=True)
    )
    rest = f"{at}, {app}, {action}, coalesce({given_id}, {memory_id}), coalesce({given}, {scope}), {request_id}"
    return f"""
        entry as (
          insert into {db.audit}({_COLUMNS})
          select $1::smallint, {id_}, $2::text, {rest}
          from (select set_config('synchronous_commit', 'off', true)) as no_wait where {condition}
          on conflict (bucket, id) do nothing
        )
    """


def entry_first(db: Names, start: int, condition: str = "true") -> str:
    """Return that CTE as the first of a statement, `with` included; nothing where tables are spread over servers.

    There, a router sends on as it is what only reads, and cuts to pieces what writes in a CTE. So the entry is a
    statement of its own in the same transaction: `enter`.
    """
    return "" if db.distributed else f"with {read_entry(db, start, condition)}"


def entry_before(db: Names, start: int, condition: str = "true") -> str:
    """Return that CTE with a comma behind it, for a statement that has others; nothing where tables are spread."""
    return "" if db.distributed else f"{read_entry(db, start, condition)},"


def entry_given(db: Names, stamp: Stamp, action: Action, memory_id: str | None, scope: str | None) -> tuple[Any, ...]:
    """Return the parameters of that CTE, where there is one."""
    return () if db.distributed else entry_values(stamp, action, memory_id, scope)


def enter(
    db: Names, user_id: str, action: Action, memory_id: str | None, scope: str | None, stamp: Stamp
) -> Steps[None]:
    """Enter a read by a statement of its own where tables are spread over servers; elsewhere that was done."""
    if db.distributed:
        values = entry_values(stamp, action, memory_id, scope)
        yield Query(
            f"{_insert(db)} on conflict (bucket, id) do nothing",
            (routing_bucket(user_id), values[0], user_id, *values[1:], None),
        )


def entry_values(stamp: Stamp, action: Action, memory_id: str | None, scope: str | None) -> tuple[Any, ...]:
    """Return the parameters of `read_entry`."""
    return (stamp.entry_id, stamp.now, stamp.app, action, memory_id, scope, stamp.request_id)


def write(db: Names, user_id: str, action: Action, items: Sequence[Item], stamp: Stamp) -> Statement:
    """Return the statement that enters one verb for some (memory id, scope, app of the source)."""
    if db.distributed:
        return Many(_insert(db), [_values(user_id, action, n, item, stamp) for n, item in enumerate(items, 1)])
    ids, scopes, apps, versions = (list(column) for column in zip(*items, strict=True))
    return Query(
        f"""
        insert into {db.audit}({_COLUMNS}, version)
        select $1::smallint, $3::text || lpad(item.number::text, 6, '0'), $2::text, $4::timestamptz,
          coalesce($5::text, item.app), $6::text, item.memory_id, item.scope, $7::text, item.version
        from unnest($8::text[], $9::text[], $10::text[], $11::integer[])
          with ordinality as item(memory_id, scope, app, version, number)
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
            versions,
        ),
    )


def note(db: Names, user_id: str, action: Action, stamp: Stamp) -> Steps[None]:
    """Enter a read by itself, where it cannot be part of the statement that read."""
    if db.distributed:
        yield from enter(db, user_id, action, None, None, stamp)
        return
    yield Query(
        f"with {read_entry(db, 3)} select 1",
        (routing_bucket(user_id), user_id, *entry_values(stamp, action, None, None)),
    )


def entries(db: Names, query: AuditQuery) -> Steps[list[AuditEntry]]:
    """Read a user's audit log, newest first."""
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


def _insert(db: Names) -> str:
    return f"insert into {db.audit}({_COLUMNS}, version) values($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"


def write_of_users(db: Names, action: Action, items: Sequence[tuple[str, Item, Stamp]]) -> Many:
    """Return the statement that enters one verb for several users, one item each."""
    return Many(_insert(db), [_values(user_id, action, 1, item, stamp) for user_id, item, stamp in items])


def _values(user_id: str, action: Action, number: int, item: Item, stamp: Stamp) -> tuple[Any, ...]:
    memory_id, scope, app, version = item
    entry = (f"{stamp.entry_id}{number:06d}", user_id, stamp.now, stamp.app if stamp.app is not None else app)
    return (routing_bucket(user_id), *entry, action, memory_id, scope, stamp.request_id, version)
