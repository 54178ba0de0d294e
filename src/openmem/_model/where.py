"""Filters on metadata: their shape, and whether a memory fulfils one. The statements of the stores answer the same.

A filter is a mapping from paths to conditions, all of which must hold: `{"lang": "py", "pages": {"$gt": 9}}`.

1. A path is the name of a member, or names with dots between them: `a.b` is the member `b` of the object in `a`. Each
   part is a whole name, so a member with a dot in its name, or of a list, is out of reach.
2. Numbers are compared as numbers, exactly: `1` is `1.0`, and `true` is no number. Texts are compared by code point.
3. `$gt`, `$gte`, `$lt` and `$lte` hold between two numbers or two texts only.
4. A member that is not there fulfils `{"$exists": false}` only. One that is `null` is there.
5. A list or an object equals nothing: it fulfils `$exists`, `$ne` and `$nin`.
6. `$and`, `$or` and `$not` are those of logic: of no conditions, all hold, and not one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from openmem._model.checks import has_unstorable
from openmem._text.misspellings import closest, did_you_mean
from openmem.errors import InvalidRequestError

MAX_PARTS: Final = 8
"""Names in a path: no more levels of metadata are stored."""
MAX_LEVELS: Final = 8
"""Conditions within conditions."""
MAX_CONDITIONS: Final = 100
MAX_CHOICES: Final = 1_000
"""Values in the lists of a filter, all together."""
MAX_BYTES: Final = 65_536
"""Length of a filter, as JSON in UTF-8."""
MAX_DIGITS: Final = 1_000

COMPARISONS: Final = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists")
_GROUPS: Final = ("$and", "$or")
_OPERATORS: Final = (*COMPARISONS, "$not", *_GROUPS)

Scalar: TypeAlias = str | bool | int | float | None
Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A condition on one member: `operand` is a value, a tuple of them, or a `bool` for `$exists`."""

    path: Path
    operator: str
    operand: Any


@dataclass(frozen=True, slots=True)
class Every:
    """All of these hold."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """One of these holds, or more."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """This does not hold."""

    part: Node


Node: TypeAlias = Comparison | Every | Some | Not


@dataclass(frozen=True, slots=True, eq=False)
class Where:
    """A checked filter on metadata.

    Attributes:
        text: The filter as JSON, as it travels and as it names a cursor.
        root: Its conditions.
    """

    text: str
    root: Node

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, Where) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"<Where {self.text}>"

    def matches(self, metadata: Mapping[str, Any] | None) -> bool:
        """Return whether a memory with this metadata, or with none, fulfils the filter."""
        return holds(self.root, metadata or {})

    @property
    def json(self) -> dict[str, Any]:
        """The filter as a value of JSON."""
        value: dict[str, Any] = json.loads(self.text)
        return value


def parse_where(value: object) -> Where | None:
    """Return a filter; `None` where there is none, and for `{}`, which everything fulfils.

    Raises:
        InvalidRequestError: Its shape is wrong, or it is too large; the message names the place.
    """
    if value is None:
        return None
    reader = _Reader()
    root, plain = reader.group(value, "where", 0)
    if not plain:
        return None
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > MAX_BYTES:
        raise InvalidRequestError(f"where must have at most {MAX_BYTES:,} bytes as JSON, not {len(text.encode()):,}")
    return Where(text, root)


def matches(where: Where | None, metadata: Mapping[str, Any] | None) -> bool:
    """Return whether a memory with this metadata, or with none, fulfils a filter."""
    return where is None or where.matches(metadata)


def holds(node: Node, metadata: Mapping[str, Any]) -> bool:
    """Return whether a condition holds for some metadata."""
    if isinstance(node, Comparison):
        found, value = member(metadata, node.path)
        return compares(node, value) if found else is_of_missing(node)
    if isinstance(node, Every):
        return all(holds(part, metadata) for part in node.parts)
    if isinstance(node, Some):
        return any(holds(part, metadata) for part in node.parts)
    return not holds(node.part, metadata)


def member(metadata: Mapping[str, Any], path: Path) -> tuple[bool, Any]:
    """Return whether there is a member at a path, and its value."""
    value: Any = metadata
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return False, None
        value = value[name]
    return True, value


def is_of_missing(node: Comparison) -> bool:
    """Return whether a member that is not there fulfils a comparison."""
    return node.operator == "$exists" and node.operand is False


def compares(node: Comparison, value: Any) -> bool:
    """Return whether a value that is there fulfils a comparison."""
    operator, operand = node.operator, node.operand
    if operator == "$exists":
        return operand is True
    if operator in ("$in", "$nin"):
        return any(_equal(value, one) for one in operand) == (operator == "$in")
    if operator in ("$eq", "$ne"):
        return _equal(value, operand) == (operator == "$eq")
    kind = kind_of(value)
    return kind in ("number", "string") and kind == kind_of(operand) and _ordered(operator, value, operand)


def kind_of(value: Any) -> str:
    """Return the kind of a value of JSON: two of different kinds are never equal."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else "other"


def comparisons_of(node: Node) -> Iterator[Comparison]:
    """Return the comparisons in a condition."""
    if isinstance(node, Comparison):
        yield node
    elif isinstance(node, Not):
        yield from comparisons_of(node.part)
    else:
        for part in node.parts:
            yield from comparisons_of(part)


def _equal(value: Any, operand: Any) -> bool:
    kind = kind_of(value)
    return kind != "other" and kind == kind_of(operand) and bool(value == operand)


def _ordered(operator: str, value: Any, operand: Any) -> bool:
    if operator == "$gt":
        return bool(value > operand)
    if operator == "$gte":
        return bool(value >= operand)
    return bool(value < operand) if operator == "$lt" else bool(value <= operand)


class _Reader:
    """Reads a filter as it was given, and counts what is in it. Each reading returns conditions and plain JSON."""

    def __init__(self) -> None:
        self._conditions = 0
        self._choices = 0

    def group(self, value: object, place: str, level: int) -> tuple[Node, dict[str, Any]]:
        """Read a mapping of paths to conditions, and of operators to groups."""
        given = _mapping(value, place)
        if level > MAX_LEVELS:
            raise InvalidRequestError(f"{_shown(place)} lies too deep: conditions have at most {MAX_LEVELS} levels")
        parts: list[Node] = []
        plain: dict[str, Any] = {}
        for name, inner in given.items():
            part, plain[_text(name, place)] = self._entry(_text(name, place), inner, place, level)
            parts.append(part)
        return Every(tuple(parts)), plain

    def _entry(self, name: str, value: object, place: str, level: int) -> tuple[Node, Any]:
        within = f"{place}.{name}"
        if name == "$not":
            self._count()
            part, plain = self.group(value, within, level + 1)
            return Not(part), plain
        if name in _GROUPS:
            return self._several(name, value, within, level)
        if name.startswith("$"):
            raise _unknown(name, place, (*_GROUPS, "$not"))
        return self._conditions_of(_path(name, place), value, within, level)

    def _several(self, name: str, value: object, place: str, level: int) -> tuple[Node, Any]:
        if not isinstance(value, (list, tuple)):
            raise InvalidRequestError(f"{_shown(place)} must be a list of filters, not {_kind(value)}")
        self._count(1 + len(value))
        read = [self.group(one, f"{place}[{index}]", level + 1) for index, one in enumerate(value)]
        parts = tuple(part for part, _ in read)
        return Every(parts) if name == "$and" else Some(parts), [plain for _, plain in read]

    def _conditions_of(self, path: Path, value: object, place: str, level: int) -> tuple[Node, Any]:
        if not isinstance(value, Mapping):
            self._count()
            operand = _scalar(value, place)
            return Comparison(path, "$eq", operand), operand
        if not value:
            raise InvalidRequestError(f"{_shown(place)} must name an operator: {', '.join(COMPARISONS)} or $not")
        if level > MAX_LEVELS:
            raise InvalidRequestError(f"{_shown(place)} lies too deep: conditions have at most {MAX_LEVELS} levels")
        parts: list[Node] = []
        plain: dict[str, Any] = {}
        for given, operand in value.items():
            name = _text(given, place)
            within = f"{place}.{name}"
            if name == "$not":
                self._count()
                if not isinstance(operand, Mapping):
                    raise InvalidRequestError(f"{_shown(within)} must be a mapping of operators, not {_kind(operand)}")
                part, plain[name] = self._conditions_of(path, operand, within, level + 1)
                parts.append(Not(part))
                continue
            if name not in COMPARISONS:
                raise _unknown(name, place, (*COMPARISONS, "$not"))
            self._count()
            checked = self._operand(name, operand, within)
            plain[name] = list(checked) if isinstance(checked, tuple) else checked
            parts.append(Comparison(path, name, checked))
        return Every(tuple(parts)), plain

    def _operand(self, operator: str, value: object, place: str) -> Any:
        if operator == "$exists":
            if not isinstance(value, bool):
                raise InvalidRequestError(f"{_shown(place)} must be True or False, not {_kind(value)}")
            return value
        if operator not in ("$in", "$nin"):
            return _scalar(value, place)
        if not isinstance(value, (list, tuple)):
            raise InvalidRequestError(f"{_shown(place)} must be a list of values, not {_kind(value)}")
        self._choices += len(value)
        if self._choices > MAX_CHOICES:
            raise InvalidRequestError(f"where must have at most {MAX_CHOICES:,} values in its lists")
        return tuple(_scalar(one, f"{place}[{index}]") for index, one in enumerate(value))

    def _count(self, more: int = 1) -> None:
        self._conditions += more
        if self._conditions > MAX_CONDITIONS:
            raise InvalidRequestError(f"where must have at most {MAX_CONDITIONS} conditions")


def _mapping(value: object, place: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"{_shown(place)} must be a mapping of conditions, not {_kind(value)}")
    return value


def _path(name: str, place: str) -> Path:
    path = tuple(name.split("."))
    if not all(path):
        raise InvalidRequestError(f"{_shown(place)} has the path {_quoted(name)}, which has an empty name in it")
    if len(path) > MAX_PARTS:
        raise InvalidRequestError(f"{_shown(place)} has a path of {len(path)} names: at most {MAX_PARTS} are allowed")
    return path


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError(f"{_shown(place)} must have texts as names, not {_kind(value)}")
    if has_unstorable(value):
        raise InvalidRequestError(f"{_shown(place)} must not have NUL or lone surrogates in a name")
    return value if type(value) is str else str.__str__(value)


def _scalar(value: object, place: str) -> Scalar:
    """Return a value to compare with, as a plain value of JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if has_unstorable(value):
            raise InvalidRequestError(f"{_shown(place)} must not contain NUL or lone surrogates")
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, int):
        if abs(value) >= 10**MAX_DIGITS:
            raise InvalidRequestError(f"{_shown(place)} must have at most {MAX_DIGITS:,} digits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidRequestError(f"{_shown(place)} must be finite")
        return float(value)
    hint = ": give $in for one of several values" if isinstance(value, (list, tuple, set, frozenset)) else ""
    raise InvalidRequestError(
        f"{_shown(place)} must be a text, a number, True, False or None, not {_kind(value)}{hint}"
    )


def _unknown(name: str, place: str, known: tuple[str, ...]) -> InvalidRequestError:
    if not name.startswith("$"):
        return InvalidRequestError(
            f"{_shown(place)} has the member {_quoted(name)}, which is no operator: "
            "a value to compare with is no mapping, and a member of an object is named with a dot, as in 'a.b'"
        )
    if name in _OPERATORS:
        return InvalidRequestError(f"{_shown(place)} has the operator {name} where it is not allowed")
    meant = did_you_mean(closest(name, known))
    return InvalidRequestError(f"{_shown(place)} has the unknown operator {_quoted(name)}{meant or _list_of(known)}")


def _list_of(known: tuple[str, ...]) -> str:
    return f": there are {', '.join(known)}"


def _quoted(name: str) -> str:
    return ascii(name if len(name) <= 60 else f"{name[:60]}…")


def _shown(place: str) -> str:
    return place if len(place) <= 200 and place.isprintable() else ascii(f"{place[:200]}…")


def _kind(value: object) -> str:
    return type(value).__name__
