"""Which memory supersedes which, on Postgres; see `openmem.sql.sqlite.links` for why it is kept by id."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from openmem.ids import routing_bucket
from openmem.sql.postgres.names import Names
from openmem.sql.postgres.rows import by_id
from openmem.sql.steps import Many, Query, Steps


def link(db: Names, user_id: str, links: Sequence[tuple[str, str, datetime]], fresh: Sequence[str]) -> Steps[None]:
    """Enter (older id, newer id, since), and work out anew what hides the older ones and the fresh ones."""
    bucket = routing_bucket(user_id)
    if links:
        yield Many(
            f"""
            insert into {db.supersessions}(bucket, user_id, old_id, new_id, since) values($1, $2, $3, $4, $5)
            on conflict (bucket, user_id, old_id, new_id) do update set since = excluded.since
            """,
            [(bucket, user_id, *item) for item in links],
        )
    yield from recompute(db, user_id, [item[0] for item in links] + list(fresh))


def unlink(db: Names, user_id: str, new_ids: Sequence[str]) -> Steps[None]:
    """Take out what some memories supersede."""
    rows = yield Query(
        f"""
        delete from {db.supersessions} where bucket = $1 and user_id = $2 and new_id = any($3::text[])
        returning old_id
        """,
        (routing_bucket(user_id), user_id, list(new_ids)),
    )
    yield from recompute(db, user_id, [row[0] for row in rows])


def recompute(db: Names, user_id: str, ids: Sequence[str]) -> Steps[None]:
    """Work out anew from when on some memories are hidden."""
    if ids:
        yield Query(
            f"""
            update {db.memories} m set superseded_at = (
              select min(s.since) from {db.supersessions} s
              where s.bucket = $1 and s.user_id = $2 and s.old_id = m.id and s.new_id <> m.id
            ) where m.bucket = $1 and {by_id("m.user_id")} and m.id = any($3::text[])
            """,
            (routing_bucket(user_id), user_id, list(dict.fromkeys(ids))),
        )
