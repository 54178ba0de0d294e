"""Steps that store, change and delete memories on Postgres, their audit entries included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from openmem._model.access import Access, Patterns
from openmem._model.ids import Key, Named, routing_bucket, unknown_id
from openmem._model.requests import Change, Draft
from openmem._retrieval.analysis import words_of
from openmem._rules.versions import step_back
from openmem._rules.workload import is_large_draft
from openmem._rules.writing import app_of, check_may_be_new, check_takes_over, split_by_key, updated
from openmem._sql.postgres import audit, versions
from openmem._sql.postgres.feed import overtaken
from openmem._sql.postgres.models import guarded
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.rows import RECORD_NAMES, Row32, by_id, columns, optional_json, record_of_row, select_where
from openmem._sql.postgres.schema import vector_column
from openmem._sql.postgres.scope_filter import allowed
from openmem._sql.postgres.supersession import Supersession, link, locking, relink, unlink
from openmem._sql.postgres.values import Json
from openmem._sql.postgres.vectors import as_vector
from openmem._sql.steps import Many, Query, Steps
from openmem._sql.writing import Incoming, Model, Stamp, check_supersedes, stored_before
from openmem.types import Action, MemoryRecord

_WORDS: Final = len(RECORD_NAMES) + 1
_VECTOR: Final = _WORDS + 1
"""The numbers of the parameters behind the fields of a memory."""


@dataclass(slots=True)  # never changed; see `Draft`
class Single:
    """A memory that is stored by itself: it has no key, and is new."""

    item: Incoming[Row32]
    model: Model | None
    stamp: Stamp

    @property
    def dim(self) -> int | None:
        """The length of its vector, if there is one."""
        return self.model.dim if self.model and self.item.vector is not None else None

    @property
    def record(self) -> MemoryRecord:
        """The record that storing it makes."""
        return self.item.record(self.model, self.stamp.now)


@lru_cache(maxsize=64)
def insert_text(db: Names, dim: int | None) -> str:
    """Return the statement that inserts a memory; behind its fields come its indexed words, and its vector, if any."""
    names = [*RECORD_NAMES, "words", *([vector_column(dim)] if dim else [])]
    values = [f"${number}" for number in range(1, len(RECORD_NAMES) + 1)]
    if dim:
        values[RECORD_NAMES.index("version")] = guarded(db, "$17::integer", "$14", dim)
    values += [f"to_tsvector('{db.config}', ${_WORDS})", *([f"${_VECTOR}"] if dim else [])]
    return f"insert into {db.memories}({', '.join(names)}) values({', '.join(values)})"


def add_one(db: Names, item: Incoming[Row32], model: Model | None, stamp: Stamp) -> Steps[MemoryRecord]:
    """Store one memory that has neither a key nor predecessors, with its audit entry, in one statement."""
    single = Single(item, model, stamp)
    if db.distributed:
        # Two statements of one transaction on one server: a router would cut one that does both in pieces.
        yield Query(insert_text(db, single.dim), _stored_values(single))
        yield audit.write(db, item.draft.user_id, "add", [_entry(item)], stamp)
    else:
        yield Query(_single_text(db, single.dim), _single_values(single))
    return item.record(model, stamp.now)


def add_newer(db: Names, single: Single) -> Steps[MemoryRecord]:
    """Store one memory without a key that supersedes others, in one statement. For a transaction with their lock.

    No other memory can have named it, so it closes no circle, and what hides the others is only more than before.
    Not for tables that are spread over servers.
    """
    begin = single.item.draft.valid_from
    since = begin or single.item.draft.created_at or single.stamp.now
    yield Query(_newer_text(db, single.dim), (*_single_values(single), since, begin is None))
    return single.record


def add_each(db: Names, singles: Sequence[Single]) -> Steps[list[MemoryRecord]]:
    """Store memories of any users, each with the statement of `add_one` and so routed by its own user's bucket.

    It is one statement for many rows, and so all or none, where all of them have vectors of the same length.
    """
    text = insert_text if db.distributed else _single_text
    values = _stored_values if db.distributed else _single_values
    for dim in dict.fromkeys(single.dim for single in singles):
        yield Many(text(db, dim), (values(single) for single in singles if single.dim == dim))
    if db.distributed:
        users = [(one.item.draft.user_id, _entry(one.item), one.stamp) for one in singles]
        yield audit.write_of_users(db, "add", users)
    return [single.record for single in singles]


def add(
    db: Names,
    items: Sequence[Incoming[Row32]],
    model: Model | None,
    stamp: Stamp,
    access: Access | None = None,
    *,
    repeatable: bool = False,
) -> Steps[list[MemoryRecord]]:
    """Store drafts of one user: all or none. A draft whose key the user has already updates that memory.

    With `repeatable`, the ids and the time come from a seed: what is stored already is returned as it is.
    """
    drafts = [item.draft for item in items]
    user_id = drafts[0].user_id
    records: dict[int, MemoryRecord] = {}
    if repeatable:
        records = yield from _stored_before(db, items, range(len(items)), model, stamp, access)
    rest = [position for position in range(len(items)) if position not in records]
    if access is not None:
        named = [old_id for position in rest for old_id in drafts[position].supersedes or ()]
        yield from _check_supersedes(db, named, user_id, access)
    keys = [key for position in rest if (key := drafts[position].key) is not None]
    stored = (yield from _stored_keys(db, user_id, keys)) if keys else ()
    fresh, known = split_by_key(drafts, rest, stored)
    if repeatable and known:
        # An equal call may have been done between the two statements above.
        records |= yield from _stored_before(db, items, known, model, stamp, access)
        known = [position for position in known if position not in records]
    made = yield from insert(db, [items[i] for i in fresh], model, stamp)
    records.update(zip(fresh, made, strict=True))
    for position in known:
        item = items[position]
        found = yield from holder(db, user_id, item.draft.key or "")
        suffix = f"k{position:05d}"
        if not found:  # it was erased a moment ago
            check_may_be_new(item.draft)
            entry = replace(stamp, entry_id=stamp.entry_id + suffix)
            [records[position]] = yield from insert(db, [item], model, entry)
            continue
        if fresh or position != known[0]:  # else it has waited for this one only
            yield from overtaken(db, user_id, found[0].id)
        check_takes_over(found[0], item.draft, access)
        records[position] = yield from put(db, found[0], item, model, stamp, "add", suffix)
    return [records[position] for position in range(len(items))]


def update(
    db: Names,
    named: Named,
    user_id: str,
    change: Change,
    vector: Row32 | None,
    model: Model | None,
    stamp: Stamp,
    access: Access | None = None,
) -> Steps[MemoryRecord]:
    """Change a memory, keeping its earlier version."""
    record = yield from find(db, named, user_id, "for update", access.patterns("read") if access else None)
    if access is not None:
        access.need("write", record.scope)
        yield from _check_supersedes(db, change.fields.get("supersedes") or (), user_id, access)
    draft = updated(record, change)
    if draft is None:
        yield audit.write(db, user_id, "update", [(record.id, record.scope, None, record.version)], stamp)
        return record
    return (yield from put(db, record, Incoming(draft, record.id, vector), model, stamp, "update"))


def delete(db: Names, named: Named, user_id: str, stamp: Stamp, access: Access | None = None) -> Steps[str]:
    """Erase a memory, its earlier versions and its vectors, and return its id."""
    record = yield from find(db, named, user_id, "for update", access.patterns("read", "delete") if access else None)
    if access is not None:
        access.need("delete", record.scope)
    yield from erase_rows(db, user_id, [record.id])
    yield audit.write(db, user_id, "delete", [(record.id, record.scope, None, record.version)], stamp)
    return record.id


def find(db: Names, named: Named, user_id: str, lock: str = "", seen: Patterns | None = None) -> Steps[MemoryRecord]:
    """Read one memory of a user by its id or its key.

    Raises:
        NotFoundError: There is none, or it belongs to another user, or its scope is not among those `seen`.
    """
    condition, params = allowed(seen, 4)
    if lock:
        linked, locks = locking(db, user_id, 4 + len(params))
        condition, params = condition + linked, [*params, *locks]
    column, value = ("key", named.name) if isinstance(named, Key) else ("id", named)
    found = yield from select_where(db, user_id, f"m.{column} = $3{condition}", (value, *params), lock)
    if not found:
        raise unknown_id(named, "postgres")
    return found[0]


def holder(db: Names, user_id: str, key: str) -> Steps[list[MemoryRecord]]:
    """Read the memory that has a key, and lock it; nothing if there is none."""
    linked, locks = locking(db, user_id, 4)
    return (yield from select_where(db, user_id, f"m.key = $3{linked}", (key, *locks), "for update"))


def owners(db: Names, id_: str, bucket: int | None, seen: Patterns | None = None) -> Steps[list[str]]:
    """Read whose memories have an id: in its bucket where the id carries one, else by asking every partition.

    Memories of scopes that are not among those `seen` do not count.
    """
    if bucket is not None:
        condition, params = allowed(seen, 3)
        rows = yield Query(
            f"select user_id from {db.memories} m where m.bucket = $1 and m.id = $2{condition}", (bucket, id_, *params)
        )
        return [row[0] for row in rows]
    condition, params = allowed(seen, 2)
    rows = yield Query(
        f"select user_id from {db.memories} m where id = $1{condition} /* unrouted: a foreign id */", (id_, *params)
    )
    return [row[0] for row in rows]


def insert(db: Names, items: Sequence[Incoming[Row32]], model: Model | None, stamp: Stamp) -> Steps[list[MemoryRecord]]:
    """Store memories that are new to their user."""
    if not items:
        return []
    user_id = items[0].draft.user_id
    for dim in (model.dim if model else None, None):
        chosen = [item for item in items if (item.vector is not None) == (dim is not None)]
        if chosen:
            # Made while the server stores those before them, unless one takes long.
            rows = (_values(item, model, stamp) for item in chosen)
            yield Many(insert_text(db, dim), rows, large=any(is_large_draft(item.draft) for item in chosen))
        if dim is None:
            break
    links = [one for item in items if item.draft.supersedes for one in _links(item, item.draft.created_at or stamp.now)]
    given = [item.id for item in items if item.draft.id is not None]
    if links or given:
        yield from link(db, user_id, links, given)
    yield audit.write(db, user_id, "add", [_entry(item) for item in items], stamp)
    return [item.record(model, stamp.now) for item in items]


def put(
    db: Names,
    old: MemoryRecord,
    item: Incoming[Row32],
    model: Model | None,
    stamp: Stamp,
    action: Action,
    suffix: str = "",
) -> Steps[MemoryRecord]:
    """Replace a memory's fields by a draft's; the earlier version goes to the history."""
    user_id, draft = old.user_id, item.draft
    if not draft.searchable:
        item = replace(item, vector=None)
    bucket = routing_bucket(user_id)
    same_text = draft.content == old.content and (item.vector is None or model is None)
    same_text = same_text and draft.searchable == old.searchable
    kept = replace(item, id=old.id, draft=replace(draft, created_at=old.created_at))
    sets, extra = _vector_sets(db, kept, model, same_text)
    values = _values(replace(kept, vector=None), None, stamp)
    step = versions.Step(old, step_back(old, draft))
    rows = yield Query(
        f"""
        update {db.memories} m set key = $3, content = $4, scope = $5, tags = $6, source = $7, confidence = $8,
          valid_from = $9, valid_to = $10, supersedes = $11, extensions = $12, updated_at = $13,
          metadata = $17, searchable = $18, words = to_tsvector('{db.config}', $14), behind = {versions.BEHIND}, {sets}
        where m.bucket = $1 and m.id = $2 returning {columns("m")}, m.behind
        """,
        (bucket, old.id, *values[3:13], stamp.now, values[_WORDS - 1], step.size, step.whole, *values[17:19], *extra),
    )
    *row, behind = rows[0]
    yield versions.keep(db, step, stamp, whole=behind == 0)
    if not same_text:
        yield Query(f"delete from {db.vectors} where bucket = $1 and id = $2", (bucket, old.id))
    corrected = None
    if draft.supersedes or old.supersedes:
        corrected = yield from relink(db, user_id, old.id, _links(kept, old.created_at))
    entry = replace(stamp, entry_id=stamp.entry_id + suffix)
    yield audit.write(db, user_id, action, [(old.id, draft.scope, None, old.version + 1)], entry)
    record = record_of_row(row)
    return record if corrected is None else record.model_copy(update={"updated_at": corrected})


def erase_rows(db: Names, user_id: str, ids: Sequence[str]) -> Steps[None]:
    """Erase memories and everything that hangs on them."""
    bucket = routing_bucket(user_id)
    yield from unlink(db, user_id, ids)
    for table in (db.vectors, db.versions, db.memories):
        yield Query(
            f"delete from {table} where bucket = $1 and {by_id()} and id = any($3::text[])",
            (bucket, user_id, list(ids)),
        )


def _check_supersedes(db: Names, ids: Sequence[str], user_id: str, access: Access) -> Steps[None]:
    return check_supersedes(ids, access, lambda id_, seen: find(db, id_, user_id, "", seen))


def _links(item: Incoming[Row32], stored_at: datetime) -> list[Supersession]:
    begin = item.draft.valid_from
    return [Supersession(old_id, item.id, begin or stored_at, begin is None) for old_id in item.draft.supersedes or ()]


def _stored_before(
    db: Names,
    items: Sequence[Incoming[Row32]],
    positions: Sequence[int],
    model: Model | None,
    stamp: Stamp,
    access: Access | None,
) -> Steps[dict[int, MemoryRecord]]:
    user_id = items[0].draft.user_id

    def by_ids(ids: Sequence[str]) -> Steps[list[MemoryRecord]]:
        return select_where(db, user_id, "m.id = any($3::text[])", (list(ids),))

    def by_key(key: str) -> Steps[tuple[MemoryRecord, list[MemoryRecord]] | None]:
        # It is locked first: of two equal calls the later one then sees what the earlier one did.
        found = yield from holder(db, user_id, key)
        return (found[0], (yield from versions.made_at(db, found[0], stamp.now))) if found else None

    return stored_before(items, positions, model, stamp.now, access, by_ids, by_key)


def _stored_keys(db: Names, user_id: str, keys: Sequence[str]) -> Steps[set[str]]:
    linked, locks = locking(db, user_id, 4)
    rows = yield Query(
        f"select key from {db.memories} m where m.bucket = $1 and m.user_id = $2 and m.key = any($3::text[]){linked}",
        (routing_bucket(user_id), user_id, list(keys), *locks),
    )
    return {row[0] for row in rows}


def _values(item: Incoming[Row32], model: Model | None, stamp: Stamp) -> tuple[Any, ...]:
    draft = item.draft
    tags = None if draft.tags is None else list(draft.tags)
    values = (
        routing_bucket(draft.user_id),
        item.id,
        draft.user_id,
        draft.key,
        draft.content,
        draft.scope,
        tags,
        optional_json(draft.source),
        draft.confidence,
        draft.valid_from,
        draft.valid_to,
        None if draft.supersedes is None else list(draft.supersedes),
        Json(dict(draft.extensions)) if draft.extensions else None,
        model.name if model is not None and item.vector is not None else None,
        draft.created_at or stamp.now,
        draft.updated_at,
        draft.version,
        Json(dict(draft.metadata)) if draft.metadata is not None else None,
        draft.searchable,
        _words(draft),
    )
    return values if item.vector is None else (*values, as_vector(item.vector))


def _words(draft: Draft) -> str:
    if not draft.searchable:
        return ""
    if not draft.tags:
        return " ".join(words_of(draft.content))
    return " ".join([word for text in (draft.content, *draft.tags) for word in words_of(text)])


@lru_cache(maxsize=64)
def _single_text(db: Names, dim: int | None) -> str:
    last = _VECTOR if dim else _WORDS
    return f"""
        with stored as ({insert_text(db, dim)})
        insert into {db.audit}(bucket, id, user_id, at, app, action, memory_id, scope, request_id, version)
        values($1, ${last + 1}, $3, ${last + 2}, ${last + 3}, 'add', $2, $6, ${last + 4}, $17::integer)
    """


@lru_cache(maxsize=64)
def _newer_text(db: Names, dim: int | None) -> str:
    after = (_VECTOR if dim else _WORDS) + 4
    older = f"${RECORD_NAMES.index('supersedes') + 1}::text[]"
    since, at_once = f"${after + 1}::timestamptz", f"${after + 2}::boolean"
    stored, entered = _single_text(db, dim).strip().split("\n", 1)
    return f"""
        {stored}, linked as (
          insert into {db.supersessions}(bucket, user_id, old_id, new_id, since, at_once)
          select $1::smallint, $3::text, older.id, $2::text, {since}, {at_once} from unnest({older}) as older(id)
          on conflict (bucket, user_id, old_id, new_id) do nothing
        ), hidden as (
          update {db.memories} m set superseded_at = least(m.superseded_at, {since}),
            superseded_now = {at_once} or m.superseded_now is true
          where m.bucket = $1 and (m.user_id = $3) is true and m.id = any({older})
        )
        {entered}
    """


def _stored_values(single: Single) -> tuple[Any, ...]:
    return _values(single.item, single.model, single.stamp)


def _single_values(single: Single) -> tuple[Any, ...]:
    item, stamp = single.item, single.stamp
    entry = (stamp.entry_id, stamp.now, stamp.app or app_of(item.draft), stamp.request_id)
    return _values(item, single.model, stamp) + entry


def _vector_sets(db: Names, item: Incoming[Row32], model: Model | None, same_text: bool) -> tuple[str, tuple[Any, ...]]:
    version = "version = version + 1"
    if same_text:
        return version, ()
    cleared = f"{version}, embedding = null, embedding_half = null, embedding_far = null, model = null"
    if item.vector is None or model is None:
        return cleared, ()
    column = vector_column(model.dim)
    others = [name for name in ("embedding", "embedding_half", "embedding_far") if name != column]
    nulls = "".join(f", {name} = null" for name in others)
    version = f"version = {guarded(db, 'version + 1', '$20', model.dim)}"
    return f"{version}{nulls}, {column} = $19, model = $20", (as_vector(item.vector), model.name)


def _entry(item: Incoming[Row32]) -> audit.Item:
    return item.id, item.draft.scope, app_of(item.draft), item.draft.version
