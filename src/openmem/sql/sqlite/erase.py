"""Steps that erase all memories of a user, or of a part of the user's scopes, and look for leftovers."""

from __future__ import annotations

from typing import Final

from openmem.scopes import ScopePattern
from openmem.sql.sqlite import journal
from openmem.sql.sqlite.rows import Stamp, dumps, time_of
from openmem.sql.sqlite.schema import PAGE_SIZE, first_rid, last_rid
from openmem.sql.sqlite.write import erase_rows
from openmem.sql.sqlite.writer import Writer, close_user, model_numbers, open_user
from openmem.sql.steps import Query, Steps
from openmem.types import ErasureReceipt

_CHOSEN: Final = "in (select value from json_each(?))"


def erase(user_id: str, scope: ScopePattern | None, stamp: Stamp) -> Steps[ErasureReceipt]:
    """Erase memories, their vectors, index entries and earlier versions, and make the journal forget their names."""
    yield Query("pragma secure_delete=on")
    writer = yield from open_user(user_id, stamp, None)
    rids = yield from _chosen(writer.user_no, scope)
    ids = yield Query(f"select id from memories where rid {_CHOSEN}", (dumps(rids),))
    known = dumps([row[0] for row in ids])
    yield journal.keep(rids)
    erased = yield from _counts(writer, rids, known, scope)
    yield from erase_rows(writer, rids)
    yield Query(
        f"""
        update journal set memory_id = null, scope = null
        where entry between ? and ? and (memory_id {_CHOSEN} or ?)
        """,
        (first_rid(writer.user_no), last_rid(writer.user_no), known, scope is None),
    )
    if scope is None:
        yield Query("delete from scopes where user_no = ?", (writer.user_no,))
    remaining = yield from _counts(writer, rids, known, scope)
    yield journal.write(writer, "delete", [(None, None if scope is None else str(scope), None)])
    yield from close_user(writer)
    return ErasureReceipt(
        user_id=user_id,
        scope=None if scope is None else str(scope),
        erased_at=time_of(stamp.now),
        erased=erased,
        remaining=remaining,
        request_id=stamp.request_id,
    )


def merge_index(pages: int) -> Steps[bool]:
    """Merge some pages of the index, whose older parts still hold erased words; return whether more is left.

    A negative number begins a merge of everything, a positive one goes on with it (SQLite's documentation of FTS5,
    "The 'merge' Command": it is done once a step changes fewer than two rows).
    """
    before = yield Query("select total_changes()")
    yield Query("insert into word_index(word_index, rank) values('merge', ?)", (pages,))
    after = yield Query("select total_changes()")
    return bool(after[0][0] - before[0][0] >= 2)


def scrub() -> Steps[None]:
    """Write zeros over all pages that are free, which may still hold what was erased before."""
    free = yield Query("pragma freelist_count")
    yield Query("pragma secure_delete=on")
    if free[0][0]:
        # A few pages more than are free, so that none of them can be left out.
        yield Query("create table scrub(zeros blob)")
        yield Query("insert into scrub values(zeroblob(?))", ((free[0][0] + 8) * PAGE_SIZE,))
        yield Query("drop table scrub")
    yield Query("pragma secure_delete=fast")


def _chosen(user_no: int, scope: ScopePattern | None) -> Steps[list[int]]:
    rows = yield Query(
        """
        select m.rid, s.path from memories m left join scopes s on s.scope_no = m.scope_no
        where m.rid between ? and ?
        """,
        (first_rid(user_no), last_rid(user_no)),
    )
    return [rid for rid, path in rows if scope is None or scope.matches(path)]


def _counts(writer: Writer, rids: list[int], ids: str | None, scope: ScopePattern | None) -> Steps[dict[str, int]]:
    user_no, chosen = writer.user_no, dumps(rids)
    bounds = (first_rid(user_no), last_rid(user_no))
    queries = {
        "memories": Query(f"select count(*) from memories where rid {_CHOSEN}", (chosen,)),
        "index": Query(
            f"""
            select (select count(distinct doc) from word_postings where term >= ?1 and term < ?2 and doc
              {_CHOSEN.replace("?", "?3")}) + (select count(*) from memories where rid {_CHOSEN.replace("?", "?3")}
              and rid > ?4 and words <> '')
            """,  # those behind `indexed` wait for the index; ASCII "r" comes right after the "q" of the prefix
            (f"{user_no}q", f"{user_no}r", chosen, writer.indexed),
        ),
        "history": Query(f"select count(*) from versions where rid {_CHOSEN}", (chosen,)),
        "audit": Query(
            f"""
            select count(*) from journal
            where entry between ? and ? and (memory_id {_CHOSEN} or (? and scope is not null))
            """,
            (*bounds, ids, scope is None),
        ),
    }
    counts = {}
    for store, query in queries.items():
        rows = yield query
        counts[store] = int(rows[0][0])
    counts["vectors"] = 0
    for model_no in (yield from model_numbers()):
        rows = yield Query(f"select count(*) from vectors_{model_no} where rid {_CHOSEN}", (chosen,))
        counts["vectors"] += int(rows[0][0])
    return counts
