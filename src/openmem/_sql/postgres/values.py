"""JSON as parameters of statements: its Python type does not say that the Postgres type is `jsonb`. Pure.

The wire form stands here too, so that both drivers send and read the same bytes. Vectors are those of the package
`pgvector`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from openmem._rules.drafting import is_large

_JSONB_VERSION: Final = b"\x01"
_REWRITTEN: Final = re.compile(r"[:,\[]-?(?:\d+(?:\.\d+)?[eE]|0\.0[,\]}])")
"""The signs of a number that `jsonb` would not give back as it is. To find them in a string does no harm."""


@dataclass(frozen=True, slots=True)
class Json:
    """A value for a `jsonb` parameter."""

    value: Any


@dataclass(frozen=True, slots=True)
class EncodedJson:
    """The binary form of a `jsonb` parameter, made already."""

    data: bytes


@dataclass(frozen=True, slots=True)
class LateJson:
    """A value of `jsonb` that takes long to read and is not read yet."""

    data: bytes

    def read(self) -> Any:
        """Return the value."""
        return decode_json(self.data)


def encode_json(value: Json | EncodedJson) -> bytes:
    """Return the binary form of `jsonb`: the value, an object or a list, or its JSON text where that says more.

    A number of `jsonb` is a decimal: `1e16` would come back as a whole number, and `-0.0` without its sign. So a value
    with such a number is kept as text, a JSON string, which no value of ours is by itself.
    """
    if isinstance(value, EncodedJson):
        return value.data
    text = json.dumps(value.value, ensure_ascii=False, separators=(",", ":"))
    if _REWRITTEN.search(text):
        text = json.dumps(text, ensure_ascii=False)
    return _JSONB_VERSION + text.encode()


def decode_json(data: bytes) -> Any:
    """Return the value that the binary form of `jsonb` holds."""
    value = json.loads(bytes(data)[1:])
    return json.loads(value) if isinstance(value, str) else value


def has_large_json(params: Sequence[Any]) -> bool:
    """Return whether encoding the parameters of a statement takes more than a few milliseconds."""
    for value in params:  # noqa: SIM110 - each statement comes here, and this takes half the time
        if type(value) is Json and is_large(value.value):
            return True
    return False


def with_json_encoded(params: Sequence[Any]) -> list[Any]:
    """Return the parameters of a statement with their JSON in its binary form."""
    return [EncodedJson(encode_json(value)) if type(value) is Json else value for value in params]


def with_json_read(row: Sequence[Any]) -> tuple[Any, ...]:
    """Return a row with everything in it that was left to be read later."""
    return tuple([value.read() if type(value) is LateJson else value for value in row])
