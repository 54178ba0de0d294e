"""Filters on metadata as conditions of the embedded store, over the JSON text in `m.metadata`.

SQLite reads a whole number of JSON that needs more than 64 bits as a float, and other floats as nearly what they are.
So numbers are equal if JSON spells them alike, and close to a bound their spelling decides, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from openmem._model.where import Comparison, Every, Node, Not, Path, Some, Where, holds
from openmem._sql.sqlite.rows import dumps
from openmem._sql.where_numbers import Bound, bound_of, is_number, neighbours, spellings

_DOCUMENT: Final = "m.metadata"
_UNQUOTED: Final = rf"replace(replace({_DOCUMENT}, '\\', '\u005c'), '\"', '\u0022')"
"""The same without a quote in a name, which would end the name in a path."""
_SMALLEST, _LARGEST = -(1 << 63), (1 << 63) - 1
_NEAR: Final = 8
"""Floats on each side of a bound that may be read as one beyond it."""


def condition(where: Where) -> tuple[str, list[Any]]:
    """Return the condition on `m` under which a memory fulfils a filter, and its parameters."""
    built = _compile(where.root)
    bare = int(holds(where.root, {}))
    return f"case when {_DOCUMENT} is null then {bare} else {built.text} end", built.params


def spelling(path: Path, most: int) -> tuple[str, list[Any]]:
    """Return the JSON text of a member of `m.metadata`, or the beginning of it, and the parameters for that.

    It is null where there is no such member.
    """
    _, _, spelt = _member(path)
    return f"substr({spelt.text}, 1, ?)", [*spelt.params, most]


@dataclass(slots=True)
class _Sql:
    """A piece of a statement and its parameters, in order."""

    text: str
    params: list[Any] = field(default_factory=list)


def _compile(node: Node) -> _Sql:
    if isinstance(node, Comparison):
        return _leaf(node)
    if isinstance(node, Not):
        inner = _compile(node.part)
        return _Sql(f"(not {inner.text})", inner.params)
    assert isinstance(node, (Every, Some))
    operator, empty = (" and ", "1") if isinstance(node, Every) else (" or ", "0")
    return _joined([_compile(part) for part in node.parts], operator, empty)


def _joined(parts: Sequence[_Sql], operator: str, empty: str) -> _Sql:
    if not parts:
        return _Sql(empty)
    return _Sql(f"({operator.join(part.text for part in parts)})", [value for part in parts for value in part.params])


def _leaf(node: Comparison) -> _Sql:
    kind, value, spelt = _member(node.path)
    operator, operand = node.operator, node.operand
    there = _Sql(f"{kind.text} is not null", kind.params)
    if operator == "$exists":
        return there if operand else _Sql(f"{kind.text} is null", kind.params)
    if operator in ("$gt", "$gte", "$lt", "$lte"):
        return _order(operator, operand, kind, value, spelt)
    equal = _equal(operand if operator in ("$in", "$nin") else (operand,), kind, value, spelt)
    if operator in ("$eq", "$in"):
        return equal
    return _Sql(f"({there.text} and not {equal.text})", [*there.params, *equal.params])


def _equal(operands: Sequence[Any], kind: _Sql, value: _Sql, spelt: _Sql) -> _Sql:
    """Return the condition that a value is one of some: never null."""
    kinds = {None: "null", True: "true", False: "false"}
    plain = sorted({kinds[one] for one in operands if one is None or isinstance(one, bool)})
    texts = [one for one in operands if isinstance(one, str)]
    numbers = [text for one in operands if is_number(one) for text in spellings(one)]
    branches = _Sql("", [*kind.params])
    for name in plain:
        branches.text += f" when '{name}' then 1"
    for names, part, wanted in ((("text",), value, texts), (("integer", "real"), spelt, numbers)):
        for name in names if wanted else ():
            branches.text += f" when '{name}' then {part.text} in (select value from json_each(?))"
            branches.params += [*part.params, dumps(wanted)]
    if not branches.text:
        return _Sql("0")
    return _Sql(f"(case {kind.text}{branches.text} else 0 end)", branches.params)


def _order(operator: str, operand: Any, kind: _Sql, value: _Sql, spelt: _Sql) -> _Sql:
    if isinstance(operand, str):
        sign = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}[operator]
        text = f"(case {kind.text} when 'text' then {value.text} {sign} ? else 0 end)"
        return _Sql(text, [*kind.params, *value.params, operand])
    if not is_number(operand):
        return _Sql("0")
    bound = bound_of(operator, operand)
    whole, real = _from_whole(bound, value, spelt), _from_real(bound, value, spelt)
    sign = "" if bound.above else "not "
    text = f"(case {kind.text} when 'integer' then {sign}{whole.text} when 'real' then {sign}{real.text} else 0 end)"
    return _Sql(text, [*kind.params, *whole.params, *real.params])


def _from_whole(bound: Bound, value: _Sql, spelt: _Sql) -> _Sql:
    """Return the condition that a whole number is not below a bound."""
    least = bound.whole
    small = _Sql(f"{value.text} >= ?", [*value.params, least])
    if not _SMALLEST <= least <= _LARGEST:
        small = _Sql(str(int(least < 0)))
    positive = _Sql(f"{spelt.text} not like '-%'", spelt.params)
    large = positive
    if not _SMALLEST <= least <= _LARGEST + 1:
        # As many digits, or more: then the first that differ decide.
        longer, first = (">", ">=") if least > 0 else ("<", "<=")
        text = str(least)
        compared = f"(length({spelt.text}) {longer} ? or (length({spelt.text}) = ? and {spelt.text} {first} ?))"
        params = [*spelt.params, len(text), *spelt.params, len(text), *spelt.params, text]
        joint = "and" if least > 0 else "or"
        large = _Sql(f"({positive.text} {joint} {compared})", [*positive.params, *params])
    text = f"(case typeof({value.text}) when 'integer' then {small.text} else {large.text} end)"
    return _Sql(text, [*value.params, *small.params, *large.params])


def _from_real(bound: Bound, value: _Sql, spelt: _Sql) -> _Sql:
    """Return the condition that a float is not below a bound."""
    least = bound.real
    if least == math.inf:
        return _Sql("0")
    following = [one for one in neighbours(least, 3 * _NEAR) if one < math.inf]
    before = -neighbours(-least, _NEAR)[-1]
    near = dumps([text for one in following for text in spellings(one) if not text.lstrip("-").isdecimal()])
    text = (
        f"(case when {value.text} between ? and ? then {spelt.text} in (select value from json_each(?)) "
        f"else {value.text} > ? end)"
    )
    last = following[min(_NEAR, len(following) - 1)]
    return _Sql(text, [*value.params, before, last, *spelt.params, near, *value.params, least])


def _member(path: Path) -> tuple[_Sql, _Sql, _Sql]:
    """Return the type of a member, null where it is not there, its value, and its JSON text."""
    quoted = any('"' in name for name in path)
    document, place = (_UNQUOTED if quoted else _DOCUMENT), "$" + "".join(_step(name, quoted) for name in path)
    return (
        _Sql(f"json_type({document}, ?)", [place]),
        _Sql(f"json_extract({document}, ?)", [place]),
        _Sql(f"({document} -> ?)", [place]),
    )


def _step(name: str, quoted: bool) -> str:
    # A name is compared as the document spells it, escapes and all.
    spelt = json.dumps(name, ensure_ascii=False)[1:-1]
    return '."' + (_without_quotes(spelt) if quoted else spelt) + '"'


def _without_quotes(text: str) -> str:
    return text.replace(r"\\", r"\u005c").replace(r"\"", r"\u0022")
