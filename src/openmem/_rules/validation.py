"""Turns the arguments of the verbs into requests. Every rule of the protocol is checked here, or below.

The checks of single values are in `checks`, those of memories in `drafting`; both are offered here too, so
that a caller needs this module only.
"""

from __future__ import annotations

from typing import Final, cast

from openmem._model.checks import (
    MAX_CONTENT,
    MAX_NAME,
    MAX_TAG,
    check_app,
    check_choice,
    check_content,
    check_flag,
    check_id,
    check_ids,
    check_key,
    check_limit,
    check_owner,
    check_query,
    check_size,
    check_tags,
    check_text,
    check_time,
    check_timeout,
    check_token_budget,
    check_unit,
    check_user_id,
    check_version,
    check_window,
)
from openmem._model.cursors import MAX_CURSOR
from openmem._model.feed import FeedQuery
from openmem._model.ids import Key, Named
from openmem._model.requests import AuditQuery, Erasure, GivenVector, HistoryQuery, ListQuery, SearchQuery, View
from openmem._model.scopes import parse_pattern
from openmem._model.where import parse_where
from openmem._rules.drafting import check_extensions, make_change, make_draft, make_drafts
from openmem.errors import InvalidRequestError
from openmem.types import Action, ImportConflict, ListOrder, SearchMode

__all__ = [
    "MAX_AUDIT",
    "MAX_CONTENT",
    "MAX_HISTORY",
    "MAX_LIST",
    "MAX_SEARCH",
    "check_app",
    "check_choice",
    "check_conflict",
    "check_content",
    "check_cursor",
    "check_extensions",
    "check_flag",
    "check_id",
    "check_ids",
    "check_key",
    "check_key_owner",
    "check_limit",
    "check_named",
    "check_query",
    "check_text",
    "check_time",
    "check_timeout",
    "check_token_budget",
    "check_user_id",
    "check_version",
    "check_window",
    "make_audit_query",
    "make_change",
    "make_draft",
    "make_drafts",
    "make_erasure",
    "make_feed_query",
    "make_history_query",
    "make_list_query",
    "make_search_query",
    "make_view",
]

MAX_LIST: Final = 500
MAX_SEARCH: Final = 1000
MAX_OFFSET: Final = 10_000
MAX_AUDIT: Final = 1000
MAX_HISTORY: Final = 1000
MAX_CHANGES: Final = 1000

_ORDERS: Final = ("created", "updated", "valid_from")
_MODES: Final = ("hybrid", "vector", "keyword")
_PURPOSES: Final = ("search", "context")
_CONFLICTS: Final = ("skip", "overwrite", "duplicate")


def check_conflict(value: object) -> ImportConflict:
    """Return what an import does with a memory that is there already: skip, overwrite or duplicate."""
    return cast("ImportConflict", check_choice(value, _CONFLICTS, "conflict"))


def make_view(
    user_id: object,
    scope: object = None,
    tags: object = None,
    as_of: object = None,
    include_superseded: object = False,
    include_expired: object = False,
    where: object = None,
) -> View:
    """Return which memories a read may see.

    Args:
        user_id: Whose memories.
        scope: A scope, a scope followed by `/*`, or `*`; `None` for all.
        tags: Labels that a memory must have, all of them.
        as_of: The time at which to judge validity; `None` for now.
        include_superseded: Whether to show memories that another one replaces.
        include_expired: Whether to show memories outside their time of validity.
        where: A filter on the metadata, as `openmem._model.where` describes it.

    Raises:
        InvalidRequestError: One of them breaks the contract; the message names it.
    """
    return View(
        user_id=check_user_id(user_id),
        scope=None if scope is None else parse_pattern(scope),
        tags=check_tags(tags) or (),
        as_of=check_time(as_of, "as_of"),
        include_superseded=check_flag(include_superseded, "include_superseded"),
        include_expired=check_flag(include_expired, "include_expired"),
        where=parse_where(where),
    )


def make_list_query(
    user_id: object,
    *,
    scope: object = None,
    tag: object = None,
    since: object = None,
    until: object = None,
    limit: object = 50,
    cursor: object = None,
    as_of: object = None,
    include_superseded: object = False,
    include_expired: object = False,
    order: object = "created",
    descending: object = True,
    where: object = None,
) -> ListQuery:
    """Return the request of `list`; `limit` is from 1 to 500, `since` is included and `until` is not.

    Raises:
        InvalidRequestError: An argument breaks the contract; the message names it.
    """
    tags = None if tag is None else (check_text(tag, "tag", MAX_TAG),)
    return ListQuery(
        view=make_view(user_id, scope, tags, as_of, include_superseded, include_expired, where),
        since=check_time(since, "since"),
        until=check_time(until, "until"),
        limit=check_limit(limit, MAX_LIST),
        cursor=check_cursor(cursor),
        order=cast("ListOrder", check_choice(order, _ORDERS, "order")),
        descending=check_flag(descending, "descending"),
    )


def make_feed_query(user_id: object = None, *, cursor: object = None, limit: object = 100) -> FeedQuery:
    """Return the request of `changes`; `limit` is from 1 to 1,000.

    Raises:
        InvalidRequestError: An argument breaks the contract; the message names it.
    """
    return FeedQuery(user_id=check_owner(user_id), cursor=check_cursor(cursor), limit=check_limit(limit, MAX_CHANGES))


def make_history_query(
    id: object, user_id: object, *, limit: object = 100, cursor: object = None, key: object = None
) -> HistoryQuery:
    """Return the request of `history`; `limit` is from 1 to 1,000.

    Raises:
        InvalidRequestError: An argument breaks the contract; the message names it.
    """
    named = check_named(id, key)
    return HistoryQuery(
        id="" if isinstance(named, Key) else named,
        user_id=check_owner(user_id),
        limit=check_limit(limit, MAX_HISTORY),
        cursor=check_cursor(cursor),
        key=named.name if isinstance(named, Key) else None,
    )


def check_named(id: object, key: object) -> Named:
    """Return which memory is meant: exactly one of its id and its key says it.

    Raises:
        InvalidRequestError: Neither is given, or both are, or one is wrong.
    """
    if key is None:
        if id is None:
            raise InvalidRequestError("id is required, or key: which memory is meant")
        return check_id(id)
    if id is not None:
        raise InvalidRequestError("give id or key, not both: each says which memory is meant")
    return Key(check_size(check_text(key, "key", MAX_NAME), "key"))


def check_key_owner(user_id: str | None) -> str:
    """Return whose key is meant.

    Raises:
        InvalidRequestError: No user is named, and a key belongs to one.
    """
    if user_id is None:
        raise InvalidRequestError("user_id is required: a key names a memory of one user")
    return user_id


def make_search_query(
    query: object,
    user_id: object,
    *,
    scope: object = None,
    limit: object = 10,
    min_score: object = None,
    tags: object = None,
    mode: object = "hybrid",
    as_of: object = None,
    include_superseded: object = False,
    include_expired: object = False,
    explain: object = False,
    action: object = "search",
    where: object = None,
    offset: object = 0,
    embedding: object = None,
) -> SearchQuery:
    """Return the request of `search`; `limit` is from 1 to 1,000, `offset` from 0 to 10,000, `min_score` from 0 to 1.

    Raises:
        InvalidRequestError: An argument breaks the contract; the message names it.
    """
    return SearchQuery(
        text=check_query(query),
        view=make_view(user_id, scope, tags, as_of, include_superseded, include_expired, where),
        limit=check_limit(limit, MAX_SEARCH),
        min_score=check_unit(min_score, "min_score"),
        mode=cast("SearchMode", check_choice(mode, _MODES, "mode")),
        explain=check_flag(explain, "explain"),
        action=cast("Action", check_choice(action, _PURPOSES, "purpose")),
        offset=check_limit(offset, MAX_OFFSET, "offset", minimum=0),
        embedding=None if embedding is None else _query_vector(embedding, mode),
    )


def make_erasure(user_id: object, *, scope: object = None, where: object = None) -> Erasure:
    """Return the request of `delete_all`.

    Raises:
        InvalidRequestError: An argument breaks the contract; the message names it.
    """
    pattern = None if scope is None else parse_pattern(scope)
    return Erasure(check_user_id(user_id), pattern, parse_where(where))


def _query_vector(value: object, mode: object) -> GivenVector:
    from openmem._embedding.ready import check_embedding  # here: it is seldom needed

    if mode == "keyword":
        raise InvalidRequestError('embedding: mode="keyword" compares no vectors')
    return check_embedding(value)


def make_audit_query(user_id: object, *, app: object = None, since: object = None, limit: object = 100) -> AuditQuery:
    """Return the request of `audit`; `limit` is from 1 to 1,000.

    Raises:
        InvalidRequestError: An argument breaks the contract; the message names it.
    """
    return AuditQuery(
        user_id=check_user_id(user_id),
        app=check_app(app),
        since=check_time(since, "since"),
        limit=check_limit(limit, MAX_AUDIT),
    )


def check_cursor(cursor: object) -> str | None:
    """Return a cursor as far as it can be judged without its query, or `None`."""
    if cursor is not None and not (isinstance(cursor, str) and 0 < len(cursor) <= MAX_CURSOR):
        raise InvalidRequestError("malformed cursor")
    return cursor
