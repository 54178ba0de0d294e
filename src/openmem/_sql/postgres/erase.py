"""Steps that erase all memories of a user, or of a part of the user's scopes, on Postgres, and look for leftovers."""

from __future__ import annotations

from openmem._model.feed import ERASURE, ERASURE_OF_MOVED
from openmem._model.ids import routing_bucket
from openmem._model.scopes import ScopePattern
from openmem._model.where import Where
from openmem._sql.postgres import audit
from openmem._sql.postgres.feed import after_older_writes
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.rows import by_id
from openmem._sql.postgres.view import Parameters
from openmem._sql.postgres.where import condition
from openmem._sql.postgres.write import erase_rows
from openmem._sql.steps import Query, Steps
from openmem._sql.writing import Stamp
from openmem.types import ErasureReceipt


def erase(db: Names, user_id: str, scope: ScopePattern | None, stamp: Stamp) -> Steps[ErasureReceipt]:
    """Erase memories, their vectors and earlier versions, and make the audit log forget their names."""
    bucket = routing_bucket(user_id)
    if not db.distributed:
        yield from after_older_writes(db)
    rows = yield Query(
        f"select id, scope from {db.memories} where bucket = $1 and user_id = $2 for update", (bucket, user_id)
    )
    ids = [row[0] for row in rows if scope is None or scope.matches(row[1])]
    moved = yield from _were_elsewhere(db, user_id, ids, scope)
    erased = yield from _counts(db, user_id, ids, scope)
    yield from erase_rows(db, user_id, ids)
    yield Query(
        f"""
        update {db.audit} set memory_id = null, scope = null, version = null
        where bucket = $1 and user_id = $2 and (memory_id = any($3::text[]) or ($4 and not {_survives(db)}))
        """,
        (bucket, user_id, ids, scope is None),
    )
    remaining = yield from _counts(db, user_id, ids, scope)
    text = None if scope is None else str(scope)
    yield audit.write(db, user_id, "delete", [(None, text, None, moved)], stamp)
    return ErasureReceipt(
        user_id=user_id,
        scope=text,
        erased_at=stamp.now,
        erased=erased,
        remaining=remaining,
        request_id=stamp.request_id,
    )


def erase_matching(
    db: Names, user_id: str, scope: ScopePattern | None, where: Where, stamp: Stamp
) -> Steps[ErasureReceipt]:
    """Erase the memories that a filter is true of, with all that belongs to them, and enter each deletion.

    It cannot be said of such an erasure, as of one of a scope, what it concerned: so the audit log keeps the names, as
    it does for a deletion, and who follows the feed of changes learns of each.
    """
    if not db.distributed:
        yield from after_older_writes(db)
    given = Parameters(routing_bucket(user_id), user_id)
    allowed = condition(where, given)
    rows = yield Query(
        f"""
        select m.id, m.scope, m.version from {db.memories} m
        where m.bucket = $1 and m.user_id = $2 and {allowed} for update
        """,
        given.values,
    )
    gone = [row for row in rows if scope is None or scope.matches(row[1])]
    ids = [row[0] for row in gone]
    erased = yield from _counts(db, user_id, ids, scope)
    yield from erase_rows(db, user_id, ids)
    remaining = yield from _counts(db, user_id, ids, scope)
    text = None if scope is None else str(scope)
    deleted = [(id_, path, None, version) for id_, path, version in gone]
    yield audit.write(db, user_id, "delete", [(None, text, None, None), *deleted], stamp)
    return ErasureReceipt(
        user_id=user_id,
        scope=text,
        erased_at=stamp.now,
        erased={store: count for store, count in erased.items() if store != "audit"},
        remaining={store: count for store, count in remaining.items() if store != "audit"},
        request_id=stamp.request_id,
        where=where.json,
    )


def _survives(db: Names) -> str:
    """Return whether an entry names a memory that was added after the erasure had looked, and so is not erased."""
    return f"""exists(
          select 1 from {db.memories} m
          where m.bucket = $1 and m.id = {db.audit}.memory_id and m.id <> all($3::text[])
        )"""


def _were_elsewhere(db: Names, user_id: str, ids: list[str], scope: ScopePattern | None) -> Steps[int]:
    """Return the version under which the erasure is entered: whether some of the memories came from other scopes."""
    if scope is None:
        return ERASURE
    rows = yield Query(
        f"select distinct scope from {db.audit} where bucket = $1 and user_id = $2 and memory_id = any($3::text[])",
        (routing_bucket(user_id), user_id, ids),
    )
    return ERASURE if all(scope.matches(row[0]) for row in rows) else ERASURE_OF_MOVED


def _counts(db: Names, user_id: str, ids: list[str], scope: ScopePattern | None) -> Steps[dict[str, int]]:
    where = f"bucket = $1 and {by_id()} and id = any($3::text[])"
    rows = yield Query(
        f"""
        select
          (select count(*) from {db.memories} where {where}),
          (select count(*) from {db.memories} where {where} and model is not null)
            + (select count(*) from {db.vectors} where {where}),
          (select count(*) from {db.versions} where {where}),
          (select count(*) from {db.audit} where bucket = $1 and user_id = $2
             and (memory_id = any($3::text[]) or ($4 and scope is not null and not {_survives(db)})))
        """,
        (routing_bucket(user_id), user_id, ids, scope is None),
    )
    return dict(zip(("memories", "vectors", "history", "audit"), map(int, rows[0]), strict=True))
