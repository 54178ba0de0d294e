"""Steps that store, change and delete memories on Postgres, their journal entries included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from openmem.analysis import words_of
from openmem.checks import check_window
from openmem.errors import InvalidRequestError, NotFoundError, VersionConflictError
from openmem.ids import routing_bucket
from openmem.native import changed_draft
from openmem.requests import Change, Draft
from openmem.sql.postgres import journal
from openmem.sql.postgres.links import link, unlink
from openmem.sql.postgres.names import Names
from openmem.sql.postgres.rows import (
    RECORD_NAMES,
    Model,
    Stamp,
    columns,
    optional_json,
    record_of_draft,
    record_of_row,
    select_where,
)
from openmem.sql.postgres.schema import vector_column
from openmem.sql.postgres.values import HalfVector, Json, Vector
from openmem.sql.steps import Many, Query, Steps
from openmem.types import Action, MemoryRecord

Row32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A draft on its way in: its id and its vector, if it has one."""

    draft: Draft
    id: str
    vector: Row32 | None = None


def insert_text(db: Names, dim: int | None) -> str:
    """Return the statement that inserts a memory; `$18` are its indexed words, `$19` its vector, if any."""
    names = [*RECORD_NAMES, "words", *([vector_column(dim)] if dim else [])]
    values = [f"${number}" for number in range(1, len(RECORD_NAMES) + 1)]
    values += [f"to_tsvector('{db.config}', $18)", *(["$19"] if dim else [])]
    return f"insert into {db.memories}({', '.join(names)}) values({', '.join(values)})"


def add_one(db: Names, item: Incoming, model: Model | None, stamp: Stamp) -> Steps[MemoryRecord]:
    """Store one memory that has neither a key nor predecessors, with its journal entry, in one statement."""
    dim = model.dim if model and item.vector is not None else None
    last = 18 + (1 if dim else 0)
    yield Query(
        f"""
        with stored as ({insert_text(db, dim)})
        insert into {db.audit}(bucket, id, user_id, at, app, action, memory_id, scope, request_id)
        values($1, ${last + 1}, $3, ${last + 2}, ${last + 3}, 'add', $2, $6, ${last + 4})
        """,
        (*_values(item, model, stamp), stamp.entry_id, stamp.now, _app(item, stamp), stamp.request_id),
    )
    return _record(item, model, stamp)


def add(db: Names, items: Sequence[Incoming], model: Model | None, stamp: Stamp) -> Steps[list[MemoryRecord]]:
    """Store drafts of one user: all or none. A draft whose key the user has already updates that memory."""
    user_id = items[0].draft.user_id
    fresh, known = yield from _split_by_key(db, user_id, items)
    records: dict[int, MemoryRecord] = {}
    made = yield from insert(db, [items[i] for i in fresh], model, stamp)
    records.update(zip(fresh, made, strict=True))
    for position in known:
        item = items[position]
        found = yield from select_where(db, user_id, "m.key = $3", (item.draft.key,), "for update")
        if found[0].id in (item.draft.supersedes or ()):
            raise InvalidRequestError("supersedes: a memory cannot supersede itself")
        records[position] = yield from put(db, found[0], item, model, stamp, "add", f"k{position:05d}")
    return [records[position] for position in range(len(items))]


def update(
    db: Names, id_: str, user_id: str, change: Change, vector: Row32 | None, model: Model | None, stamp: Stamp
) -> Steps[MemoryRecord]:
    """Change a memory, keeping its earlier version."""
    record = yield from find(db, id_, user_id, "for update")
    if change.if_version is not None and change.if_version != record.version:
        raise VersionConflictError(
            f"the memory is at version {record.version}, not {change.if_version}",
            details={"version": record.version},
        )
    if id_ in (change.fields.get("supersedes") or ()):
        raise InvalidRequestError("supersedes: a memory cannot supersede itself")
    if not change.fields:
        yield journal.write(db, user_id, "update", [(id_, record.scope, None)], stamp)
        return record
    draft = changed_draft(record, change.fields)
    check_window(draft.valid_from, draft.valid_to)
    return (yield from put(db, record, Incoming(draft, id_, vector), model, stamp, "update"))


def delete(db: Names, id_: str, user_id: str, stamp: Stamp) -> Steps[None]:
    """Erase a memory, its earlier versions and its vectors."""
    record = yield from find(db, id_, user_id, "for update")
    yield from erase_rows(db, user_id, [id_])
    yield journal.write(db, user_id, "delete", [(id_, record.scope, None)], stamp)


def find(db: Names, id_: str, user_id: str, lock: str = "") -> Steps[MemoryRecord]:
    """Read one memory of a user by id.

    Raises:
        NotFoundError: There is none, or it belongs to another user.
    """
    found = yield from select_where(db, user_id, "m.id = $3", (id_,), lock)
    if not found:
        raise NotFoundError(f"no memory has the id {id_!r}", provider="postgres")
    return found[0]


def owners(db: Names, id_: str, bucket: int | None) -> Steps[list[str]]:
    """Read whose memories have an id: at once where the id carries the bucket, else by asking every partition."""
    if bucket is not None:
        rows = yield Query(f"select user_id from {db.memories} where bucket = $1 and id = $2", (bucket, id_))
        if rows:
            return [row[0] for row in rows]
    rows = yield Query(f"select user_id from {db.memories} where id = $1 /* unrouted: a foreign id */", (id_,))
    return [row[0] for row in rows]


def insert(db: Names, items: Sequence[Incoming], model: Model | None, stamp: Stamp) -> Steps[list[MemoryRecord]]:
    """Store memories that are new to their user."""
    if not items:
        return []
    user_id = items[0].draft.user_id
    for dim in (model.dim if model else None, None):
        chosen = [item for item in items if (item.vector is not None) == (dim is not None)]
        if chosen:
            yield Many(insert_text(db, dim), [_values(item, model, stamp) for item in chosen])
        if dim is None:
            break
    links = [
        (old_id, item.id, item.draft.valid_from or item.draft.created_at or stamp.now)
        for item in items
        for old_id in item.draft.supersedes or ()
    ]
    given = [item.id for item in items if item.draft.id is not None]
    yield from link(db, user_id, links, given)
    entries = [(item.id, item.draft.scope, (item.draft.source or {}).get("app")) for item in items]
    yield journal.write(db, user_id, "add", entries, stamp)
    return [_record(item, model, stamp) for item in items]


def put(
    db: Names,
    old: MemoryRecord,
    item: Incoming,
    model: Model | None,
    stamp: Stamp,
    action: Action,
    suffix: str = "",
) -> Steps[MemoryRecord]:
    """Replace a memory's fields by a draft's; the earlier version goes to the history."""
    user_id, draft = old.user_id, item.draft
    bucket = routing_bucket(user_id)
    yield Query(
        f"""
        insert into {db.versions}(bucket, id, user_id, version, replaced_at, record) values($1, $2, $3, $4, $5, $6)
        on conflict (bucket, id, version) do update set record = excluded.record, replaced_at = excluded.replaced_at
        """,
        (bucket, old.id, user_id, old.version, stamp.now, Json(old.model_dump(mode="json", exclude_none=True))),
    )
    same_text = draft.content == old.content and (item.vector is None or model is None)
    kept = replace(item, id=old.id, draft=replace(draft, created_at=old.created_at))
    sets, extra = _vector_sets(kept, model, same_text)
    values = _values(replace(kept, vector=None), None, stamp)
    rows = yield Query(
        f"""
        update {db.memories} m set key = $3, content = $4, scope = $5, tags = $6, source = $7, confidence = $8,
          valid_from = $9, valid_to = $10, supersedes = $11, extensions = $12, updated_at = $13,
          version = version + 1, words = to_tsvector('{db.config}', $14){sets}
        where m.bucket = $1 and m.id = $2 returning {columns("m")}
        """,
        (bucket, old.id, *values[3:13], stamp.now, values[17], *extra),
    )
    if not same_text:
        yield Query(f"delete from {db.vectors} where bucket = $1 and id = $2", (bucket, old.id))
    if draft.supersedes or old.supersedes:
        yield from unlink(db, user_id, [old.id])
        since = draft.valid_from or old.created_at
        yield from link(db, user_id, [(old_id, old.id, since) for old_id in draft.supersedes or ()], [])
    entry = replace(stamp, entry_id=stamp.entry_id + suffix)
    yield journal.write(db, user_id, action, [(old.id, draft.scope, None)], entry)
    return record_of_row(rows[0])


def erase_rows(db: Names, user_id: str, ids: Sequence[str]) -> Steps[None]:
    """Erase memories and everything that hangs on them."""
    bucket = routing_bucket(user_id)
    yield from unlink(db, user_id, ids)
    for table in (db.vectors, db.versions, db.memories):
        yield Query(
            f"delete from {table} where bucket = $1 and user_id = $2 and id = any($3::text[])",
            (bucket, user_id, list(ids)),
        )


def as_vector(vector: Row32) -> Vector | HalfVector:
    """Return a vector in the precision in which it is kept."""
    return HalfVector(vector) if vector_column(len(vector)) == "embedding_half" else Vector(vector)


def _split_by_key(db: Names, user_id: str, items: Sequence[Incoming]) -> Steps[tuple[list[int], list[int]]]:
    keys = [item.draft.key for item in items if item.draft.key is not None]
    seen: set[str] = set()
    if keys:
        rows = yield Query(
            f"select key from {db.memories} where bucket = $1 and user_id = $2 and key = any($3::text[])",
            (routing_bucket(user_id), user_id, keys),
        )
        seen = {row[0] for row in rows}
    fresh: list[int] = []
    known: list[int] = []
    for position, item in enumerate(items):
        key = item.draft.key
        (known if key in seen else fresh).append(position)
        if key is not None:
            seen.add(key)
    return fresh, known


def _values(item: Incoming, model: Model | None, stamp: Stamp) -> tuple[Any, ...]:
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
        optional_json(dict(draft.extensions)),
        model.name if model is not None and item.vector is not None else None,
        draft.created_at or stamp.now,
        draft.updated_at,
        draft.version,
        " ".join(word for text in (draft.content, *(tags or ())) for word in words_of(text)),
    )
    return values if item.vector is None else (*values, as_vector(item.vector))


def _vector_sets(item: Incoming, model: Model | None, same_text: bool) -> tuple[str, tuple[Any, ...]]:
    if same_text:
        return "", ()
    cleared = ", embedding = null, embedding_half = null, embedding_far = null, model = null"
    if item.vector is None or model is None:
        return cleared, ()
    column = vector_column(model.dim)
    others = [name for name in ("embedding", "embedding_half", "embedding_far") if name != column]
    nulls = "".join(f", {name} = null" for name in others)
    return f"{nulls}, {column} = $15, model = $16", (as_vector(item.vector), model.name)


def _record(item: Incoming, model: Model | None, stamp: Stamp) -> MemoryRecord:
    name = model.name if model is not None and item.vector is not None else None
    return record_of_draft(item.draft, item.id, item.draft.created_at or stamp.now, name)


def _app(item: Incoming, stamp: Stamp) -> str | None:
    app = (item.draft.source or {}).get("app")
    return stamp.app or (app if isinstance(app, str) else None)
