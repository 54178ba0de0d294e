"""Reads query strings: strict where a value or a name is wrong, silent about parameters that no one here knows."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from openmem._protocol.json_bodies import json_of_text
from openmem._text.misspellings import near_miss
from openmem.errors import InvalidRequestError

MAX_FIELDS: Final = 200
NAMES: Final = (
    *("user_id", "scope", "q", "limit", "tags", "tag", "min_score", "mode", "cursor", "since", "until", "as_of"),
    *("include_superseded", "include_expired", "explain", "purpose", "app", "conflict", "prefix", "depth"),
    *("order", "descending", "offset", "where"),
)
"""The parameters of all routes. What is nearly called like one of them is meant to be it, and would be ignored."""

_KNOWN: Final = frozenset(NAMES)
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?", re.ASCII)
# A plus sign that was not encoded arrives as a space.
_LOST_PLUS: Final = re.compile(r" (?=\d\d(:?\d\d)?$)", re.ASCII)


class Parameters:
    """The parameters of one request. What was not given is `None`; a name given twice is refused."""

    __slots__ = ("_values",)

    def __init__(self, query: bytes) -> None:
        self._values: dict[str, list[str]] = {}
        if not query:
            return
        try:
            pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
        except ValueError:
            message = f"the query string must be percent-encoded UTF-8 with at most {MAX_FIELDS} parameters"
            raise InvalidRequestError(message) from None
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)
        for name in self._values.keys() - _KNOWN:
            meant = near_miss(name, NAMES)
            if meant is not None:
                raise InvalidRequestError(f"the parameter {name!a} is unknown: did you mean {meant!r}?")

    def texts(self, name: str) -> list[str] | None:
        """Return all values of a parameter that may be given many times."""
        return self._values.get(name)

    def text(self, name: str) -> str | None:
        """Return a text as it is."""
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise InvalidRequestError(f"{name} must be given once")
        return values[0]

    def text_named(self, name: str, *, elsewhere: str) -> str | None:
        """Return a text; under the name that it has in other requests only, it is refused with a word on this one."""
        text = self.text(name)
        if text is None and self.text(elsewhere) is not None:
            raise InvalidRequestError(f"the parameter {elsewhere!r} is unknown: did you mean {name!r}?")
        return text

    def word(self, name: str, default: str) -> str:
        """Return a text, or what stands for it."""
        text = self.text(name)
        return default if text is None else text

    def whole(self, name: str, default: int) -> int:
        """Return a whole number."""
        text = self.text(name)
        if text is None:
            return default
        if not _WHOLE.fullmatch(text):
            raise InvalidRequestError(f"{name} must be a whole number")
        return int(text)

    def number(self, name: str) -> float | None:
        """Return a decimal number."""
        text = self.text(name)
        if text is None:
            return None
        if not _NUMBER.fullmatch(text):
            raise InvalidRequestError(f"{name} must be a number")
        return float(text)

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a truth value; false if it was not given, unless another default is named."""
        text = self.text(name)
        if text is None:
            return default
        if text not in _FLAGS:
            raise InvalidRequestError(f"{name} must be true or false")
        return _FLAGS[text]

    def json(self, name: str) -> Any:
        """Return a value that is given as JSON text."""
        text = self.text(name)
        return None if text is None else json_of_text(text, name)

    def time(self, name: str) -> datetime | None:
        """Return a point in time."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return datetime.fromisoformat(_LOST_PLUS.sub("+", text))
        except ValueError:
            message = f"{name} must be ISO 8601 text such as 2026-01-31T12:00:00Z"
            raise InvalidRequestError(message) from None
