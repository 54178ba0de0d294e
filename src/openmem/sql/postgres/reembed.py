"""Steps that move a store on Postgres to another embedding model, a batch of one user's memories at a time.

New vectors wait in the table `vectors`, so the store can be searched with the old model meanwhile. When all of a
user's memories have one, they take the place of the old ones in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from openmem.ids import routing_bucket
from openmem.sql.postgres.names import Names
from openmem.sql.postgres.rows import Model
from openmem.sql.postgres.schema import vector_column
from openmem.sql.postgres.write import as_vector
from openmem.sql.steps import Many, Query, Steps


class Pending(NamedTuple):
    """A memory without a vector of the new model."""

    id: str
    version: int
    content: str


def progress(db: Names, model: Model) -> Steps[tuple[int, int]]:
    """Return how many memories have a vector of the model, waiting or in place, and how many there are."""
    rows = yield Query(
        f"""
        select (select count(*) from {db.memories} where model = $1)
            + (select count(*) from {db.vectors} where model = $1), (select count(*) from {db.memories})
        """,
        (model.name,),
    )
    return int(rows[0][0]), int(rows[0][1])


def next_user(db: Names, model: Model, bucket: int, user_id: str) -> Steps[tuple[int, str] | None]:
    """Return the next user, by bucket and name, with a memory of another model."""
    rows = yield Query(
        f"""
        select bucket, user_id from {db.memories}
        where (bucket, user_id) > ($1::smallint, $2::text) and model is distinct from $3
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
        where m.bucket = $1 and m.user_id = $2 and m.model is distinct from $3 and not exists (
          select 1 from {db.vectors} v where v.bucket = $1 and v.id = m.id and v.model = $3
        ) order by m.id limit $4
        """,
        (routing_bucket(user_id), user_id, model.name, limit),
    )
    return [Pending(*row) for row in rows]


def store(
    db: Names, user_id: str, model: Model, batch: Sequence[Pending], vectors: Sequence[npt.NDArray[np.float32]]
) -> Steps[None]:
    """Keep vectors of memories that did not change since they were read."""
    bucket = routing_bucket(user_id)
    yield Many(
        f"""
        insert into {db.vectors}(bucket, id, user_id, model, {vector_column(model.dim)})
        select $1, $2, $3, $4, $5 from {db.memories}
        where bucket = $1 and id = $2 and user_id = $3 and version = $6
        on conflict (bucket, id, model) do nothing
        """,
        [
            (bucket, item.id, user_id, model.name, as_vector(vector), item.version)
            for item, vector in zip(batch, vectors, strict=True)
        ],
    )


def switch(db: Names, user_id: str, model: Model) -> Steps[None]:
    """Put a user's waiting vectors in the place of the old ones."""
    bucket = routing_bucket(user_id)
    yield Query(
        f"""
        update {db.memories} m set model = v.model, embedding = v.embedding, embedding_half = v.embedding_half,
          embedding_far = v.embedding_far
        from {db.vectors} v
        where m.bucket = $1 and m.user_id = $2 and v.bucket = $1 and v.user_id = $2 and v.id = m.id and v.model = $3
        """,
        (bucket, user_id, model.name),
    )
    yield Query(f"delete from {db.vectors} where bucket = $1 and user_id = $2", (bucket, user_id))
