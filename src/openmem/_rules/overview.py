"""Overviews of what there is: the requests for them, and counts put together to what they answer."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable
from datetime import datetime
from itertools import chain
from typing import Final, Literal, NamedTuple, TypeAlias

from openmem._model.checks import MAX_NAME, check_limit, check_text, check_user_id
from openmem._model.requests import ScopesQuery, TagsQuery, UsersQuery, View
from openmem._model.scopes import EVERYTHING, ScopePattern, parse_pattern
from openmem._model.unchecked import unchecked
from openmem._rules.validation import check_cursor
from openmem.errors import InvalidRequestError
from openmem.types import MemoryRecord, Overview, ScopeInfo, TagInfo, UserInfo, UserPage

MAX_OVERVIEW: Final = 10_000
"""Scopes or tags that an overview names at most."""
MAX_DEPTH: Final = 256
MAX_USERS: Final = 1_000

State: TypeAlias = Literal["current", "superseded", "expired"]
"""The state of a memory now. One that is superseded and out of date is superseded."""


class Counts(NamedTuple):
    """The memories of a scope, or of a user: how many there are of each state, and when the last one changed."""

    current: int
    superseded: int
    expired: int
    last_change: datetime | None

    def with_(self, other: Counts) -> Counts:
        """Return both together."""
        times = [time for time in (self.last_change, other.last_change) if time is not None]
        current, superseded = self.current + other.current, self.superseded + other.superseded
        return Counts(current, superseded, self.expired + other.expired, max(times, default=None))


NONE: Final = Counts(0, 0, 0, None)


def make_scopes_query(user_id: object, *, prefix: object = None, depth: object = None) -> ScopesQuery:
    """Return the request of `scopes`; `depth` is from 1 to 256, and not less than `prefix` has segments.

    Raises:
        InvalidRequestError: An argument breaks the contract; the message names it.
    """
    pattern = None if prefix is None else parse_pattern(prefix, "prefix")
    scope = None if pattern in (None, EVERYTHING) else ScopePattern(pattern.path, subtree=True)
    levels = None if depth is None else check_limit(depth, MAX_DEPTH, "depth")
    if scope is not None and levels is not None and levels <= scope.path.count("/"):
        segments = scope.path.count("/") + 1
        raise InvalidRequestError(f"depth counts from the root: prefix has {segments} segments, so give at least that")
    return ScopesQuery(View(check_user_id(user_id), scope), levels)


def make_tags_query(user_id: object, *, scope: object = None) -> TagsQuery:
    """Return the request of `tags`.

    Raises:
        InvalidRequestError: An argument breaks the contract; the message names it.
    """
    return TagsQuery(View(check_user_id(user_id), None if scope is None else parse_pattern(scope)))


def make_users_query(*, prefix: object = None, limit: object = 100, cursor: object = None) -> UsersQuery:
    """Return the request of `users`; `limit` is from 1 to 1,000.

    Raises:
        InvalidRequestError: An argument breaks the contract; the message names it.
    """
    begin = None if prefix is None else check_text(prefix, "prefix", MAX_NAME, control=False)
    return UsersQuery(begin, check_limit(limit, MAX_USERS), check_cursor(cursor))


def scopes_of(counts: Iterable[tuple[str | None, Counts]], depth: int | None) -> Overview[ScopeInfo]:
    """Return scopes in the order of their paths, memories without one first.

    Args:
        counts: The scopes; one may come several times, and its counts are then added up.
        depth: Segments after which a path is cut off, so that what is below counts as part of it; 0 makes one of all.
    """
    sums: dict[str | None, Counts] = {}
    if depth is None and isinstance(counts, ItemsView):
        sums.update(counts)  # each comes once
        counts = ()
    for path, some in counts:
        scope = path if depth is None or path is None else cut_off(path, depth)
        known = sums.get(scope)
        sums[scope] = some if known is None else known.with_(some)
    paths: list[str | None] = [None] if None in sums else []
    paths += sorted([path for path in sums if path is not None])
    shown = [_scope_info(path, sums[path]) for path in paths[:MAX_OVERVIEW]]
    return Overview(shown, truncated=len(paths) > MAX_OVERVIEW)


def _scope_info(scope: str | None, counts: Counts) -> ScopeInfo:
    current, superseded, expired, last_change = counts
    return unchecked(
        ScopeInfo,
        {
            "scope": scope,
            "current": current,
            "superseded": superseded,
            "expired": expired,
            "last_change": last_change,
        },
    )


def merged_scopes(lists: Iterable[Overview[ScopeInfo]], depth: int | None) -> Overview[ScopeInfo]:
    """Return the scopes of several lists as one, as `scopes_of` does."""
    given = [*lists]
    merged = scopes_of(((info.scope, counts_of(info)) for info in chain(*given)), depth)
    return Overview(merged, truncated=merged.truncated or any(some.truncated for some in given))


def counts_of(info: ScopeInfo) -> Counts:
    """Return the counts of a scope by themselves."""
    return Counts(info.current, info.superseded, info.expired, info.last_change)


def tags_of(counts: Iterable[tuple[str, int]]) -> Overview[TagInfo]:
    """Return tags, those of most memories first, and in the order of their names where that is equal.

    Args:
        counts: The tags; one may come several times, and its counts are then added up.
    """
    sums: dict[str, int] = {}
    for tag, count in counts:
        sums[tag] = sums.get(tag, 0) + count
    order = sorted(sums, key=lambda tag: (-sums[tag], tag))
    shown = [unchecked(TagInfo, {"tag": tag, "count": sums[tag]}) for tag in order[:MAX_OVERVIEW]]
    return Overview(shown, truncated=len(order) > MAX_OVERVIEW)


def merged_tags(lists: Iterable[Overview[TagInfo]]) -> Overview[TagInfo]:
    """Return the tags of several lists, which are of different memories, as one."""
    given = [*lists]
    merged = tags_of((info.tag, info.count) for info in chain(*given))
    return Overview(merged, truncated=merged.truncated or any(some.truncated for some in given))


def page_of_user(user_id: str, scopes: Overview[ScopeInfo], query: UsersQuery) -> UserPage:
    """Return the only page that a caller sees who is bound to one user.

    Args:
        user_id: The user.
        scopes: What it may read, as one scope, or nothing.
        query: The page that it asked for.

    Raises:
        InvalidRequestError: It asked for the page after one: there is none, and no cursor of it.
    """
    if query.cursor is not None:
        raise InvalidRequestError("malformed cursor")
    shown = user_id.startswith(query.prefix or "")
    items = [user_info(user_id, counts_of(one)) for one in scopes if shown]
    return UserPage.model_construct(items=items, next_cursor=None)


def user_info(user_id: str, counts: Counts) -> UserInfo:
    """Return what an overview says of a user."""
    current, superseded, expired, last_change = counts
    fields = {"user_id": user_id, "current": current, "superseded": superseded, "expired": expired}
    return unchecked(UserInfo, {**fields, "last_change": last_change})


def count_scopes(
    records: Iterable[MemoryRecord], state_of: Callable[[MemoryRecord], State]
) -> dict[str | None, Counts]:
    """Return the counts of each scope, from the memories themselves."""
    found: dict[str | None, Counts] = {}
    for record in records:
        state = state_of(record)
        current, superseded, expired = (int(state == kind) for kind in ("current", "superseded", "expired"))
        one = Counts(current, superseded, expired, changed_at(record))
        known = found.get(record.scope)
        found[record.scope] = one if known is None else known.with_(one)
    return found


def count_tags(records: Iterable[MemoryRecord]) -> Iterable[tuple[str, int]]:
    """Yield what `tags_of` takes, from the memories themselves."""
    for record in records:
        for tag in dict.fromkeys(record.tags or ()):
            yield tag, 1


def changed_at(record: MemoryRecord) -> datetime:
    """Return when a memory was stored or changed last."""
    return record.updated_at or record.created_at


def cut_off(path: str, depth: int) -> str | None:
    """Return the first segments of a path."""
    return "/".join(path.split("/", depth)[:depth]) or None
