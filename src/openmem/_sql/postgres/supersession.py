"""Links between memories that supersede one another, on Postgres; `openmem._sql.sqlite.supersession` says why by id.

A memory is hidden from the time on that its replacement names, or at once where that names none: then no clock is
asked, so one that is wrong where the replacement was written shows neither both nor nothing.

What hides a memory is worked out from links that a transaction reads. Of two at once, each would miss what the other
has not committed, whether they share a row or none. So a transaction that changes the links of a user, or brings a
memory that others may have named before it came, holds the lock of that user, before any row of theirs:

1. Most transactions know it beforehand, and take the lock at their beginning (`lock_of`).
2. A change or an erasure that names no links takes it only if the memory has some (`locking`).
3. If the memory got its first links between the two, that was seen under the lock of its row, and the lock is taken
   then: late, so that the server may have to end one of two that wait for each other. Nothing is worked out without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from openmem._model.ids import routing_bucket
from openmem._model.timestamps import MICROSECOND
from openmem._rules.supersession import Link, circle_of, circles, void_links
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.rows import by_id
from openmem._sql.steps import Many, Query, Steps


class Supersession(NamedTuple):
    """A memory replaces an older one, from some time on."""

    old: str
    new: str
    since: datetime
    at_once: bool


def lock_of(db: Names, user_id: str) -> int:
    """Return the number of the advisory lock for the links of a user; that two users share one is harmless."""
    return _lock_of(db.schema, user_id)


@lru_cache(maxsize=1024)
def _lock_of(schema: str, user_id: str) -> int:
    text = f"links {schema} {user_id}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


def locking(db: Names, user_id: str, first: int) -> tuple[str, list[int]]:
    """Return a condition on `m`, always true, by which a transaction takes the lock if the memory has links.

    It comes last in a statement that finds few memories by index. Nothing where tables are spread over servers: there
    a lock is taken on the server that the client speaks to, and so from the beginning.

    Args:
        db: The names.
        user_id: Whose memories they are.
        first: The number of its parameter.

    Returns:
        The condition, with ` and ` before it, and its parameters.
    """
    if db.distributed:
        return "", []
    had = f"pg_advisory_xact_lock(${first}::bigint) is not null"
    return f" and case when m.supersedes is null then true else {had} end", [lock_of(db, user_id)]


def link(db: Names, user_id: str, links: Sequence[Supersession], given: Sequence[str]) -> Steps[None]:
    """Enter what new memories supersede.

    Args:
        db: The names.
        user_id: Whose they are.
        links: What they supersede.
        given: Those of them whose ids were not made just now: others may have named them before they came.
    """
    yield from _enter(db, user_id, links)
    known = frozenset(given)
    linking = {one.new for one in links if one.new in known}
    yield from _settle(db, user_id, [one.old for one in links] + [*given], linking)


def relink(db: Names, user_id: str, id_: str, links: Sequence[Supersession]) -> Steps[datetime | None]:
    """Enter what a changed memory supersedes, in place of what it did.

    Returns:
        The time at which the memory was changed, where that had to be corrected: it closes a circle, in which it has
        the last word, and another clock had been ahead.
    """
    removed = yield from _take_out(db, user_id, [id_])
    yield from _enter(db, user_id, links)
    touched = [one.old for one in links] + [gone.old for gone in removed]
    return (yield from _settle(db, user_id, touched, [id_], removed, last=id_))


def unlink(db: Names, user_id: str, new_ids: Sequence[str]) -> Steps[None]:
    """Take out what some memories supersede that are about to go."""
    removed = yield from _take_out(db, user_id, new_ids)
    yield from _settle(db, user_id, [gone.old for gone in removed], {gone.new for gone in removed}, removed)


def _enter(db: Names, user_id: str, links: Sequence[Supersession]) -> Steps[None]:
    bucket = routing_bucket(user_id)
    if links:
        yield Many(
            f"""
            insert into {db.supersessions}(bucket, user_id, old_id, new_id, since, at_once)
            values($1, $2, $3, $4, $5, $6)
            on conflict (bucket, user_id, old_id, new_id) do update
              set since = excluded.since, at_once = excluded.at_once
            """,
            [(bucket, user_id, *item) for item in links],
        )


def _take_out(db: Names, user_id: str, new_ids: Sequence[str]) -> Steps[list[Link]]:
    rows = yield Query(
        f"""
        delete from {db.supersessions} where bucket = $1 and user_id = $2 and new_id = any($3::text[])
        returning new_id, old_id
        """,
        (routing_bucket(user_id), user_id, list(new_ids)),
    )
    return [Link(*row) for row in rows]


def _settle(
    db: Names,
    user_id: str,
    touched: Sequence[str],
    changed: Collection[str],
    removed: Sequence[Link] = (),
    last: str | None = None,
) -> Steps[datetime | None]:
    """Work out again what hides the touched ones, and the circles that the changed ones are or were on."""
    ring: set[str] = set()
    corrected = None
    if changed and touched:
        links = yield from _above(db, user_id, changed)
        ring = {id_ for group in circles({*links, *removed}) for id_ in group}
        if ring:
            corrected = yield from _judge(db, user_id, links, ring, last)
    yield from _recompute(db, user_id, [*touched, *sorted(ring)])
    return corrected


def _above(db: Names, user_id: str, ids: Collection[str]) -> Steps[list[Link]]:
    # Upwards, to what supersedes them: that is nothing for most, while a chain downwards may be as long as a life.
    rows = yield Query(
        f"""
        with recursive above as (
          select s.new_id, s.old_id from {db.supersessions} s
          where s.bucket = $1 and s.user_id = $2 and s.old_id = any($3::text[])
          union
          select s.new_id, s.old_id from above join {db.supersessions} s
            on s.bucket = $1 and s.user_id = $2 and s.old_id = above.new_id
        )
        select new_id, old_id from above
        """,
        (routing_bucket(user_id), user_id, sorted(ids)),
    )
    return [Link(*row) for row in rows]


def _judge(db: Names, user_id: str, links: Sequence[Link], ring: set[str], last: str | None) -> Steps[datetime | None]:
    """Mark the links of circles that do not count, and unmark the others."""
    bucket = routing_bucket(user_id)
    rows = yield Query(
        f"""
        select id, coalesce(updated_at, created_at) from {db.memories}
        where bucket = $1 and {by_id()} and id = any($3::text[])
        """,
        (bucket, user_id, sorted(ring)),
    )
    written: dict[str, datetime] = dict(rows)
    corrected = None
    if last in written:
        newest = max((written[id_] for id_ in circle_of(last, links) & written.keys() - {last}), default=None)
        if newest is not None and written[last] <= newest:
            written[last] = corrected = newest + MICROSECOND
            yield Query(
                f"update {db.memories} set updated_at = $4 where bucket = $1 and {by_id()} and id = $3",
                (bucket, user_id, last, corrected),
            )
    inner = sorted({one for one in links if one.new in written and one.old in written})
    void = void_links(inner, written)
    yield Many(
        f"""
        update {db.supersessions} set void = $5
        where bucket = $1 and user_id = $2 and new_id = $3 and old_id = $4
        """,
        [(bucket, user_id, *one, one in void) for one in inner],
    )
    return corrected


def _recompute(db: Names, user_id: str, ids: Sequence[str]) -> Steps[None]:
    if ids:
        hiding = f"""
              from {db.supersessions} s where s.bucket = $1 and s.user_id = $2 and s.old_id = m.id
                and s.new_id <> m.id and s.void is not true
        """.strip()
        yield Query(
            f"""
            update {db.memories} m set
              superseded_at = (select min(s.since) {hiding}),
              superseded_now = (select bool_or(s.at_once) {hiding})
            where m.bucket = $1 and {by_id("m.user_id")} and m.id = any($3::text[])
            """,
            (routing_bucket(user_id), user_id, list(dict.fromkeys(ids))),
        )
