"""Steps that move a store on Postgres to another embedding model, a batch of one user's memories at a time.

New vectors wait in the table `vectors`, so the store can be searched with the old model meanwhile. When all of a
user's memories have one, they take the place of the old ones in one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from openmem._embedding.batches import CUT
from openmem._model.ids import routing_bucket
from openmem._sql.postgres.models import fits
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.rows import by_id
from openmem._sql.postgres.schema import vector_column
from openmem._sql.postgres.vectors import as_vector
from openmem._sql.steps import Many, Query, Steps
from openmem._sql.writing import Model
from openmem.types import OWN_MEMBER


class Pending(NamedTuple):
    """A memory without a vector of the new model."""

    id: str
    version: int
    content: str


def progress(db: Names, model: Model) -> Steps[tuple[int, int]]:
    """Return how many memories have a vector of the model, waiting or in place, and how many there are."""
    moved = yield Query(
        f"select count(*) filter (where {fits(db, 'm', model, '$1')}), count(*) "
        f"from {db.memories} m where m.searchable",
        (model.name,),
    )
    waiting = yield Query(f"select count(*) from {db.vectors} v where {fits(db, 'v', model, '$1')}", (model.name,))
    return int(moved[0][0]) + int(waiting[0][0]), int(moved[0][1])


def next_user(db: Names, model: Model, bucket: int, user_id: str) -> Steps[tuple[int, str] | None]:
    """Return the next user, by bucket and name, with a memory of another model, or of another length."""
    rows = yield Query(
        f"""
        select bucket, user_id from {db.memories} m
        where (bucket, user_id) > ($1::smallint, $2::text) and {fits(db, "m", model, "$3")} is not true
          and m.searchable
        order by bucket, user_id limit 1
        """,
        (bucket, user_id, model.name),
    )
    return (int(rows[0][0]), rows[0][1]) if rows else None


def pending(db: Names, user_id: str, model: Model, limit: int) -> Steps[list[Pending]]:
    """Read a user's memories that have no vector of the model yet."""
    rows = yield Query(
        f"""
        select m.id, m.version, m.content from {db.memories} m
        where m.bucket = $1 and m.user_id = $2 and m.searchable
          and {fits(db, "m", model, "$3")} is not true and not exists (
          select 1 from {db.vectors} v where v.bucket = $1 and v.id = m.id and {fits(db, "v", model, "$3")}
        ) order by m.id limit $4
        """,
        (routing_bucket(user_id), user_id, model.name, limit),
    )
    return [Pending(*row) for row in rows]


def store(
    db: Names,
    user_id: str,
    model: Model,
    batch: Sequence[Pending],
    vectors: Sequence[npt.NDArray[np.float32]],
    cut: Collection[int],
) -> Steps[None]:
    """Keep vectors of memories that did not change since they were read. For a transaction.

    `cut` are the positions of those whose vector stands for the beginning of their text only, which they say then.
    """
    bucket = routing_bucket(user_id)
    # Locked, so that none of them changes until the vectors are there to be taken out by that change.
    rows = yield Query(
        f"""
        select id, version, extensions->'{OWN_MEMBER}'->'{CUT}' is not null from {db.memories}
        where bucket = $1 and {by_id()} and id = any($3::text[]) for update
        """,
        (bucket, user_id, [item.id for item in batch]),
    )
    current = {(row[0], row[1]) for row in rows}
    short = {batch[position].id for position in cut if batch[position][:2] in current}
    marked = {row[0] for row in rows if row[2] and (row[0], row[1]) in current}
    yield from _mark(db, bucket, user_id, short, marked - short)
    column = vector_column(model.dim)
    others = [name for name in ("embedding", "embedding_half", "embedding_far") if name != column]
    yield Many(
        f"""
        insert into {db.vectors}(bucket, id, user_id, model, {column}) values($1, $2, $3, $4, $5)
        on conflict (bucket, id, model) do update
          set {column} = excluded.{column}, {", ".join(f"{name} = null" for name in others)}
        """,
        [
            (bucket, item.id, user_id, model.name, as_vector(vector))
            for item, vector in zip(batch, vectors, strict=True)
            if item[:2] in current
        ],
    )


def _mark(db: Names, bucket: int, user_id: str, cut: Collection[str], whole: Collection[str]) -> Steps[None]:
    own = f"(extensions->'{OWN_MEMBER}')"
    with_mark = f"""coalesce(extensions, '{{}}') || jsonb_build_object('{OWN_MEMBER}',
      case when jsonb_typeof({own}) = 'object' then {own} else '{{}}' end || '{{"{CUT}": true}}')"""
    without = f"""case when {own} - '{CUT}' = '{{}}' then nullif(extensions - '{OWN_MEMBER}', '{{}}')
      else jsonb_set(extensions, array['{OWN_MEMBER}'], {own} - '{CUT}') end"""
    for ids, extensions in ((cut, with_mark), (whole, without)):
        if ids:
            yield Query(
                f"update {db.memories} set extensions = {extensions} "
                f"where bucket = $1 and {by_id()} and id = any($3::text[])",
                (bucket, user_id, sorted(ids)),
            )


def switch(db: Names, user_id: str, model: Model) -> Steps[None]:
    """Put a user's waiting vectors in the place of the old ones."""
    bucket = routing_bucket(user_id)
    yield Query(
        f"""
        update {db.memories} m set model = v.model, embedding = v.embedding, embedding_half = v.embedding_half,
          embedding_far = v.embedding_far
        from {db.vectors} v
        where m.bucket = $1 and m.user_id = $2 and v.bucket = $1 and v.user_id = $2 and v.id = m.id
          and {fits(db, "v", model, "$3")}
        """,
        (bucket, user_id, model.name),
    )
    yield Query(f"delete from {db.vectors} where bucket = $1 and user_id = $2", (bucket, user_id))
