"""The metadata of a memory: a JSON object of the caller's, checked, copied, and patched as RFC 7396 has it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sized
from typing import Any, Final, TypeAlias

from openmem._text.misspellings import shown
from openmem.errors import InvalidRequestError

MAX_METADATA: Final = 65_536
"""Bytes of JSON that metadata may take, in UTF-8 and without spaces."""
MAX_METADATA_DEPTH: Final = 8

_MOST_VALUES: Final = MAX_METADATA // 2  # each takes a byte, and another one parts it from the next
_MOST_BITS: Final = 13_952  # JSON is read with numbers of up to 4,300 digits
_MOST_OF_A_CHARACTER: Final = 6  # bytes: "\\u0001"
_MOST_OF_A_PLACE: Final = 32  # a float, and what stands around a value and its name
_LONGEST_PATH: Final = 120
_FEW: Final = 100
_SHORT: Final = 8_000
"""Characters that together are far from the limit, however they are spelt: with 100 members, below 53,000 bytes."""
_INT64: Final = 1 << 63
_BARE: Final = re.compile(r"[^\W\d]\w*", re.ASCII)
_dumps: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_Path: TypeAlias = "str | tuple[_Path, object]"


def check_metadata(value: object, name: str = "metadata") -> dict[str, Any]:
    """Return a copy of metadata, as JSON would give it back.

    Args:
        value: A mapping of at most 65,536 bytes of JSON, objects and lists at most 8 levels deep.
        name: What to call it in the error.

    Raises:
        InvalidRequestError: It is no mapping, too large or too deep, or holds what cannot be stored. The message names
            the place, such as `metadata.a.b[2]`.
    """
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"{name} must be a JSON object, not {_kind(value)}")
    plain = _copy_of_plain(value)
    if plain is not None:
        return plain
    copier = _Copier(name)
    copy: dict[str, Any] = copier.of(value, name, 1)
    if copier.most > MAX_METADATA:
        check_metadata_size(copy, name)
    return copy


def check_metadata_size(value: Mapping[str, Any], name: str = "metadata") -> None:
    """Refuse metadata of more than 65,536 bytes of JSON."""
    text = _dumps(value)
    size = len(text) if text.isascii() else len(text.encode())
    if size > MAX_METADATA:
        raise InvalidRequestError(f"{name} must have at most {MAX_METADATA} bytes of JSON, not {size}")


def patched(metadata: Mapping[str, Any] | None, patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata changed by a JSON Merge Patch (RFC 7396): `None` takes a member away, an object is merged.

    Args:
        metadata: What there is, or `None`.
        patch: The members that change, as `check_metadata` returned them.

    Raises:
        InvalidRequestError: The result is too large.
    """
    merged = _merged(metadata, patch)
    check_metadata_size(merged)
    return merged


def same_json(one: Any, other: Any) -> bool:
    """Return whether two values are the same to JSON, where 1, 1.0 and true are three things."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, str | bool | int | None):
        return True
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _merged(target: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value) if isinstance(value, dict) else value
    return merged


class _Copier:
    """Copies values and counts them: what is far too large is not looked at to its end.

    A path is the path above and a name or a number; it is put together for an error only.

    Attributes:
        most: No fewer bytes of JSON than the copies take.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = _MOST_VALUES
        self.most = 0

    def of(self, value: object, path: _Path, depth: int) -> Any:
        """Return a copy of the value at a path, of plain types."""
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            self.most += _MOST_OF_A_CHARACTER * len(value)
            return _text(value, path)
        if isinstance(value, int):
            bits = value.bit_length()
            if bits > _MOST_BITS:
                raise InvalidRequestError(f"{_named(path)} must have at most 4,200 digits")
            self.most += bits >> 1
            return int(value)
        if isinstance(value, float):
            if not math.isfinite(value):
                raise InvalidRequestError(f"{_named(path)} must be finite")
            return float(value)
        if isinstance(value, Mapping):
            self._enter(value, depth)
            return {self._member(name, path): self.of(one, (path, name), depth + 1) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            self._enter(value, depth)
            return [self.of(one, (path, index), depth + 1) for index, one in enumerate(value)]
        raise InvalidRequestError(f"{_named(path)} must be a JSON value, not {_kind(value)}")

    def _enter(self, value: Sized, depth: int) -> None:
        if depth > MAX_METADATA_DEPTH:
            raise InvalidRequestError(f"{self._name} must be nested at most {MAX_METADATA_DEPTH} levels deep")
        self._left -= len(value)
        self.most += _MOST_OF_A_PLACE * (len(value) + 1)
        if self._left < 0:
            raise InvalidRequestError(f"{self._name} must have at most {MAX_METADATA} bytes of JSON")

    def _member(self, name: object, path: _Path) -> str:
        if not isinstance(name, str):
            raise InvalidRequestError(f"a name in {_named(path)} must be a string, not {_kind(name)}")
        self.most += _MOST_OF_A_CHARACTER * len(name)
        return _text(name, path, "a name in ")


def _copy_of_plain(value: Mapping[Any, object]) -> dict[str, Any] | None:
    """Return a copy of a few short values without a level below, as most metadata are; `None` for the long way."""
    if type(value) is not dict or len(value) > _FEW:
        return None
    size = 0
    for name, one in value.items():
        kind = type(one)
        if kind is str:
            if not one.isascii() or "\x00" in one:
                return None
            size += len(one)
        elif kind is int:
            if not -_INT64 <= one < _INT64:
                return None
        elif not (one is None or kind is bool or (kind is float and math.isfinite(one))):
            return None
        if type(name) is not str or not name.isascii() or "\x00" in name:
            return None
        size += len(name)
    return value.copy() if size <= _SHORT else None


def _text(value: str, path: _Path, what: str = "") -> str:
    wrong = "\x00" in value
    if not wrong and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            wrong = True
    if wrong:
        raise InvalidRequestError(f"{what}{_named(path)} must not contain NUL or lone surrogates")
    return value if type(value) is str else str.__str__(value)


def _named(path: _Path) -> str:
    parts: list[str] = []
    while isinstance(path, tuple):
        path, part = path
        plain = isinstance(part, str) and _BARE.fullmatch(part)
        parts.append(f".{part}" if plain else f"[{part if isinstance(part, int) else shown(part)}]")
    text = f"{path}{''.join(reversed(parts))}"
    return text if len(text) <= _LONGEST_PATH else f"{text[:_LONGEST_PATH]}…"


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
