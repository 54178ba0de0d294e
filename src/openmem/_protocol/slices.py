"""Reads a long list in a reply slice by slice, so that other threads have their turn in between. Pure.

The library that checks replies lets no other thread run until it is done, an event loop neither.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, TypeAdapter

T = TypeVar("T")

SLICE_ITEMS: Final = 64
SLICE_CHARACTERS: Final = 128 * 1024
MOST_ITEMS: Final = 20_000
"""A list of more is read as a whole: no reply of the protocol has as many."""

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_scan: Final = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Sliced:
    """The way in which a reply with a list is read.

    Attributes:
        items: Reads some of the list.
        member: The member of the reply's object that is the list; `None` where the reply is the list itself.
    """

    items: TypeAdapter[Any]
    member: str | None = None


def read_in_slices(body: bytes, whole: TypeAdapter[T], how: Sliced) -> T | None:
    """Return what a reply says, or `None` if it has to be read in one piece: so that it is clear what is wrong.

    Args:
        body: The reply.
        whole: Reads all of it.
        how: Where the list is.

    Raises:
        ValidationError: It is not what it must be.
    """
    try:
        text = body.decode()
        start, bounds = _list_in(text, how.member)
    except (ValueError, StopIteration, RecursionError, IndexError):
        return None
    items: list[Any] = []
    for first, last in _slices(bounds):
        items += how.items.validate_json(f"[{text[first:last]}]", strict=True)
    end = _after_space(text, bounds[-1][1] if bounds else start)
    shell = whole.validate_json(text[:start] + text[end:], strict=True)
    return _with_items(shell, how.member, items)


def _with_items(shell: T, member: str | None, items: list[Any]) -> T:
    filled: Any = shell
    if isinstance(filled, BaseModel) and member is not None:
        filled = filled.model_copy(update={member: items})
    elif isinstance(filled, dict):
        filled[member] = items
    else:
        filled = items
    value: T = filled
    return value


def _list_in(text: str, member: str | None) -> tuple[int, list[tuple[int, int]]]:
    """Return where the list begins, after its bracket, and where each of its items begins and ends.

    Raises:
        ValueError: There is no such list, or two, or it is too long.
    """
    offset = _after_space(text, 0)
    if member is None:
        start = _after(text, offset, "[")
        return start, _items(text, start)
    found: tuple[int, list[tuple[int, int]]] | None = None
    offset = _after(text, offset, "{")
    while True:
        name, offset = _scan(text, _after_space(text, offset))
        offset = _after_space(text, _after(text, _after_space(text, offset), ":"))
        if name == member:
            if found is not None:
                raise ValueError  # a member twice
            start = _after(text, offset, "[")
            found = start, _items(text, start)
            offset = _after(text, _after_space(text, found[1][-1][1] if found[1] else start), "]")
        else:
            offset = _scan(text, offset)[1]
        offset = _after_space(text, offset)
        if text[offset] == "}":
            break
        offset = _after(text, offset, ",")
    if found is None:
        raise ValueError  # no such member
    return found


def _items(text: str, start: int) -> list[tuple[int, int]]:
    bounds: list[tuple[int, int]] = []
    offset = _after_space(text, start)
    while text[offset] != "]" or bounds:
        _, end = _scan(text, offset)
        bounds.append((offset, end))
        if len(bounds) > MOST_ITEMS:
            raise ValueError  # too many
        offset = _after_space(text, end)
        if text[offset] == "]":
            break
        offset = _after_space(text, _after(text, offset, ","))
    return bounds


def _slices(bounds: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    first = 0
    for position, (_, end) in enumerate(bounds):
        size = end - bounds[first][0]
        if position + 1 == len(bounds) or position + 1 - first >= SLICE_ITEMS or size >= SLICE_CHARACTERS:
            yield bounds[first][0], end
            first = position + 1


def _after(text: str, offset: int, sign: str) -> int:
    if text[offset] != sign:
        raise ValueError  # not this sign
    return offset + 1


def _after_space(text: str, offset: int) -> int:
    found = _SPACE.match(text, offset)
    assert found is not None
    return found.end()
