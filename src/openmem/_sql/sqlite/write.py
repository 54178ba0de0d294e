"""Steps that store, change and delete memories. Each runs inside one transaction, its audit entry included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

from openmem._model.access import Access, Patterns
from openmem._model.ids import Key, Named, ambiguous_id, may_be_of, unknown_id
from openmem._model.requests import Change, Draft
from openmem._model.timestamps import micros
from openmem._rules.writing import app_of, by_user, check_takes_over, split_by_key, updated
from openmem._sql.sqlite import audit, indexing, versions
from openmem._sql.sqlite.purge import OVERWRITE, OVERWRITE_CHEAPLY
from openmem._sql.sqlite.rows import Stored, dumps, select_where
from openmem._sql.sqlite.scope_filter import allowed
from openmem._sql.sqlite.supersession import has_links, link, relink, unlink
from openmem._sql.sqlite.writer import Blob, Writer, close_user, ensure_scopes, model_numbers, open_user
from openmem._sql.steps import Many, Query, Steps
from openmem._sql.writing import Incoming, Model, Stamp, check_supersedes, stored_before
from openmem.types import MemoryRecord

_COLUMNS: Final = (
    *("rid", "id", "user_no", "key", "content", "scope_no", "tags", "source", "confidence", "valid_from", "valid_to"),
    *("supersedes", "extensions", "metadata", "searchable", "model_no", "created_at", "updated_at", "version"),
    *("superseded_at", "terms", "words", "entry", "app", "request_id"),
)
_INSERT: Final = f"insert into memories({', '.join(_COLUMNS)}) values({','.join('?' * len(_COLUMNS))})"


def add(
    items: Sequence[Incoming[Blob]],
    model: Model | None,
    stamp: Stamp,
    access: Access | None = None,
    *,
    repeatable: bool = False,
) -> Steps[list[MemoryRecord]]:
    """Store drafts: all or none. A draft whose key the user has already updates that memory.

    With `repeatable`, the ids and the time come from a seed: what is stored already is returned as it is.
    """
    drafts = [item.draft for item in items]
    # 1. One memory without a key, as most are: nothing has to be told apart.
    if len(drafts) == 1 and not repeatable and drafts[0].key is None and not (access and drafts[0].supersedes):
        writer = yield from open_user(drafts[0].user_id, stamp, model, drafts[0].scope)
        made = yield from insert(writer, items, model)
        yield from close_user(writer)
        return made
    # 2. Any others, user by user.
    records: list[MemoryRecord | None] = [None] * len(items)
    for user_id, positions in by_user([draft.user_id for draft in drafts]).items():
        writer = yield from open_user(user_id, stamp, model, drafts[positions[0]].scope)
        if repeatable:
            done = yield from _stored_before(writer, items, positions, model, access)
            for position, record in done.items():
                records[position] = record
            positions = [position for position in positions if position not in done]
        if access is not None:
            named = [old_id for position in positions for old_id in drafts[position].supersedes or ()]
            yield from _check_supersedes(named, user_id, access)
        keys = [key for position in positions if (key := drafts[position].key) is not None]
        stored = (yield from _stored_keys(writer, keys)) if keys else ()
        fresh, known = split_by_key(drafts, positions, stored)
        made = yield from insert(writer, [items[i] for i in fresh], model)
        for position, record in zip(fresh, made, strict=True):
            records[position] = record
        for position in known:
            records[position] = yield from _put_by_key(writer, items[position], model, access)
        yield from close_user(writer)
    return [record for record in records if record is not None]


def update(
    named: Named,
    user_id: str | None,
    change: Change,
    blob: Blob | None,
    model: Model | None,
    stamp: Stamp,
    access: Access | None = None,
) -> Steps[MemoryRecord]:
    """Change a memory, keeping its earlier version."""
    stored = yield from find(named, user_id, access.patterns("read") if access else None)
    record = stored.record
    if access is not None:
        access.need("write", record.scope)
        yield from _check_supersedes(change.fields.get("supersedes") or (), record.user_id, access)
    draft = updated(record, change)
    writer = yield from open_user(record.user_id, stamp, model)
    if draft is not None:
        record = yield from put(writer, stored, Incoming(draft, record.id, blob), model)
    else:
        yield audit.write(writer, "update", [(record.id, record.scope, None, record.version)])
    yield from close_user(writer)
    return record


def delete(named: Named, user_id: str | None, stamp: Stamp, access: Access | None = None) -> Steps[str]:
    """Erase a memory, its earlier versions and its index entries, and return its id."""
    stored = yield from find(named, user_id, access.patterns("read", "delete") if access else None)
    id_ = stored.record.id
    if access is not None:
        access.need("delete", stored.record.scope)
    writer = yield from open_user(stored.record.user_id, stamp, None)
    yield audit.keep([stored.rid])
    yield from erase_rows(writer, [stored.rid])
    yield audit.write(writer, "delete", [(id_, stored.record.scope, None, stored.record.version)])
    yield from close_user(writer)
    return id_


def find(named: Named, user_id: str | None, seen: Patterns | None = None) -> Steps[Stored]:
    """Read one memory by its id, or by its key, for which the user must be named.

    Raises:
        NotFoundError: There is none, or it belongs to another user, or its scope is not among those `seen`.
        InvalidRequestError: No user was named and several have a memory of that id.
    """
    condition, params = allowed(seen)
    if isinstance(named, Key):
        found = yield from select_where(f"u.user_id = ? and m.key = ?{condition}", (user_id, named.name, *params))
    else:
        found = yield from select_where(
            f"m.id = ? and (? is null or u.user_id = ?){condition}", (named, user_id, user_id, *params)
        )
        if user_id is None:
            found = [stored for stored in found if may_be_of(named, stored.record.user_id)]
    if not found:
        raise unknown_id(named, "sqlite")
    if len(found) > 1:
        raise ambiguous_id()
    return found[0]


def insert(writer: Writer, items: Sequence[Incoming[Blob]], model: Model | None) -> Steps[list[MemoryRecord]]:
    """Store memories that are new to the user."""
    if not items:
        return []
    terms_of = _analysis().terms_of
    yield OVERWRITE_CHEAPLY
    yield from ensure_scopes(writer, {item.draft.scope for item in items})
    first = writer.next_rid
    writer.next_rid += len(items)
    rows, records, vectors, linked, imported = [], [], [], [], []
    for rid, item in enumerate(items, first):
        draft = item.draft
        terms = terms_of(draft.content, draft.tags or ()) if draft.searchable else ()
        rows.append((*_row(writer, rid, item, terms), *audit.own_entry(writer, draft)))
        records.append(item.record(model, writer.stamp.now))
        if item.vector is not None:
            vectors.append((rid, item.vector))
        if has_links(draft):
            linked.append((rid, item))
        if draft.created_at:
            imported.append((item.id, draft.scope, app_of(draft), draft.version))
    yield Many(_INSERT, rows)
    if indexing.is_behind(writer, max([len(item.draft.content) for item in items])):
        yield from indexing.catch_up(writer)
    if vectors and model is not None and writer.model_no is not None:
        yield _insert_vectors(writer.model_no, vectors)
    if linked:
        yield from link(writer, linked)
    if imported:
        yield audit.write(writer, "add", imported)
    return records


def put(
    writer: Writer, stored: Stored, item: Incoming[Blob], model: Model | None, action: Any = "update"
) -> Steps[MemoryRecord]:
    """Replace a memory's fields by a draft's; the earlier version goes to the history."""
    old, draft, rid = stored.record, item.draft, stored.rid
    if not draft.searchable:
        item = replace(item, vector=None)
    yield OVERWRITE
    yield audit.keep([rid])
    yield from ensure_scopes(writer, {draft.scope})
    terms = _analysis().terms_of(draft.content, draft.tags or ()) if draft.searchable else ()
    same_text = draft.content == old.content and (item.vector is None or model is None)
    same_text = same_text and draft.searchable == old.searchable
    if not same_text:
        yield from _replace_vector(writer, rid, item.vector)
    same_words = same_text and draft.tags == (tuple(old.tags) if old.tags is not None else None)
    if not same_words:
        yield from indexing.take_out(writer, [rid])
    behind = yield from versions.keep(stored, draft, writer.now)
    row = _row(writer, rid, item, terms)
    yield Query(
        """
        update memories set key = ?, content = ?, scope_no = ?, tags = ?, source = ?, confidence = ?,
          valid_from = ?, valid_to = ?, supersedes = ?, extensions = ?, metadata = ?, searchable = ?, updated_at = ?,
          version = version + 1, terms = ?, words = ?, entry = null, behind = ?,
          model_no = case when ? then model_no else ? end
        where rid = ?
        """,
        (*row[3:15], writer.now, *row[20:22], behind, same_text, row[15], rid),
    )
    if not same_words:
        yield indexing.enter_again(writer, rid)
        if indexing.is_behind(writer, len(draft.content)):
            yield from indexing.catch_up(writer)
    yield from relink(writer, rid, replace(item, id=old.id, draft=_at(draft, old)))
    yield audit.write(writer, action, [(old.id, draft.scope, None, old.version + 1)])
    writer.rows_changed = True
    again = yield from select_where("m.rid = ?", (rid,))
    return again[0].record


def erase_rows(writer: Writer, rids: Sequence[int]) -> Steps[None]:
    """Erase memories and everything that hangs on them. The audit log must have kept what their rows say."""
    params = (dumps(list(rids)),)
    where = "in (select value from json_each(?))"
    yield OVERWRITE
    yield from unlink(writer, rids)
    for model_no in (yield from model_numbers()):
        yield Query(f"delete from vectors_{model_no} where rid {where}", params)
    yield from indexing.take_out(writer, rids)
    yield Query(f"delete from versions where rid {where}", params)
    yield Query(f"delete from memories where rid {where}", params)
    writer.rows_changed = writer.vectors_changed = True


def _stored_before(
    writer: Writer,
    items: Sequence[Incoming[Blob]],
    positions: Sequence[int],
    model: Model | None,
    access: Access | None,
) -> Steps[dict[int, MemoryRecord]]:
    def by_ids(ids: Sequence[str]) -> Steps[list[MemoryRecord]]:
        condition = "m.user_no = ? and m.id in (select value from json_each(?))"
        found = yield from select_where(condition, (writer.user_no, dumps(ids)))
        return [stored.record for stored in found]

    def by_key(key: str) -> Steps[tuple[MemoryRecord, list[MemoryRecord]] | None]:
        found = yield from _holder(writer, key)
        return (found[0].record, (yield from versions.made_at(found[0], writer.now))) if found else None

    return stored_before(items, positions, model, writer.stamp.now, access, by_ids, by_key)


def _stored_keys(writer: Writer, keys: Sequence[str]) -> Steps[set[str]]:
    rows = yield Query(
        "select key from memories where user_no = ? and key in (select value from json_each(?))",
        (writer.user_no, dumps(keys)),
    )
    return {row[0] for row in rows}


def _holder(writer: Writer, key: str | None) -> Steps[list[Stored]]:
    return select_where("m.user_no = ? and m.key = ?", (writer.user_no, key))


def _put_by_key(
    writer: Writer, item: Incoming[Blob], model: Model | None, access: Access | None
) -> Steps[MemoryRecord]:
    [known] = yield from _holder(writer, item.draft.key)
    check_takes_over(known.record, item.draft, access)
    return (yield from put(writer, known, item, model, action="add"))


def _row(writer: Writer, rid: int, item: Incoming[Blob], terms: Sequence[str]) -> tuple[Any, ...]:
    draft = item.draft
    return (
        rid,
        item.id,
        writer.user_no,
        draft.key,
        draft.content,
        None if draft.scope is None else writer.scopes[draft.scope],
        # Without calls for what is missing, which is most of it.
        None if draft.tags is None else dumps(draft.tags),
        None if draft.source is None else dumps(draft.source),
        draft.confidence,
        None if draft.valid_from is None else micros(draft.valid_from),
        None if draft.valid_to is None else micros(draft.valid_to),
        None if draft.supersedes is None else dumps(draft.supersedes),
        dumps(draft.extensions) if draft.extensions else None,
        dumps(draft.metadata),
        draft.searchable,
        writer.model_no if item.vector is not None else None,
        writer.now if draft.created_at is None else micros(draft.created_at),
        None if draft.updated_at is None else micros(draft.updated_at),
        draft.version,
        None,
        len(terms),
        " ".join(terms),
    )


@cache
def _analysis() -> Any:
    from openmem._retrieval import analysis  # here: reading needs no words

    return analysis


def _at(draft: Draft, old: MemoryRecord) -> Draft:
    return replace(draft, created_at=old.created_at)


def _insert_vectors(model_no: int, rows: Sequence[tuple[int, Blob]]) -> Many:
    return Many(f"insert into vectors_{model_no}(rid, vector) values(?, ?)", rows)


def _replace_vector(writer: Writer, rid: int, blob: Blob | None) -> Steps[None]:
    for model_no in (yield from model_numbers()):
        yield Query(f"delete from vectors_{model_no} where rid = ?", (rid,))
    if blob is not None and writer.model_no is not None:
        yield _insert_vectors(writer.model_no, [(rid, blob)])
    writer.vectors_changed = True


def _check_supersedes(ids: Iterable[str], user_id: str, access: Access) -> Steps[None]:
    return check_supersedes(ids, access, lambda id_, seen: find(id_, user_id, seen))
