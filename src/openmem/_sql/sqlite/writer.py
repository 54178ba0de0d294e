"""The state of a transaction that writes for a user, and the rows that only hold names: scopes and models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from openmem._embedding.batches import other_length
from openmem._model.timestamps import micros
from openmem._sql.sqlite.rows import dumps
from openmem._sql.sqlite.schema import LAST_ENTRY, USER_RANGE, create_vectors
from openmem._sql.steps import Many, Query, Steps
from openmem._sql.writing import Model, Stamp

Blob: TypeAlias = bytes | memoryview

_PLACE: Final = f"""
    select user_no, max(indexed, user_no << 32),
      coalesce((select max(rid) from memories where rid {USER_RANGE}), 0),
      {LAST_ENTRY},
      model_no, dim,
      (select scope_no from scopes where scopes.user_no = users.user_no and path = ?), fed
    from users left join models on name = ? and not retired where user_id = ?
"""


@dataclass(slots=True)
class Writer:
    """The state of one transaction while it writes for one user.

    `indexed` is the last `rid` that the index of words has seen. None up to it is given again, or a new memory would
    be taken for one that is in the index. `now` is the time of the stamp in microseconds.
    """

    user_no: int
    indexed: int
    next_rid: int
    next_entry: int
    stamp: Stamp
    now: int
    model_no: int | None = None
    scopes: dict[str, int] = field(default_factory=dict)
    rows_changed: bool = False
    vectors_changed: bool = False


def open_user(user_id: str, stamp: Stamp, model: Model | None, scope: str | None = None) -> Steps[Writer]:
    """Return the writer for a user, who is made on first use, as is the model.

    `scope` is looked up on the way, if the user has it.

    Raises:
        InvalidRequestError: The store has vectors of another length of a model of that name.
    """
    params = (scope, model.name if model else None, user_id)
    rows = yield Query(_PLACE, params)
    if not rows:
        yield Query("insert into users(user_id) values(?)", (user_id,))
        rows = yield Query(_PLACE, params)
    user_no, indexed, rid, entry, model_no, dim, scope_no, fed = rows[0]
    if fed:  # the feed of all users is read, and has this one's entries so far
        yield Query("update users set fed = 0 where user_no = ?", (user_no,))
    writer = Writer(user_no, indexed, max(rid, indexed) + 1, entry + 1, stamp, micros(stamp.now))
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
            (writer.rows_changed, writer.vectors_changed, writer.now, writer.user_no),
        )


def ensure_model(model: Model, *, move: bool = False) -> Steps[int]:
    """Return the number of a model, whose table of vectors is made on first use.

    Args:
        model: Its name and the length of its vectors.
        move: Take it in place of one of the same name with vectors of another length, which is retired.

    Raises:
        InvalidRequestError: The store has vectors of another length of a model of that name.
    """
    rows = yield Query("select model_no, dim, retired from models where name = ?", (model.name,))
    others = [dim for _, dim, retired in rows if dim != model.dim and not retired]
    if others and not move:
        raise other_length(model.name, model.dim, others[0])
    known = [number for number, dim, _ in rows if dim == model.dim]
    if not known:
        made = yield Query("insert into models(name, dim) values(?, ?) returning model_no", model)
        known = [made[0][0]]
        yield Query(create_vectors(known[0]))
    if rows and move:
        yield Query("update models set retired = (dim <> ?) where name = ?", (model.dim, model.name))
    return int(known[0])


def model_numbers() -> Steps[list[int]]:
    """Return the numbers of the models that have a table of vectors."""
    rows = yield Query("select model_no from models order by model_no")
    return [int(row[0]) for row in rows]


def other_model_there(name: str) -> Steps[str | None]:
    """Return the name of another model of which the store holds a vector, if it does."""
    rows = yield Query("select model_no, name from models where name <> ? and not retired", (name,))
    for model_no, other in rows:
        if (yield Query(f"select 1 from vectors_{model_no} limit 1")):
            return str(other)
    return None


def ensure_scopes(writer: Writer, paths: set[str | None]) -> Steps[None]:
    """Make the scopes known to the writer, and to the user on first use."""
    wanted = sorted(path for path in paths.difference(writer.scopes) if path is not None)
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
