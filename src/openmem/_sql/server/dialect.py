"""The differences between SQLite and Postgres in statements that are otherwise the same.

Statements are written as Postgres has them (`$1`), and keep to what both understand: text, whole numbers, and times as
microseconds since 1970.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from openmem._sql.steps import Many, Query

SCHEMA: Final = "openmem_server"

_MARK: Final = re.compile(r"\$(\d+)")


@dataclass(frozen=True, slots=True)
class Dialect:
    """One of the two ways to write a statement.

    Args:
        prefix: What stands before the name of a table.
        numbered: Parameters are `$1`; else they are `?`, in the order of their marks.
        blob: The type of bytes.
        has_id: Whether the text of parameter 1 is in the JSON array of the column `memory_ids`.
        serial: The type of a number that grows by itself.
        unlogged: What makes a table that a crash of the server may empty.
    """

    prefix: str
    numbered: bool
    blob: str
    has_id: str
    serial: str
    unlogged: str = ""

    def query(self, text: str, *params: Any) -> Query:
        """Return one statement."""
        if self.numbered:
            return Query(text, params)
        sql, order = _marked(text)
        return Query(sql, tuple(params[place] for place in order))

    def many(self, text: str, rows: Iterable[Sequence[Any]]) -> Many:
        """Return one statement for many rows of parameters."""
        if self.numbered:
            return Many(text, rows)
        sql, order = _marked(text)
        return Many(sql, [tuple(row[place] for place in order) for row in rows])


SQLITE: Final = Dialect(
    prefix="",
    numbered=False,
    blob="blob",
    has_id="exists (select 1 from json_each(memory_ids) where value = $1)",
    serial="integer primary key autoincrement",
)
POSTGRES: Final = Dialect(
    prefix=f"{SCHEMA}.",
    numbered=True,
    blob="bytea",
    has_id="memory_ids::jsonb @> to_jsonb($1::text)",
    serial="bigint generated always as identity primary key",
    unlogged="unlogged ",
)


@lru_cache(maxsize=128)
def _marked(text: str) -> tuple[str, tuple[int, ...]]:
    return _MARK.sub("?", text), tuple(int(number) - 1 for number in _MARK.findall(text))
