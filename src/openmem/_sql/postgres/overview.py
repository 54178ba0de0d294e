"""Steps that count what there is on Postgres: the memories of scopes, of tags and of users."""

from __future__ import annotations

from datetime import datetime

from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.ids import BUCKETS, routing_bucket
from openmem._model.requests import ScopesQuery, TagsQuery, UsersQuery, View
from openmem._rules.overview import Counts, scopes_of, tags_of, user_info
from openmem._sql.postgres import audit
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.rows import aware
from openmem._sql.postgres.view import Parameters, scope_conditions, visible
from openmem._sql.steps import Query, Steps
from openmem._sql.writing import Stamp
from openmem.errors import InvalidRequestError
from openmem.types import Overview, ScopeInfo, TagInfo, UserPage


def scopes(db: Names, query: ScopesQuery, stamp: Stamp) -> Steps[Overview[ScopeInfo]]:
    """Count the memories of each scope that the view allows, by how they stand now, and enter that."""
    view = query.view
    given, scope = _begun(db, view, stamp)
    counts = _counted(given.add(stamp.now))
    allowed = "".join(f" and {condition}" for condition in scope_conditions(view, given))
    rows = yield Query(
        f"""
        {audit.entry_first(db, 3)}
        select m.scope, {counts} from {db.memories} m where m.bucket = $1 and m.user_id = $2{allowed} group by m.scope
        """,
        given.values,
    )
    yield from audit.enter(db, view.user_id, "list", None, scope, stamp)
    return scopes_of({row[0]: _counts(*row[1:]) for row in rows}.items(), query.depth)


def tags(db: Names, query: TagsQuery, stamp: Stamp) -> Steps[Overview[TagInfo]]:
    """Count the memories that have each tag, of those that the view shows, and enter that."""
    view = query.view
    given, scope = _begun(db, view, stamp)
    conditions = " and ".join(visible(view, stamp.now, given))
    rows = yield Query(
        f"""
        {audit.entry_first(db, 3)}
        select tag, count(*) from {db.memories} m cross join lateral unnest(m.tags) as tag
        where m.bucket = $1 and m.user_id = $2 and {conditions} group by tag
        """,
        given.values,
    )
    yield from audit.enter(db, view.user_id, "list", None, scope, stamp)
    return tags_of((tag, int(count)) for tag, count in rows)


def users(db: Names, query: UsersQuery, now: datetime) -> Steps[UserPage]:
    """Count the memories of each user who has any, by bucket and id: so the index of users gives a page at a time."""
    given = Parameters()
    counts = _counted(given.add(now))
    conditions = ["true"]
    if query.cursor is not None:
        bucket, user_id = decode_cursor(query.cursor, "users", (int, str), [query.prefix])
        if not 0 <= bucket < BUCKETS:
            raise InvalidRequestError("malformed cursor")
        conditions.append(f"(m.bucket, m.user_id) > ({given.add(bucket)}::smallint, {given.add(user_id)}::text)")
    if query.prefix is not None:
        conditions.append(f"starts_with(m.user_id, {given.add(query.prefix)}::text)")
    rows = yield Query(
        f"""
        select m.bucket, m.user_id, {counts} from {db.memories} m where {" and ".join(conditions)}
        group by m.bucket, m.user_id order by m.bucket, m.user_id limit {given.add(query.limit + 1)}
        """,
        given.values,
    )
    shown = rows[: query.limit]
    cursor = None
    if len(rows) > len(shown):
        cursor = encode_cursor("users", [int(shown[-1][0]), shown[-1][1]], [query.prefix])
    items = [user_info(row[1], _counts(*row[2:])) for row in shown]
    return UserPage.model_construct(items=items, next_cursor=cursor)


def _begun(db: Names, view: View, stamp: Stamp) -> tuple[Parameters, str | None]:
    scope = None if view.scope is None else str(view.scope)
    values = audit.entry_given(db, stamp, "list", None, scope)
    return Parameters(routing_bucket(view.user_id), view.user_id, *values), scope


def _counted(at: str) -> str:
    """Return how many memories there are, how many of them are hidden for which reason, and when one changed last."""
    hidden = f"(m.superseded_at <= {at}::timestamptz or (m.superseded_at is not null and m.superseded_now is true))"
    valid = f"(m.valid_from is null or m.valid_from <= {at}) and (m.valid_to is null or m.valid_to > {at})"
    return f"""
        count(*), count(*) filter (where {hidden}), count(*) filter (where {hidden} is not true and not ({valid})),
        max(coalesce(m.updated_at, m.created_at))
    """


def _counts(total: int, superseded: int, expired: int, changed: datetime) -> Counts:
    return Counts(total - superseded - expired, superseded, expired, aware(changed))
