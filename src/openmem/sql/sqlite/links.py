"""What hangs on a memory by name: its tags, and which memories it supersedes.

A memory need not exist to be superseded: an import may bring the newer one first. So the link is kept by the id of
the older one, and the time from which it hides is worked out anew whenever either side comes, changes or goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from openmem.requests import Draft
from openmem.sql.sqlite.rows import dumps, micros
from openmem.sql.sqlite.writer import Incoming, Writer
from openmem.sql.steps import Many, Query, Steps

_RECOMPUTE: Final = """
    update memories set superseded_at = (
      select min(since) from supersessions s
      where s.user_no = memories.user_no and s.old_id = memories.id and s.new_rid <> memories.rid
    ) where user_no = ? and id in (select value from json_each(?))
"""


def has_links(draft: Draft) -> bool:
    """Return whether storing a draft may make a tag or a supersession."""
    return bool(draft.tags or draft.supersedes or draft.id is not None)


def link(writer: Writer, items: Sequence[tuple[int, Incoming]]) -> Steps[None]:
    """Enter the tags and supersessions of new rows."""
    if not items:
        return
    tags = [(writer.user_no, tag, rid) for rid, item in items for tag in item.draft.tags or ()]
    if tags:
        yield Many("insert into tags(user_no, tag, rid) values(?, ?, ?)", tags)
    links = [
        (
            writer.user_no,
            old_id,
            rid,
            micros(item.draft.valid_from or item.draft.created_at) or writer.stamp.now,
        )
        for rid, item in items
        for old_id in item.draft.supersedes or ()
    ]
    if links:
        yield Many("insert or ignore into supersessions values(?, ?, ?, ?)", links)
    given = [item.id for _, item in items if item.draft.id is not None]
    yield from _recompute(writer, [link[1] for link in links] + given)


def unlink(writer: Writer, rids: Sequence[int]) -> Steps[None]:
    """Take out the tags and supersessions of rows."""
    params = (dumps(list(rids)),)
    old = yield Query("select old_id from supersessions where new_rid in (select value from json_each(?))", params)
    yield Query("delete from supersessions where new_rid in (select value from json_each(?))", params)
    yield Query("delete from tags where rid in (select value from json_each(?))", params)
    yield from _recompute(writer, [row[0] for row in old])


def _recompute(writer: Writer, ids: Sequence[str]) -> Steps[None]:
    if ids:
        yield Query(_RECOMPUTE, (writer.user_no, dumps(ids)))
        writer.rows_changed = True
