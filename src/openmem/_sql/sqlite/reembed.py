"""Steps that move a store to another embedding model, a batch at a time.

The new vectors grow beside the old ones, which go last; so the store can be searched with the old model
meanwhile, and a move that was interrupted goes on with what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import NamedTuple

from openmem._embedding.batches import CUT, marked
from openmem._model.timestamps import micros
from openmem._sql.sqlite.purge import OVERWRITE_CHEAPLY
from openmem._sql.sqlite.rows import dumps
from openmem._sql.sqlite.writer import Blob, ensure_model, model_numbers
from openmem._sql.steps import Many, Query, Steps
from openmem._sql.writing import Model, Stamp


class Pending(NamedTuple):
    """A memory without a vector of the new model."""

    rid: int
    version: int
    content: str


def begin(model: Model) -> Steps[tuple[int, int, int]]:
    """Return the model's number, how many memories have a vector of it, and how many memories there are."""
    model_no = yield from ensure_model(model, move=True)
    total = yield Query("select count(*) from memories where searchable")
    done = yield Query(f"select count(*) from vectors_{model_no}")
    return model_no, int(done[0][0]), int(total[0][0])


def pending(model_no: int, after: int, limit: int) -> Steps[list[Pending]]:
    """Read the next memories that have no vector of the model."""
    rows = yield Query(
        f"""
        select rid, version, content from memories m
        where rid > ? and searchable and not exists (select 1 from vectors_{model_no} v where v.rid = m.rid)
        order by rid limit ?
        """,
        (after, limit),
    )
    return [Pending(*row) for row in rows]


def store(
    model_no: int, batch: Sequence[Pending], blobs: Sequence[Blob], cut: Collection[int], stamp: Stamp
) -> Steps[int]:
    """Store vectors of memories that did not change since they were read; return how many.

    `cut` are the positions of those whose vector stands for the beginning of their text only, which they say then.
    """
    rows = yield Query(
        "select rid, version, extensions from memories where rid in (select value from json_each(?))",
        (dumps([item.rid for item in batch]),),
    )
    current = {(rid, version): text for rid, version, text in rows}
    short = {batch[position].rid for position in cut}
    kept = [(item.rid, blob) for item, blob in zip(batch, blobs, strict=True) if item[:2] in current]
    yield OVERWRITE_CHEAPLY
    yield Many(f"insert or replace into vectors_{model_no}(rid, vector) values(?, ?)", kept)
    yield Many("update memories set model_no = ? where rid = ?", [(model_no, rid) for rid, _ in kept])
    texts = [(item.rid, current[item[:2]]) for item in batch if item[:2] in current]
    changed = [(_marked(text, rid in short), rid) for rid, text in texts if rid in short or (text and CUT in text)]
    yield Many("update memories set extensions = ? where rid = ?", changed)
    yield from _touch(sorted({rid >> 32 for rid, _ in kept}), micros(stamp.now))
    return len(kept)


def finish(model_no: int, stamp: Stamp) -> Steps[None]:
    """Drop the vectors of all other models."""
    yield OVERWRITE_CHEAPLY
    for other in (yield from model_numbers()):
        if other != model_no:
            yield Query(f"drop table if exists vectors_{other}")
            yield Query("update memories set model_no = null where model_no = ?", (other,))
            yield Query("delete from models where model_no = ?", (other,))
    rows = yield Query("select user_no from users")
    yield from _touch([row[0] for row in rows], micros(stamp.now))


def _marked(text: str | None, cut: bool) -> str | None:
    return dumps(marked(json.loads(text) if text else {}, cut) or None)


def _touch(user_nos: Sequence[int], now: int) -> Steps[None]:
    yield Many(
        """
        update users set epoch = epoch + 1, vector_epoch = vector_epoch + 1,
          clock = max(clock, ?) where user_no = ?
        """,
        [(now, user_no) for user_no in user_nos],
    )
