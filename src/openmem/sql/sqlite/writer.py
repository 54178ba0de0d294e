"""What one transaction knows of the user it writes for, and the rows that only hold names: scopes and models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from openmem.errors import InvalidRequestError
from openmem.requests import Draft
from openmem.sql.sqlite.rows import Model, Stamp, dumps
from openmem.sql.sqlite.schema import LAST_ENTRY, USER_RANGE, create_vectors
from openmem.sql.steps import Many, Query, Steps

Blob: TypeAlias = bytes | memoryview

_PLACE: Final = f"""
    select user_no, max(indexed, user_no << 32),
      coalesce((select max(rid) from memories where rid {USER_RANGE}), 0),
      {LAST_ENTRY},
      model_no, dim,
      (select scope_no from scopes where scopes.user_no = users.user_no and path = ?2)
    from users left join models on name = ?1 where user_id = ?3
"""


@dataclass(slots=True)
class Writer:
    """What one transaction knows while it writes for one user.

    `indexed` is the last `rid` that the index of words has seen. None up to it is given again, or a new memory would
    be taken for one that is in the index.
    """

    user_no: int
    indexed: int
    next_rid: int
    next_entry: int
    stamp: Stamp
    model_no: int | None = None
    scopes: dict[str, int] = field(default_factory=dict)
    rows_changed: bool = False
    vectors_changed: bool = False


@dataclass(frozen=True, slots=True)
class Incoming:
    """A draft on its way in: its id and its vector, if it has one."""

    draft: Draft
    id: str
    blob: Blob | None = None


def open_user(user_id: str, stamp: Stamp, model: Model | None, scope: str | None = None) -> Steps[Writer]:
    """Return the writer for a user, who is made on first use, as is the model.

    `scope` is looked up on the way, if the user has it.

    Raises:
        InvalidRequestError: The store knows the model with another dimension.
    """
    params = (model.name if model else None, scope, user_id)
    rows = yield Query(_PLACE, params)
    if not rows:
        yield Query("insert into users(user_id) values(?)", (user_id,))
        rows = yield Query(_PLACE, params)
    user_no, indexed, rid, entry, model_no, dim, scope_no = rows[0]
    writer = Writer(user_no, indexed, max(rid, indexed) + 1, entry + 1, stamp)
    if scope is not None and scope_no is not None:
        writer.scopes[scope] = scope_no
    if model is not None:
        writer.model_no = model_no if model_no is not None and dim == model.dim else (yield from ensure_model(model))
    return writer


def close_user(writer: Writer) -> Steps[None]:
    """Note if rows changed that were there before, so that every process sees its cached copy is out of date."""
    if writer.rows_changed or writer.vectors_changed:
        yield Query(
            """
            update users set epoch = epoch + ?, vector_epoch = vector_epoch + ?, clock = max(clock, ?)
            where user_no = ?
            """,
            (writer.rows_changed, writer.vectors_changed, writer.stamp.now, writer.user_no),
        )


def ensure_model(model: Model) -> Steps[int]:
    """Return the number of a model, whose table of vectors is made on first use.

    Raises:
        InvalidRequestError: The store knows the model with another dimension.
    """
    rows = yield Query("select model_no, dim from models where name = ?", (model.name,))
    if not rows:
        rows = yield Query("insert into models(name, dim) values(?, ?) returning model_no, dim", model)
        yield Query(create_vectors(rows[0][0]))
    model_no, dim = rows[0]
    if dim != model.dim:
        raise InvalidRequestError(
            f"embedder: model {model.name!r} has {model.dim} dimensions, but this store's vectors have {dim}"
        )
    return int(model_no)


def model_numbers() -> Steps[list[int]]:
    """Return the numbers of the models that have a table of vectors."""
    rows = yield Query("select model_no from models order by model_no")
    return [int(row[0]) for row in rows]


def ensure_scopes(writer: Writer, paths: Iterable[str | None]) -> Steps[None]:
    """Make the scopes known to the writer, and to the user on first use."""
    wanted = sorted({path for path in paths if path is not None and path not in writer.scopes})
    if wanted:
        yield from _look_up(writer, wanted)
        missing = [(writer.user_no, path) for path in wanted if path not in writer.scopes]
        if missing:
            yield Many("insert into scopes(user_no, path) values(?, ?)", missing)
            yield from _look_up(writer, wanted)


def _look_up(writer: Writer, paths: list[str]) -> Steps[None]:
    rows = yield Query(
        "select path, scope_no from scopes where user_no = ? and path in (select value from json_each(?))",
        (writer.user_no, dumps(paths)),
    )
    writer.scopes.update(rows)
