"""Steps that count what there is: the memories of scopes, of tags and of users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from openmem._model.access import matches_any
from openmem._model.checks import MAX_NAME
from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.requests import ScopesQuery, TagsQuery, UsersQuery, View
from openmem._model.timestamps import time_of
from openmem._rules.overview import Counts, scopes_of, tags_of, user_info
from openmem._sql.sqlite.read import conditions_of
from openmem._sql.sqlite.rows import dumps
from openmem._sql.sqlite.schema import first_rid, last_rid
from openmem._sql.steps import Query, Steps
from openmem.types import Overview, ScopeInfo, TagInfo, UserPage

_LAST_TEXT: Final = "\U0010ffff" * MAX_NAME
"""Behind a prefix, this is not less than any user id that begins with it."""


def _counted(at: str) -> str:
    """Return how many memories there are, how many of them are hidden for which reason, and when one changed last.

    `at` is the time at which to judge, as SQL; `_times` are its parameters.
    """
    superseded = f"coalesce(m.superseded_at <= {at}, 0)"
    expired = f"not {superseded} and (coalesce(m.valid_from > {at}, 0) or coalesce(m.valid_to <= {at}, 0))"
    return f"count(*), sum({superseded}), sum({expired}), max(coalesce(m.updated_at, m.created_at))"


def scopes(query: ScopesQuery, now: int) -> Steps[Overview[ScopeInfo]]:
    """Count the memories of each scope that the view allows, by how they stand now."""
    view = query.view
    users = yield Query("select user_no, clock from users where user_id = ?", (view.user_id,))
    if not users:
        return Overview()
    user_no, clock = users[0]
    rows = yield Query("select scope_no, path from scopes where user_no = ?", (user_no,))
    paths: dict[int, str | None] = {0: None, **dict(rows)}
    shown = [number for number, path in paths.items() if _is_seen(view, path)]
    given: list[Any] = [*_times(max(now, clock)), first_rid(user_no), last_rid(user_no)]
    condition = ""
    if len(shown) < len(paths):
        condition = " and coalesce(m.scope_no, 0) in (select value from json_each(?))"
        given.append(dumps(shown))
    found = yield Query(
        f"""
        select coalesce(m.scope_no, 0), {_counted("?")} from memories m
        where m.rid between ? and ?{condition} group by 1
        """,
        given,
    )
    return scopes_of(((paths[row[0]], _counts(*row[1:])) for row in found), query.depth)


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
