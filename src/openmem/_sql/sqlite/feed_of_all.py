"""Steps that read the feed of changes of all users.

Entries are numbered user by user, so there is no order in which to read those of all users. It is made by who reads:
a span of each user's entries at a time goes into the table `feed`, in the order of its positions, and none is ever put
before another. The three states of a user (`users.fed`):

1. NULL: no span was made yet. Users get their numbers one after the other, so these are behind `feed_state.known`.
2. 1: all entries are in spans. Who writes for the user sets it to 0, in the transaction of the write.
3. 0: there are entries behind the last span. A write finds nothing to do, and the next reader makes a span.

So a feed that is not read costs nothing, and one that is read costs a write once between two readings.
"""

from __future__ import annotations

from typing import Final

from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.feed import FeedQuery, expired_cursor, foreign_cursor
from openmem._sql.sqlite.feed import Span, change_of, shows, stretch
from openmem._sql.sqlite.schema import LAST_ENTRY, USER_RANGE
from openmem._sql.steps import Many, Query, Row, Steps
from openmem.types import Change, ChangePage

USERS_AT_ONCE: Final = 1_000
SPANS_AT_ONCE: Final = 1_000

_KIND: Final = "changes_of_all"
_BEHIND: Final = f"""
    select user_no, coalesce(fed_entry, user_no << 32), coalesce(fed_rid, user_no << 32), {LAST_ENTRY},
      min(max(indexed, user_no << 32), coalesce((select max(rid) from memories where rid {USER_RANGE}), user_no << 32)),
      coalesce((select max(rid) from memories where rid {USER_RANGE}), user_no << 32)
    from users
"""
_CHANGED: Final = f"{_BEHIND} where fed = 0 order by user_no limit ?"
_NEW: Final = f"{_BEHIND} where user_no > (select known from feed_state) and fed is null order by user_no limit ?"
_WAITS: Final = """
    select exists(select 1 from users where fed = 0)
      or exists(select 1 from users where user_no > (select known from feed_state))
"""
_SPANS: Final = """
    select position, user_id, after_entry, after_rid, last_entry, last_rid, max(indexed, users.user_no << 32),
      expired, expired_in
    from feed join users using (user_no) where position >= ? order by position limit ?
"""
_STATE: Final = """
    select coalesce((select max(position) from feed), 0), dropped, dropped_in, removals,
      coalesce((select seq from sqlite_sequence where name = 'feed'), 0)
    from feed_state
"""


def waits() -> Steps[bool]:
    """Return whether there may be entries that are in no span yet."""
    rows = yield Query(_WAITS)
    return bool(rows[0][0])


def put_together() -> Steps[bool]:
    """Make spans of what is in none yet, of some users; return whether more may be left. For one that writes."""
    changed = yield Query(_CHANGED, (USERS_AT_ONCE,))
    new = yield Query(_NEW, (USERS_AT_ONCE,))
    rows = [*changed, *new]
    yield Many(
        "insert into feed(user_no, after_entry, after_rid, last_entry, last_rid) values(?, ?, ?, ?, ?)",
        [(no, entry, rid, last, last_rid) for no, entry, rid, last, _, last_rid in rows if last > entry],
    )
    yield Many(
        "update users set fed = 1, fed_entry = ?, fed_rid = ? where user_no = ?",
        [(last, safe_rid, no) for no, _, _, last, safe_rid, _ in rows],
    )
    if new:
        yield Query("update feed_state set known = ?", (new[-1][0],))
    return USERS_AT_ONCE in (len(changed), len(new))


def drop_spans() -> Steps[int]:
    """Remove spans whose entries are all gone, up to `SPANS_AT_ONCE` of them; return how many. For one that writes."""
    rows = yield Query(
        "select position from feed join users using (user_no) where last_entry <= expired order by position limit ?",
        (SPANS_AT_ONCE,),
    )
    if rows:
        yield Many("delete from feed where position = ?", rows)
        yield Query("update feed_state set dropped = max(dropped, ?), dropped_in = removals", (rows[-1][0],))
    return len(rows)


def page(query: FeedQuery) -> Steps[ChangePage]:
    """Read the changes that are in spans, behind a cursor.

    A cursor holds the number of a span that is not read to its end, up to which of its entries it is, and how many
    times something had been removed when this reader began: what was gone by then was not missed.
    """
    [(newest, dropped, dropped_in, removals, made)] = yield Query(_STATE)
    position, entry, began = 1, 0, removals
    if query.cursor is not None:
        position, entry, began = decode_cursor(query.cursor, _KIND, (int, int, int), query.binding)
        if position > made + 1 or began > removals:
            raise foreign_cursor()
        if position <= dropped and dropped_in > began:
            raise expired_cursor()
    spans = yield Query(_SPANS, (position, SPANS_AT_ONCE))
    items: list[Change] = []
    looked_at = 0
    for row in spans:
        span = _span(row, entry if row[0] == position else 0, began)
        position, entry = row[0], span.entry
        while span.entry < span.last:
            if len(items) >= query.limit or looked_at >= SPANS_AT_ONCE:
                return _page(query, items, (position, entry, began), has_more=True)
            found, span, _ = yield from stretch(span, query.limit - len(items))
            looked_at += 1
            entry = span.entry
            items += [
                change_of(query, span.user_id, one.row, [position, one.row[0], began], _KIND)
                for one in found
                if shows(query, one)
            ]
        position, entry = position + 1, 0
    return _page(query, items, (position, entry, began), has_more=position <= newest)


def _span(row: Row, entry: int, began: int) -> Span:
    """Return the part of a span that is left.

    Raises:
        InvalidRequestError: Some of it was removed since the reader began.
    """
    _, user_id, after, rid, last, last_rid, indexed, expired, expired_in = row
    after = max(after, entry)
    if after < min(expired, last) and expired_in > began:
        raise expired_cursor()
    return Span(user_id, min(max(after, expired), last), rid, last, last_rid, indexed)


def _page(query: FeedQuery, items: list[Change], position: tuple[int, int, int], *, has_more: bool) -> ChangePage:
    cursor = encode_cursor(_KIND, position, query.binding)
    return ChangePage.model_construct(items=items, next_cursor=cursor, has_more=has_more)
