"""Large texts stay behind when many memories are read, and are read once it is known which of them are wanted.

A search reads up to a hundred candidates and a page is told one row more than it shows: whole, they may be a hundred
times the largest text. What is small comes with the first statement, so that nothing else is asked as a rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from openmem._model.ids import routing_bucket
from openmem._model.requests import View
from openmem._rules.paging import PAGE_BYTES, fitting
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.rows import RECORD_NAMES, by_id, columns
from openmem._sql.postgres.values import Json, encode_json
from openmem._sql.postgres.view import Parameters, visible
from openmem._sql.steps import Query, Row, Steps
from openmem._sql.writing import Stamp

SMALL: Final = PAGE_BYTES // 256
"""Bytes of a text that always comes; a hundred memories of two such texts are less than a page."""

_JSON: Final = ("extensions", "metadata")
_SURELY_SMALL: Final = SMALL // 256
"""Bytes that JSON takes in the table which is not more than `SMALL` written out."""


@lru_cache(maxsize=64)
def lean(alias: str, names: tuple[str, ...] = RECORD_NAMES, most: str = str(SMALL)) -> str:
    """Return some columns of memories, without the texts of large ones, and a last one: how many bytes those have.

    Args:
        alias: Of what the columns are.
        names: The columns, `content` among them.
        most: How many bytes each text of a small one has, as SQL.
    """
    # Each text is judged by itself: for every row of every search, a sum for each of them would be noticed.
    # Texts know their length. JSON is only written out for it where it is not sure to be small: what is kept may be
    # compressed, to a 255th at most.
    content = f"{alias}.content"
    written = {one: f"octet_length({one}::text)" for one in (f"{alias}.{name}" for name in _JSON)}
    small = {content: f"octet_length({content}) <= {most}"} | {
        one: f"({one} is null or pg_column_size({one}) <= {_SURELY_SMALL} or {size} <= {most})"
        for one, size in written.items()
    }
    shown = [f"{alias}.{name}" for name in names]
    texts = [small[one] for one in shown if one in small]
    size = " + ".join(
        [f"octet_length({content})", *(f"coalesce({written[one]}, 0)" for one in shown if one in written)]
    )
    columns_shown = [f"case when {small[one]} then {one} end" if one in small else one for one in shown]
    return ", ".join([*columns_shown, f"case when not ({' and '.join(texts)}) then {size} end"])


def cut(rows: Sequence[Row], names: Sequence[str], limit: int) -> int:
    """Return how many rows of `lean` columns go on a page."""
    if all(row[-1] is None for row in rows):
        return min(limit, len(rows))
    return fitting([_size(row, names) for row in rows], limit)


def whole(
    db: Names, view: View, stamp: Stamp, rows: Sequence[Row], names: tuple[str, ...] = RECORD_NAMES
) -> Steps[list[Row | None]]:
    """Return what `lean` columns leave out of some rows, no more than a page of it.

    Args:
        db: The names.
        view: What allows the memories: those that it does not allow any more are left out, as if read later.
        stamp: When they were read first.
        rows: The rows.
        names: The columns.

    Returns:
        The rows, to be read without the last column; `None` for one that is gone, or that was too much.
    """
    sizes = [row[-1] or 0 for row in rows]
    if not any(sizes):
        return [*rows]
    place = names.index("id")
    sums, wanted = 0, list[str]()
    for row, size in zip(rows, sizes, strict=True):
        if size and (sums + size <= PAGE_BYTES or not wanted):
            sums += size
            wanted.append(row[place])
    given = Parameters(routing_bucket(view.user_id), view.user_id)
    conditions = " and ".join(visible(view, stamp.now, given))
    found = yield Query(
        f"""
        select {columns("m", names)} from {db.memories} m
        where m.bucket = $1 and {by_id("m.user_id")} and {conditions} and m.id = any({given.add(wanted)}::text[])
        """,
        given.values,
    )
    read = {row[place]: row for row in found}
    return [read.get(row[place]) if size else row for row, size in zip(rows, sizes, strict=True)]


def _size(row: Row, names: Sequence[str]) -> int:
    if row[-1] is not None:
        return int(row[-1])
    objects: list[Any] = [row[names.index(name)] for name in _JSON if name in names]
    return len(row[names.index("content")]) + sum(len(encode_json(Json(one))) for one in objects if one)
