"""The links of a memory by name: its tags, and the memories that it supersedes.

A memory need not exist to be superseded: an import may bring the newer one first. So the link is kept by the id of
the older one, and the time from which it hides is worked out again whenever either side comes, changes or goes. Links
that close a circle are judged by `openmem._rules.supersession`; those that do not count stay, marked as void.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from openmem._model.requests import Draft
from openmem._model.timestamps import micros
from openmem._rules.supersession import Link, circle_of, circles, void_links
from openmem._sql.sqlite.rows import dumps
from openmem._sql.sqlite.writer import Blob, Writer
from openmem._sql.steps import Many, Query, Steps
from openmem._sql.writing import Incoming

_RECOMPUTE: Final = """
    update memories set superseded_at = (
      select min(since) from supersessions s
      where s.user_no = memories.user_no and s.old_id = memories.id and s.new_rid <> memories.rid and not s.void
    ) where user_no = ? and id in (select value from json_each(?))
"""
# Upwards, to what supersedes them: that is nothing for most, while a chain downwards may be as long as a life.
_ABOVE: Final = """
    with recursive above(id) as (
      select value from json_each(?)
      union
      select m.id from above
        join supersessions s on s.user_no = ? and s.old_id = above.id
        join memories m on m.rid = s.new_rid
    )
    select m.id, s.old_id from above
      join supersessions s on s.user_no = ? and s.old_id = above.id
      join memories m on m.rid = s.new_rid
"""


def has_links(draft: Draft) -> bool:
    """Return whether storing a draft may make a tag or a supersession."""
    return bool(draft.tags or draft.supersedes or draft.id is not None)


def link(writer: Writer, items: Sequence[tuple[int, Incoming[Blob]]]) -> Steps[None]:
    """Enter the tags and supersessions of new rows."""
    if not items:
        return
    older = yield from _enter(writer, items)
    given = [item.id for _, item in items if item.draft.id is not None]
    # Only a memory that others could name before it came can close a circle.
    linking = [item.id for _, item in items if item.draft.id is not None and item.draft.supersedes]
    if older or given:
        yield from _settle(writer, older + given, linking)


def relink(writer: Writer, rid: int, item: Incoming[Blob]) -> Steps[None]:
    """Enter the tags and supersessions of a changed row in place of those it had."""
    removed = yield from _take_out(writer, [rid])
    older = yield from _enter(writer, [(rid, item)])
    if older or removed:
        yield from _settle(writer, older + [gone.old for gone in removed], [item.id], removed, last_word=True)


def unlink(writer: Writer, rids: Sequence[int]) -> Steps[None]:
    """Take out the tags and supersessions of rows that go."""
    removed = yield from _take_out(writer, rids)
    yield from _settle(writer, [gone.old for gone in removed], {gone.new for gone in removed}, removed)


def _enter(writer: Writer, items: Sequence[tuple[int, Incoming[Blob]]]) -> Steps[list[str]]:
    tags = [(writer.user_no, tag, rid) for rid, item in items for tag in item.draft.tags or ()]
    if tags:
        yield Many("insert into tags(user_no, tag, rid) values(?, ?, ?)", tags)
    links = [
        (writer.user_no, old_id, rid, _begin(writer, item.draft))
        for rid, item in items
        for old_id in item.draft.supersedes or ()
    ]
    if links:
        yield Many("insert or ignore into supersessions(user_no, old_id, new_rid, since) values(?, ?, ?, ?)", links)
    return [link[1] for link in links]


def _begin(writer: Writer, draft: Draft) -> int:
    begin = micros(draft.valid_from or draft.created_at)
    return writer.now if begin is None else begin


def _take_out(writer: Writer, rids: Sequence[int]) -> Steps[list[Link]]:
    params = (dumps(list(rids)),)
    rows = yield Query(
        """
        select m.id, s.old_id from supersessions s join memories m on m.rid = s.new_rid
        where s.new_rid in (select value from json_each(?))
        """,
        params,
    )
    if rows:
        yield Query("delete from supersessions where new_rid in (select value from json_each(?))", params)
    yield Query("delete from tags where rid in (select value from json_each(?))", params)
    return [Link(*row) for row in rows]


def _settle(
    writer: Writer,
    touched: Sequence[str],
    changed: Collection[str],
    removed: Sequence[Link] = (),
    *,
    last_word: bool = False,
) -> Steps[None]:
    """Work out again what hides the touched ones, and the circles that the changed ones are or were on."""
    ring: set[str] = set()
    if changed:
        rows = yield Query(_ABOVE, (dumps(sorted(changed)), writer.user_no, writer.user_no))
        links = [Link(*row) for row in rows]
        ring = {id_ for group in circles({*links, *removed}) for id_ in group}
        if ring:
            yield from _judge(writer, links, ring, changed if last_word else ())
    yield from _recompute(writer, [*touched, *ring])


def _judge(writer: Writer, links: Sequence[Link], ring: set[str], last: Collection[str]) -> Steps[None]:
    rows = yield Query(
        """
        select id, rid, coalesce(updated_at, created_at) from memories
        where user_no = ? and id in (select value from json_each(?))
        """,
        (writer.user_no, dumps(sorted(ring))),
    )
    rids = {row[0]: row[1] for row in rows}
    written = {row[0]: row[2] for row in rows}
    for id_ in last:
        yield from _have_last_word(writer, id_, links, written, rids)
    inner = {link for link in links if link.new in rids and link.old in rids}
    void = void_links(inner, written)
    yield Many(
        "update supersessions set void = ? where user_no = ? and old_id = ? and new_rid = ?",
        [(link in void, writer.user_no, link.old, rids[link.new]) for link in inner],
    )


def _have_last_word(
    writer: Writer, id_: str, links: Sequence[Link], written: dict[str, int], rids: dict[str, int]
) -> Steps[None]:
    """Have the memory that closes a circle be written last of it, whatever the clocks of others said."""
    newest = max((written[other] for other in circle_of(id_, links) if other != id_ and other in written), default=None)
    if newest is not None and id_ in rids and written[id_] <= newest:
        written[id_] = newest + 1
        yield Query("update memories set updated_at = ? where rid = ?", (newest + 1, rids[id_]))


def _recompute(writer: Writer, ids: Sequence[str]) -> Steps[None]:
    if ids:
        yield Query(_RECOMPUTE, (writer.user_no, dumps(list(dict.fromkeys(ids)))))
        writer.rows_changed = True
