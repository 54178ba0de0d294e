"""Steps over the replies to requests that may be repeated. A row lives for a day at most."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from openmem._model.access import IdempotencySeed
from openmem._model.ids import is_made_from, origin_of
from openmem._model.keys import MAX_REPLY, Remembered, StoredReply
from openmem._model.timestamps import micros, time_of
from openmem._sql.server.dialect import Dialect
from openmem._sql.steps import Row, Steps
from openmem.errors import IdempotencyConflictError

LIFE: Final = timedelta(hours=24)
BATCH: Final = 500


def begin(
    db: Dialect, caller: str, idempotency_key: str, fingerprint: str, user_id: str | None, seed: IdempotencySeed
) -> Steps[Remembered]:
    """Remember a request under a seed, or return what is remembered of it.

    Raises:
        IdempotencyConflictError: The key was used for another request.
    """
    insert = db.query(
        f"""
        insert into {db.prefix}replies(caller, idempotency_key, fingerprint, user_id, at, entropy)
        values($1, $2, $3, $4, $5, $6)
        on conflict(caller, idempotency_key) do update set
          fingerprint = excluded.fingerprint, user_id = excluded.user_id, at = excluded.at,
          entropy = excluded.entropy, status = null, headers = null, body = null, ids = null, memory_ids = null
        where replies.at <= $7
        returning at, entropy
        """,
        caller,
        idempotency_key,
        fingerprint,
        user_id,
        micros(seed.at),
        str(seed.entropy),
        micros(seed.at - LIFE),
    )
    while True:
        rows = yield insert
        if rows:
            return Remembered(_seed(rows[0]), is_new=True)
        rows = yield db.query(
            f"""
            select at, entropy, fingerprint, status, headers, body from {db.prefix}replies
            where caller = $1 and idempotency_key = $2
            """,
            caller,
            idempotency_key,
        )
        if rows:  # else it was forgotten in between
            return _remembered(rows[0], fingerprint, seed)


def end(
    db: Dialect,
    caller: str,
    idempotency_key: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    memory_ids: Sequence[str],
) -> Steps[None]:
    """Store the reply, unless there is one or the request was forgotten; of several users or too large, only ids."""
    yield db.query(
        f"""
        update {db.prefix}replies set status = $3, headers = $4,
          body = case when user_id is not null then cast($5 as {db.blob}) end, memory_ids = $6
        where caller = $1 and idempotency_key = $2 and status is null
        """,
        caller,
        idempotency_key,
        status,
        json.dumps(dict(headers)),
        body if len(body) <= MAX_REPLY else None,
        json.dumps(list(memory_ids)),
    )


def release(db: Dialect, caller: str, idempotency_key: str, seed: IdempotencySeed) -> Steps[None]:
    """Forget a request that began under a seed, unless it is answered."""
    yield db.query(
        f"""
        delete from {db.prefix}replies
        where caller = $1 and idempotency_key = $2 and at = $3 and entropy = $4 and status is null
        """,
        caller,
        idempotency_key,
        micros(seed.at),
        str(seed.entropy),
    )


def holding(db: Dialect, user_id: str | None, memory_id: str) -> Steps[list[tuple[str, str, IdempotencySeed]]]:
    """Return caller, key and seed of the requests that stored a memory, those that are not answered yet too.

    Args:
        db: The dialect.
        user_id: Whose memory it is; without that, the requests of all users are looked through.
        memory_id: The memory.
    """
    of_user = "" if user_id is None else " and (user_id = $4 or user_id is null)"
    rows = yield db.query(
        f"""
        select caller, idempotency_key, at, entropy, case when memory_ids is null then body end, memory_ids is null
        from {db.prefix}replies
        where ({db.has_id} or memory_ids is null and (body is not null or at between $2 and $3)){of_user}
        """,
        memory_id,
        *_moment_of(memory_id),
        *(() if user_id is None else (user_id,)),
    )
    return [(row[0], row[1], _seed(row[2:])) for row in rows if not row[5] or _stored(row, memory_id)]


def _stored(row: Row, memory_id: str) -> bool:
    """Return whether a request stored a memory, where it was not written down what it stored.

    Its seed tells while it is not answered; the reply does where an earlier version wrote it, for a day.
    """
    if is_made_from(memory_id, int(row[3])):
        return True
    reply = {} if row[4] is None else json.loads(bytes(row[4]))
    return memory_id in [one.get("id") for one in (reply, *reply.get("items", ()))]


def erase(db: Dialect, caller: str, idempotency_key: str, seed: IdempotencySeed, status: int) -> Steps[None]:
    """Put a status without headers and body in the place of the reply to a request that began under a seed."""
    yield db.query(
        f"""
        update {db.prefix}replies set status = $5, headers = $6, body = null, ids = null, memory_ids = null
        where caller = $1 and idempotency_key = $2 and at = $3 and entropy = $4
        """,
        caller,
        idempotency_key,
        micros(seed.at),
        str(seed.entropy),
        status,
        "{}",
    )


def forget_some(db: Dialect, before: datetime) -> Steps[int]:
    """Forget some requests that began before a time; return how many, `BATCH` if there may be more."""
    rows = yield db.query(
        f"""
        delete from {db.prefix}replies where (caller, idempotency_key) in (
          select caller, idempotency_key from {db.prefix}replies where at < $1 order by at limit {BATCH}
        ) returning 1
        """,
        micros(before),
    )
    return len(rows)


def forget_user(db: Dialect, user_id: str) -> Steps[int]:
    """Forget the requests of a user, those that are not answered yet too; return how many."""
    rows = yield db.query(f"delete from {db.prefix}replies where user_id = $1 returning 1", user_id)
    return len(rows)


def _moment_of(memory_id: str) -> tuple[int, int]:
    """Return the microseconds between which the seed of a memory lies: those around its millisecond, or none."""
    origin = origin_of(memory_id)
    return (1, 0) if origin is None else ((origin[0] - 1) * 1000, (origin[0] + 2) * 1000)


def _seed(row: Row) -> IdempotencySeed:
    return IdempotencySeed(time_of(row[0]), int(row[1]))


def _remembered(row: Row, wanted: str, offered: IdempotencySeed) -> Remembered:
    _, _, fingerprint, status, headers, body = row
    if fingerprint != wanted:
        raise IdempotencyConflictError("the idempotency key was used for another request: give each its own")
    if status is None:
        # Its own seed: the row was made by this very call, whose first reply was lost.
        return Remembered(_seed(row), is_new=_seed(row).entropy == offered.entropy)
    return Remembered(_seed(row), StoredReply(status, json.loads(headers), None if body is None else bytes(body)))
