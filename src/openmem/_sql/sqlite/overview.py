"""Steps that count what there is: the memories of scopes, of tags and of users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from openmem._model.access import matches_any
from openmem._model.checks import MAX_NAME
from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.requests import ScopesQuery, TagsQuery, UsersQuery, View
from openmem._model.timestamps import time_of
from openmem._rules.overview import Counts, scopes_of, tags_of, user_info
from openmem._sql.sqlite.counts import CountsCache
from openmem._sql.sqlite.read import conditions_of
from openmem._sql.sqlite.schema import USER_RANGE, first_rid, last_rid
from openmem._sql.steps import Query, Steps
from openmem.types import Overview, ScopeInfo, TagInfo, UserPage

_LAST_TEXT: Final = "\U0010ffff" * MAX_NAME
"""Behind a prefix, this is not less than any user id that begins with it."""

_STATE: Final = f"""
    select user_no, clock, epoch, coalesce((select max(rid) from memories where rid {USER_RANGE}), 0)
    from users where user_id = ?
"""


def _counted(at: str) -> str:
    """Return how many memories there are, how many of them are hidden for which reason, and when one changed last.

    `at` is the time at which to judge, as SQL; `_times` are its parameters.
    """
    superseded = f"coalesce(m.superseded_at <= {at}, 0)"
    expired = f"not {superseded} and (coalesce(m.valid_from > {at}, 0) or coalesce(m.valid_to <= {at}, 0))"
    return f"count(*), sum({superseded}), sum({expired}), max(coalesce(m.updated_at, m.created_at))"


def scopes(query: ScopesQuery, now: int, cache: CountsCache | None = None) -> Steps[Overview[ScopeInfo]]:
    """Count the memories of each scope that the view allows, by how they stand now."""
    view = query.view
    users = yield Query(_STATE, (view.user_id,))
    if not users:
        return Overview()
    user_no, clock, epoch, newest = users[0]
    at, version = max(now, clock), (epoch, newest)
    counts = None if cache is None else cache.find(view.user_id, version, at)
    if counts is None:
        counts, lasts = yield from _scopes_of_user(user_no, at)
        if cache is not None and lasts:
            cache.keep(view.user_id, version, at, counts)
    if view.scope is None and view.visible is None:
        return scopes_of(counts.items(), query.depth)
    return scopes_of(((path, some) for path, some in counts.items() if _is_seen(view, path)), query.depth)


def _scopes_of_user(user_no: int, at: int) -> Steps[tuple[Mapping[str | None, Counts], bool]]:
    """Count the memories of all scopes, and say whether that lasts until a row changes: nothing begins or ends later.

    In two statements, as to group takes longer with every column that it carries, and few memories are hidden.
    """
    bounds = (first_rid(user_no), last_rid(user_no))
    paths: dict[int | None, str | None] = {None: None}
    paths.update((yield Query("select scope_no, path from scopes where user_no = ?", (user_no,))))
    totals = yield Query(
        """
        select m.scope_no, count(*), max(coalesce(m.updated_at, m.created_at)) from memories m
        where m.rid between ? and ? group by 1
        """,
        bounds,
    )
    hidden = yield Query(
        """
        select m.scope_no, coalesce(m.superseded_at <= ?, 0),
          coalesce(m.valid_from > ?, 0) or coalesce(m.valid_to <= ?, 0),
          max(m.superseded_at > ? or m.valid_from > ? or m.valid_to > ?), count(*)
        from memories m where m.rid between ? and ?
          and (m.superseded_at is not null or m.valid_from > ? or m.valid_to is not null) group by 1, 2, 3
        """,
        (*[at] * 6, *bounds, at),
    )
    superseded: dict[int | None, int] = {}
    expired: dict[int | None, int] = {}
    for number, replaced, ended, _, count in hidden:
        where = superseded if replaced else expired
        where[number] = where.get(number, 0) + (count if replaced or ended else 0)
    counts = {
        paths[number]: Counts(
            total - superseded.get(number, 0) - expired.get(number, 0),
            superseded.get(number, 0),
            expired.get(number, 0),
            time_of(changed),
        )
        for number, total, changed in totals
    }
    return counts, not any(row[3] for row in hidden)


def tags(query: TagsQuery, now: int) -> Steps[Overview[TagInfo]]:
    """Count the memories that have each tag, of those that the view shows."""
    view = query.view
    users = yield Query("select user_no, clock from users where user_id = ?", (view.user_id,))
    if not users:
        return Overview()
    user_no, clock = users[0]
    conditions, given = yield from conditions_of(view, user_no, max(now, clock))
    rows = yield Query(
        f"""
        select t.tag, count(*) from tags t cross join memories m on m.rid = t.rid
        where {" and ".join(["t.user_no = ?", *conditions])} group by t.tag
        """,
        (user_no, *given),
    )
    return tags_of((tag, count) for tag, count in rows)


def users(query: UsersQuery, now: int) -> Steps[UserPage]:
    """Count the memories of each user who has any, in the order of their ids."""
    conditions: list[str] = ["1"]
    given: list[Any] = [*_times(now)]
    if query.cursor is not None:
        conditions.append("u.user_id > ?")
        given += decode_cursor(query.cursor, "users", (str,), [query.prefix])
    if query.prefix is not None:
        conditions.append("u.user_id >= ? and u.user_id <= ?")
        given += [query.prefix, query.prefix + _LAST_TEXT]
    rows = yield Query(
        f"""
        select u.user_id, {_counted("max(?, u.clock)")} from users u
        cross join memories m on m.rid between u.user_no << 32 and (u.user_no << 32 | 4294967295)
        where {" and ".join(conditions)} group by u.user_id order by u.user_id limit ?
        """,
        (*given, query.limit + 1),
    )
    items = [user_info(row[0], _counts(*row[1:])) for row in rows[: query.limit]]
    cursor = encode_cursor("users", [items[-1].user_id], [query.prefix]) if len(rows) > len(items) else None
    return UserPage.model_construct(items=items, next_cursor=cursor)


def _times(now: int) -> Iterator[int]:
    return iter([now] * 4)


def _is_seen(view: View, path: str | None) -> bool:
    return (view.scope is None or view.scope.matches(path)) and matches_any(view.visible, path)


def _counts(total: int, superseded: int, expired: int, changed: int) -> Counts:
    return Counts(total - superseded - expired, superseded, expired, time_of(changed))
