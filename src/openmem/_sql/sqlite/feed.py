"""Steps that read the feed of changes of one user: the writes in the audit log, in the order in which they committed.

A cursor holds two numbers, both of which only grow:

1. `entry`: entries up to it were read. A user's entries are numbered under the lock of the writer, so that is the order
   of the commits, and none comes between later.
2. `rid`: rows of memories up to it hold no entry behind `entry`. So where the log stands in the rows (`audit`), a page
   does not begin at the first of them. It is never beyond what the index of words has seen (`Writer.indexed`), as a
   `rid` beyond that may be given twice. It is 0, which only makes a page slower, for who may see a part of the scopes.

Every page moves on over some entries at least, reads too, so that many of these do not make it slow for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.feed import ERASURE, ERASURE_OF_MOVED, FeedQuery, expired_cursor, foreign_cursor
from openmem._model.timestamps import time_of
from openmem._sql.sqlite.schema import LAST_ENTRY, USER_RANGE, first_rid
from openmem._sql.steps import Query, Row, Steps
from openmem.types import Change, ChangePage

LOOKED_AT: Final = 5_000
"""Entries that a page looks at."""

_KIND: Final = "changes"
_LOW: Final = 0xFFFFFFFF
_NOBODY: Final = (0, 0)
_STATE: Final = f"""
    select user_no, max(indexed, user_no << 32), coalesce((select max(rid) from memories where rid {USER_RANGE}),
      user_no << 32), {LAST_ENTRY}, expired
    from users where user_id = ?
"""
_BOUND: Final = "select entry from journal where entry > ? and entry <= ? order by entry limit 1 offset ?"
_KEPT: Final = f"""
    select entry, 0, at, app, action, memory_id, scope, version from journal
    where entry > ? and entry <= ? and action in ('add', 'update', 'delete')
      and (memory_id is not null or version <= {ERASURE})
    order by entry limit ?
"""
_IN_ROWS: Final = """
    select entry, rid, created_at, app, 'add', id, path, version
    from memories left join scopes on scopes.scope_no = memories.scope_no
    where rid > ? and rid <= ? and entry > ? and entry <= ? order by rid limit ?
"""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a user's entries, all of which are committed.

    Attributes:
        user_id: The user.
        entry: Entries up to it were read.
        rid: Rows up to it hold none behind that.
        last: The last entry of the part.
        last_rid: No row behind it holds an entry of the part.
        indexed: The last `rid` that is not given again.
    """

    user_id: str
    entry: int
    rid: int
    last: int
    last_rid: int
    indexed: int


class Found(NamedTuple):
    """A change, and the place behind it."""

    row: Row
    rid: int


class Stretch(NamedTuple):
    """Some changes of a span, the span that is left, and how many of the entries were looked at."""

    found: list[Found]
    rest: Span
    looked_at: int


def page(query: FeedQuery) -> Steps[ChangePage]:
    """Read the changes of one user behind a cursor."""
    user_id = query.user_id or ""
    given = None if query.cursor is None else decode_cursor(query.cursor, _KIND, (int, int), query.binding)
    if given is not None and not all(0 <= number <= _LOW for number in given):
        raise foreign_cursor()
    rows = yield Query(_STATE, (user_id,))
    if not rows:  # who is not known yet may be a moment later
        return _page(query, [], given or _NOBODY, has_more=False)
    user_no, indexed, last_rid, last, expired = rows[0]
    base = first_rid(user_no)
    entry, rid = (base + number for number in given) if given is not None else (max(expired, base), base)
    if entry < expired:
        raise expired_cursor()
    if entry > last:
        raise foreign_cursor()
    span, items, looked_at = Span(user_id, entry, rid, last, last_rid, indexed), list[Change](), 0
    shown = (entry - base, rid - base)
    while len(items) < query.limit and span.entry < span.last and looked_at < LOOKED_AT:
        found, span, some = yield from stretch(span, query.limit - len(items))
        looked_at += some
        for one in found:
            if shows(query, one):
                shown = (one.row[0] - base, _told(query, one.rid - base))
                items.append(change_of(query, user_id, one.row, shown))
    has_more = span.entry < span.last
    if query.visible is not None and not has_more:
        # What is hidden moves the cursor no more than it shows: who may see little learns nothing of the rest.
        return _page(query, items, shown, has_more=False)
    return _page(query, items, (span.entry - base, _told(query, span.rid - base)), has_more=has_more)


def stretch(span: Span, limit: int) -> Steps[Stretch]:
    """Read the first changes of a span."""
    bound = yield Query(_BOUND, (span.entry, span.last, LOOKED_AT))
    upto = bound[0][0] if bound else span.last
    kept = yield Query(_KEPT, (span.entry, upto, limit + 1))
    in_rows = yield Query(_IN_ROWS, (span.rid, span.last_rid, span.entry, upto, limit + 1))
    rows = sorted([*kept, *in_rows], key=_entry)
    chosen = rows[:limit]
    end = chosen[-1][0] if len(rows) > limit else upto
    found, rid = [], span.rid
    for row in chosen:
        rid = max(rid, min(row[1], span.indexed))
        found.append(Found(row, rid))
    ahead = [row[1] for row in in_rows if row[0] > end]
    if ahead:
        rid = max(rid, min(ahead[0] - 1, span.indexed))
    elif end == span.last:
        rid = max(rid, min(span.last_rid, span.indexed))
    return Stretch(found, replace(span, entry=end, rid=rid), LOOKED_AT if bound else len(rows) + 1)


def shows(query: FeedQuery, found: Found) -> bool:
    """Return whether the caller may see a change."""
    return query.visible is None or query.shows(*found.row[5:7])


def change_of(query: FeedQuery, user_id: str, row: Row, position: Sequence[int], kind: str = _KIND) -> Change:
    """Return the change that a row stands for, with the cursor of the place behind it."""
    _, _, at, app, action, memory_id, scope, version = row
    return Change.model_construct(
        action=action if memory_id is not None else "delete_all",
        user_id=user_id,
        memory_id=memory_id,
        scope=scope,
        version=version if memory_id is not None else None,
        moved=True if memory_id is None and version == ERASURE_OF_MOVED else None,
        timestamp=time_of(at),
        app=app,
        cursor=encode_cursor(kind, position, query.binding),
    )


def _page(query: FeedQuery, items: list[Change], position: Sequence[int], *, has_more: bool) -> ChangePage:
    cursor = encode_cursor(_KIND, position, query.binding)
    return ChangePage.model_construct(items=items, next_cursor=cursor, has_more=has_more)


def _told(query: FeedQuery, rid: int) -> int:
    """Return the `rid` of a cursor. It moves with the index, and so with what is hidden: then none is told."""
    return rid if query.visible is None else 0


def _entry(row: Row) -> Any:
    return row[0]
