"""Members of the metadata of one user's rows as arrays, so that a filter is judged over all of them at once.

A column holds, for each row, the number of its value among the distinct ones. Those are sorted, so what a comparison
holds for is a range of them, which is found exactly, as Python compares numbers. Rows are only ever added behind the
others: what was sorted stays, and the few values that came since are compared one by one, until they are many.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from openmem._model.where import (
    Comparison,
    Every,
    Node,
    Not,
    Path,
    Some,
    compares,
    comparisons_of,
    is_of_missing,
    kind_of,
)

Ints: TypeAlias = npt.NDArray[np.int64]
Codes: TypeAlias = npt.NDArray[np.int32]
Mask: TypeAlias = npt.NDArray[np.bool_]

MAX_SPELLING: Final = 256
"""Characters of the JSON of a value in a column; rows with longer ones are judged elsewhere."""
VALUE_BYTES: Final = 250  # of a distinct value with all that is kept of it, roughly
_UNSORTED: Final = 64


@dataclass(slots=True)
class MetadataColumn:
    """One member of the metadata of a user's rows.

    Attributes:
        epoch: The version of the rows that were there first; it changes when more than new rows came.
        newest: The last `rid` that was looked at.
        codes: For each row, one more than the number of its value; 0 where there is none, or a long one.
        long: The positions of the rows whose value is too long to be held here.
    """

    epoch: int
    newest: int
    codes: Codes = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    long: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _values: list[Any] = field(default_factory=list)
    _codes_by_spelling: dict[str, int] = field(default_factory=dict)
    _sorted: int = 0
    _numbers: list[float] = field(default_factory=list)
    _texts: list[str] = field(default_factory=list)
    _order: dict[str, Codes] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many values there are, with the missing one."""
        return 1 + len(self._values)

    @property
    def nbytes(self) -> int:
        """Memory taken, in bytes, roughly."""
        return int(self.codes.nbytes + self.long.nbytes) + VALUE_BYTES * len(self._values)

    def grow(self, newest: int, count: int, positions: Ints, spellings: Sequence[str]) -> None:
        """Take rows behind the others.

        Args:
            newest: The last `rid` of them.
            count: How many rows there are now.
            positions: Those of the new rows that have a value.
            spellings: The JSON of each of these values, or more than `MAX_SPELLING` characters of its beginning.
        """
        fresh: list[str] = []
        found = np.array([self._code(spelling, fresh) for spelling in spellings], dtype=np.int32)
        self._values += json.loads(f"[{','.join(fresh)}]")  # one by one they would take ten times as long
        codes = np.zeros(count, dtype=np.int32)
        codes[: len(self.codes)] = self.codes
        codes[positions[found > 0]] = found[found > 0]
        if (found < 0).any():
            self.long = np.concatenate([self.long, positions[found < 0]])
        self.codes, self.newest = codes, newest
        if len(self._values) - self._sorted > _UNSORTED + self._sorted // 8:
            self._sort()

    def rows_with(self, holds: Mask) -> Mask:
        """Return which rows have one of some values: at 0 stands whether those without one count, then each value."""
        return holds[self.codes]

    def values_for(self, node: Comparison) -> Mask:
        """Return which values fulfil a comparison, and at 0 whether a row without one does."""
        holds = np.zeros(len(self), dtype=np.bool_)
        operands = node.operand if node.operator in ("$in", "$nin") else (node.operand,)
        if node.operator != "$exists":
            operator = node.operator if node.operator in ("$gt", "$gte", "$lt", "$lte") else "$eq"
            for operand in operands:
                holds[self._fulfilling(operator, operand)] = True
        if node.operator in ("$ne", "$nin") or (node.operand is True and node.operator == "$exists"):
            holds = ~holds
        holds[1 + self._sorted :] = [compares(node, value) for value in self._values[self._sorted :]]
        holds[0] = is_of_missing(node)
        return holds

    def _code(self, spelling: str, fresh: list[str]) -> int:
        """Return the code of a value, which is put among the fresh ones if it is new; -1 for a long one."""
        if spelling[0] in "{[":
            spelling = "{}"  # no comparison tells one object or list from another
        code = self._codes_by_spelling.get(spelling)
        if code is None:
            if len(spelling) > MAX_SPELLING:
                return -1
            fresh.append(spelling)
            code = self._codes_by_spelling[spelling] = len(self) + len(fresh) - 1
        return code

    def _fulfilling(self, operator: str, operand: Any) -> Codes:
        """Return the codes of those of the sorted values that fulfil a comparison."""
        kind = kind_of(operand)
        order = self._order.get(kind, _NONE)
        if kind not in ("number", "string"):
            equal = [value is operand for value in (self._values[code - 1] for code in order.tolist())]
            return order[np.array(equal, dtype=np.bool_)] if operator == "$eq" else _NONE
        values: list[Any] = self._numbers if kind == "number" else self._texts
        first, behind = bisect_left(values, operand), bisect_right(values, operand)
        ranges = {
            "$eq": slice(first, behind),
            "$gt": slice(behind, None),
            "$gte": slice(first, None),
            "$lt": slice(first),
            "$lte": slice(behind),
        }
        return order[ranges[operator]]

    def _sort(self) -> None:
        kinds: dict[str, list[int]] = {}
        for number, value in enumerate(self._values):
            kinds.setdefault(kind_of(value), []).append(number)
        for kind in ("number", "string"):
            kinds.get(kind, []).sort(key=self._values.__getitem__)
        self._numbers = [self._values[number] for number in kinds.get("number", ())]
        self._texts = [self._values[number] for number in kinds.get("string", ())]
        self._order = {kind: np.array(numbers, dtype=np.int32) + 1 for kind, numbers in kinds.items()}
        self._sorted = len(self._values)


_NONE: Final = np.zeros(0, dtype=np.int32)


def judge(node: Node, count: int, columns: Mapping[Path, MetadataColumn]) -> Mask:
    """Return which of the first rows fulfil a condition; those with a long value in a column are not judged.

    Args:
        node: The condition.
        count: How many rows.
        columns: The columns of all members in it, of these rows or of more.
    """
    paths = {comparison.path for comparison in comparisons_of(node)}
    if len(paths) == 1:  # then it is true of values, and the rows are looked at once
        column = columns[paths.pop()]
        return column.rows_with(_judge_values(node, column))[:count]
    return _combined(node, count, lambda part: judge(part, count, columns))


def _judge_values(node: Node, column: MetadataColumn) -> Mask:
    if isinstance(node, Comparison):
        return column.values_for(node)
    return _combined(node, len(column), lambda part: _judge_values(part, column))


def _combined(node: Node, size: int, answer: Callable[[Node], Mask]) -> Mask:
    """Return the answer of a group, of those of its parts."""
    if isinstance(node, Not):
        return ~answer(node.part)
    assert isinstance(node, (Every, Some))
    every = isinstance(node, Every)
    mask = np.full(size, every, dtype=np.bool_)
    for part in node.parts:
        mask = mask & answer(part) if every else mask | answer(part)
    return mask
