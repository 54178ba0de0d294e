"""Statements that read a page: so many rows, and no more than so many bytes of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from openmem._rules.paging import PAGE_BYTES
from openmem._sql.postgres.rows import RECORD_NAMES, columns
from openmem._sql.steps import Row

# Texts know their length; of an extension it is known only once it is written out, and few memories have any.
_SIZE: Final = (
    "octet_length(m.content) + coalesce(octet_length(m.extensions::text), 0) "
    "+ coalesce(octet_length(m.metadata::text), 0)"
)


@lru_cache(maxsize=256)
def page_text(source: str, order: str, limit: str) -> str:
    """Return the statement that reads the columns of records, up to a number of rows and up to the bytes of a page.

    The first row always comes. In a last column, every row says how many there are within the number.

    Args:
        source: The table `m` and the conditions.
        order: Columns of `m`.
        limit: The placeholder of the number.
    """
    inner = f"select {columns('m')}, {_SIZE} as size from {source} order by {order} limit {limit}"
    sums = f"sum(m.size) over (order by {order}) as upto, row_number() over (order by {order}) as place"
    return f"""
        select {columns("m")}, m.total from (
          select {columns("m")}, {sums}, count(*) over () as total from ({inner}) as m
        ) as m where m.upto <= {PAGE_BYTES} or m.place = 1 order by m.place
    """


def page_of(rows: Sequence[Row], limit: int) -> tuple[list[Row], bool]:
    """Return the rows of a page, and whether there are more."""
    found = [row[: len(RECORD_NAMES)] for row in rows[:limit]]
    return found, bool(rows) and rows[0][-1] > len(found)
