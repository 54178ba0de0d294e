"""Filters on metadata as conditions on Postgres, over `m.metadata`.

The column holds an object, whose numbers are decimals. An object with a number that no decimal gives back, such as
`1e16` or `-0.0`, is kept as a text (`openmem._sql.postgres.values`), and read as `json`, which leaves numbers as they
are spelt. So each filter is written twice, and the kind of the row says which one counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from openmem._model.where import Comparison, Every, Node, Not, Path, Some, Where, holds
from openmem._sql.where_numbers import bound_of, decimal_of, is_number, spellings

_SIGNS: Final = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


class Given(Protocol):
    """Takes the parameters of a statement."""

    def add(self, value: Any) -> str:
        """Take a value and return the placeholder that stands for it."""
        ...


def condition(where: Where, given: Given) -> str:
    """Return the condition on `m` under which a memory fulfils a filter; its values go to the parameters."""
    names = _Names(given)
    bare = "true" if holds(where.root, {}) else "false"
    plain = _compile(where.root, lambda node: _of_object(node, names, given))
    spelt = _compile(where.root, lambda node: _of_text(node, names, given))
    stored = f"when jsonb_typeof(m.metadata) = 'object' then {plain} else {spelt}"
    return f"(case when m.metadata is null then {bare} {stored} end)"


@dataclass(slots=True)
class _Names:
    """The placeholders of the names in paths, each of which is given once."""

    given: Given
    known: dict[str, str] = field(default_factory=dict)

    def steps(self, path: Path) -> list[str]:
        """Return the placeholders of a path."""
        for name in path:
            if name not in self.known:
                self.known[name] = self.given.add(name)
        return [f"{self.known[name]}::text" for name in path]


def _compile(node: Node, leaf: Callable[[Comparison], str]) -> str:
    if isinstance(node, Comparison):
        # A parameter that no text names has no type, so what can never hold takes none.
        return leaf(node) if _may_hold(node) else "false"
    if isinstance(node, Not):
        return f"(not {_compile(node.part, leaf)})"
    assert isinstance(node, (Every, Some))
    operator, empty = (" and ", "true") if isinstance(node, Every) else (" or ", "false")
    return f"({operator.join(_compile(part, leaf) for part in node.parts)})" if node.parts else empty


def _may_hold(node: Comparison) -> bool:
    return (
        isinstance(node.operand, str) or is_number(node.operand)
        if node.operator in _SIGNS
        else node.operator != "$in" or bool(node.operand)
    )


def _of_object(node: Comparison, names: _Names, given: Given) -> str:
    steps = names.steps(node.path)
    value = " -> ".join(("m.metadata", *steps))
    operator, operand = node.operator, node.operand
    if operator == "$exists":
        return f"({value}) is {'not ' if operand else ''}null"
    if operator in _SIGNS:
        if isinstance(operand, str):
            text = " -> ".join(("m.metadata", *steps[:-1])) + f" ->> {steps[-1]}"
            compared = f'(({text}) collate "C") {_SIGNS[operator]} {given.add(operand)}::text'
            return f"(case when jsonb_typeof({value}) = 'string' then {compared} else false end)"
        compared = f"({value})::numeric {_SIGNS[operator]} {given.add(decimal_of(operand))}::text::numeric"
        return f"(case when jsonb_typeof({value}) = 'number' then {compared} else false end)"
    operands = operand if operator in ("$in", "$nin") else (operand,)
    equal = f"({value}) = {_one_of([_json(one) for one in operands], 'jsonb', given)}"
    if operator in ("$eq", "$in"):
        return f"(({equal}) is true)"
    return f"(({value}) is not null and not ({equal}))"


def _of_text(node: Comparison, names: _Names, given: Given) -> str:
    steps = names.steps(node.path)
    document = "(m.metadata #>> '{}')::json"
    value = " -> ".join((document, *steps))
    text = " -> ".join((document, *steps[:-1])) + f" ->> {steps[-1]}"
    operator, operand = node.operator, node.operand
    if operator == "$exists":
        return f"({value}) is {'not ' if operand else ''}null"
    if operator in _SIGNS:
        return _order_of_text(operator, operand, value, text, given)
    equal = _equal_text(operand if operator in ("$in", "$nin") else (operand,), value, text, given)
    if operator in ("$eq", "$in"):
        return equal
    return f"(({value}) is not null and not {equal})"


def _equal_text(operands: Sequence[Any], value: str, text: str, given: Given) -> str:
    wanted: dict[str, list[str]] = {"string": [], "number": [], "boolean": [], "null": []}
    for one in operands:
        if one is None:
            wanted["null"].append("null")
        elif isinstance(one, bool):
            wanted["boolean"].append("true" if one else "false")
        elif isinstance(one, str):
            wanted["string"].append(one)
        else:
            wanted["number"] += spellings(one)
    branches = ""
    for kind, texts in wanted.items():
        if texts:
            branches += f" when '{kind}' then " + (
                "true" if kind == "null" else f"({text}) = {_one_of(texts, 'text', given)}"
            )
    return f"(case json_typeof({value}){branches} else false end)" if branches else "false"


def _order_of_text(operator: str, operand: Any, value: str, text: str, given: Given) -> str:
    if isinstance(operand, str):
        compared = f'(({text}) collate "C") {_SIGNS[operator]} {given.add(operand)}::text'
        return f"(case when json_typeof({value}) = 'string' then {compared} else false end)"
    bound = bound_of(operator, operand)
    sign = ">=" if bound.above else "<"
    real = f"({text})::float8 {sign} {given.add(repr(bound.real))}::text::float8"
    whole = f"({text})::numeric {sign} {given.add(str(bound.whole))}::text::numeric"
    kinds = f"case when ({text}) ~ '[.eE]' then {real} else {whole} end"
    return f"(case when json_typeof({value}) = 'number' then {kinds} else false end)"


def _one_of(texts: Sequence[str], kind: str, given: Given) -> str:
    if len(texts) == 1:
        return f"{given.add(texts[0])}::text{'' if kind == 'text' else f'::{kind}'}"
    return f"any({given.add([*texts])}::text[]{'' if kind == 'text' else f'::{kind}[]'})"


def _json(value: Any) -> str:
    return decimal_of(value) if is_number(value) else json.dumps(value, ensure_ascii=False)
