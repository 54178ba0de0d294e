"""Steps that erase all memories of a user, or of a part of the user's scopes, and look for leftovers.

The order matters, since each step needs what a later one takes away:

1. `audit.keep`: entries of the audit log that stand in the rows of memories get rows of their own.
2. The memories are counted, by store, while their rows say where to look.
3. `erase_rows`: links, vectors, words in the index (which it can only forget while the rows hold them), earlier
   versions, and the rows themselves.
4. The names go out of the audit log: of a whole user, all of them; of a scope, those of the erased ids.
5. The same stores are counted again. What the receipt calls `remaining` was looked for, not assumed to be nothing.
6. `unnamed` notes up to which entry a whole user has no names, so that the next erasure looks only behind it.
7. The erasure itself is entered, without a name.

An erasure by a filter on metadata takes the steps 1 to 3 and 5, and is entered as a deletion of each memory: it cannot
be said of it, as of a scope, what it concerned, and who follows the feed of changes must know.

Bytes that are left in free pages and in older parts of the index go later, outside the transaction:
`openmem._sql.sqlite.purge`.
"""

from __future__ import annotations

from typing import Final

from openmem._model.feed import ERASURE, ERASURE_OF_MOVED
from openmem._model.scopes import ScopePattern
from openmem._model.where import Where
from openmem._sql.sqlite import audit
from openmem._sql.sqlite.rows import dumps
from openmem._sql.sqlite.schema import first_rid, last_rid
from openmem._sql.sqlite.where import condition
from openmem._sql.sqlite.write import erase_rows
from openmem._sql.sqlite.writer import Writer, close_user, model_numbers, open_user
from openmem._sql.steps import Query, Steps
from openmem._sql.writing import Stamp
from openmem.types import ErasureReceipt

_CHOSEN: Final = "in (select value from json_each(?))"
_NAMING: Final = f"+entry between ? and ? and memory_id {_CHOSEN}"  # by the index of names, not through all of a user's

_NAMELESS: Final = "memory_id = null, scope = null, version = null"  # the feed of changes leaves out such an entry

# Those up to `unnamed` lost their names before, and a user may have very many.
_RECENT: Final = "entry between max(1 + (select unnamed from users where user_no = ?), ?) and ?"


def erase(user_id: str, scope: ScopePattern | None, stamp: Stamp) -> Steps[ErasureReceipt]:
    """Erase memories, their vectors, index entries and earlier versions, and make the audit log forget their names."""
    writer = yield from open_user(user_id, stamp, None)
    rids = yield from _chosen(writer.user_no, scope)
    ids = yield Query(f"select id from memories where rid {_CHOSEN}", (dumps(rids),))
    known = dumps([row[0] for row in ids])
    yield audit.keep(rids)
    moved = yield from _were_elsewhere(writer.user_no, known, scope)
    erased = yield from _counts(writer, rids, known, scope)
    yield from erase_rows(writer, rids)
    yield from _forget_names(writer, known, scope)
    remaining = yield from _counts(writer, rids, known, scope)
    if scope is None:  # not before: the count looks at the entries behind it
        yield Query("update users set unnamed = ? where user_no = ?", (writer.next_entry - 1, writer.user_no))
    yield audit.write(writer, "delete", [(None, None if scope is None else str(scope), None, moved)])
    yield from close_user(writer)
    return ErasureReceipt(
        user_id=user_id,
        scope=None if scope is None else str(scope),
        erased_at=stamp.now,
        erased=erased,
        remaining=remaining,
        request_id=stamp.request_id,
    )


def erase_matching(user_id: str, scope: ScopePattern | None, where: Where, stamp: Stamp) -> Steps[ErasureReceipt]:
    """Erase the memories that a filter is true of, with all that belongs to them, and enter each deletion."""
    writer = yield from open_user(user_id, stamp, None)
    allowed, params = condition(where)
    rows = yield Query(
        f"""
        select m.rid, m.id, s.path, m.version from memories m left join scopes s on s.scope_no = m.scope_no
        where m.rid between ? and ? and {allowed}
        """,
        (*_bounds(writer.user_no), *params),
    )
    gone = [row for row in rows if scope is None or scope.matches(row[2])]
    rids = [row[0] for row in gone]
    yield audit.keep(rids)
    erased = yield from _counts_of_rows(writer, rids)
    yield from erase_rows(writer, rids)
    remaining = yield from _counts_of_rows(writer, rids)
    text = None if scope is None else str(scope)
    deleted = [(id_, path, None, version) for _, id_, path, version in gone]
    yield audit.write(writer, "delete", [(None, text, None, None), *deleted])
    yield from close_user(writer)
    return ErasureReceipt(
        user_id=user_id,
        scope=text,
        erased_at=stamp.now,
        erased=erased,
        remaining=remaining,
        request_id=stamp.request_id,
        where=where.json,
    )


def _were_elsewhere(user_no: int, ids: str | None, scope: ScopePattern | None) -> Steps[int]:
    """Return the version under which the erasure is entered: whether some of the memories came from other scopes."""
    if scope is None:
        return ERASURE
    rows = yield Query(f"select distinct scope from journal where {_NAMING}", (*_bounds(user_no), ids))
    return ERASURE if all(scope.matches(path) for (path,) in rows) else ERASURE_OF_MOVED


def _forget_names(writer: Writer, ids: str | None, scope: ScopePattern | None) -> Steps[None]:
    user_no = writer.user_no
    if scope is not None:
        yield Query(f"update journal set {_NAMELESS} where {_NAMING}", (*_bounds(user_no), ids))
        return
    yield Query(f"update journal set {_NAMELESS} where {_RECENT}", (user_no, *_bounds(user_no)))
    yield Query("delete from scopes where user_no = ?", (user_no,))


def _bounds(user_no: int) -> tuple[int, int]:
    return first_rid(user_no), last_rid(user_no)


def _chosen(user_no: int, scope: ScopePattern | None) -> Steps[list[int]]:
    rows = yield Query(
        """
        select m.rid, s.path from memories m left join scopes s on s.scope_no = m.scope_no
        where m.rid between ? and ?
        """,
        _bounds(user_no),
    )
    return [rid for rid, path in rows if scope is None or scope.matches(path)]


def _counts(writer: Writer, rids: list[int], ids: str | None, scope: ScopePattern | None) -> Steps[dict[str, int]]:
    counts = yield from _counts_of_rows(writer, rids)
    vectors = counts.pop("vectors")
    rows = yield _count_named(writer.user_no, ids, scope)
    return {**counts, "audit": int(rows[0][0]), "vectors": vectors}


def _counts_of_rows(writer: Writer, rids: list[int]) -> Steps[dict[str, int]]:
    user_no, chosen = writer.user_no, dumps(rids)
    queries = {
        "memories": Query(f"select count(*) from memories where rid {_CHOSEN}", (chosen,)),
        "index": Query(
            f"""
            select (select count(distinct doc) from word_postings where term >= ? and term < ? and doc {_CHOSEN})
              + (select count(*) from memories where rid {_CHOSEN} and rid > ? and words <> '')
            """,  # those behind `indexed` wait for the index; ASCII "r" comes right after the "q" of the prefix
            (f"{user_no}q", f"{user_no}r", chosen, chosen, writer.indexed),
        ),
        "history": Query(f"select count(*) from versions where rid {_CHOSEN}", (chosen,)),
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


def _count_named(user_no: int, ids: str | None, scope: ScopePattern | None) -> Query:
    if scope is not None:
        return Query(f"select count(*) from journal where {_NAMING}", (*_bounds(user_no), ids))
    return Query(
        f"""
        select count(*) from journal where {_RECENT} and (memory_id {_CHOSEN} or scope is not null)
        """,
        (user_no, *_bounds(user_no), ids),
    )
