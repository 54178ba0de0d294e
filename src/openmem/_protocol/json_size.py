"""About how much memory JSON takes once it is read, which can be forty times its length: known before. Pure."""

from __future__ import annotations

import re
from typing import Final

MOST_OF_A_REPLY: Final = 96 * 1024 * 1024
"""Bytes that what a service answers may take once it is read."""
MOST_OF_A_PAGE: Final = 384 * 1024 * 1024
"""The same for a page, of 8 MiB at most, whose memories may hold nothing but the smallest of values."""

_VALUE: Final = 32
_CONTAINER: Final = 80
_MEMBER: Final = 60
_STRING: Final = 60
# To the next quote that no backslash is before, or to the end: every byte is looked at once.
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.?)*+(?:"|\Z)', re.DOTALL)


def is_larger_than(body: bytes, most: int) -> bool:
    """Return whether reading some JSON may take more memory than that, in bytes.

    Args:
        body: The JSON, or what may be some.
        most: Bytes.
    """
    # As if there were no strings: nearly always that is little enough.
    if len(body) + _outside(body) + body.count(b'"') // 2 * _STRING <= most:
        return False
    total = offset = 0
    for found in _STRINGS.finditer(body):
        total += _outside(body[offset : found.start()]) + found.end() - found.start() + _STRING
        offset = found.end()
        if total > most:
            return True
    return total + _outside(body[offset:]) > most


def _outside(part: bytes) -> int:
    """Return what the values, lists, objects and members take whose signs are in some JSON without strings."""
    containers = part.count(b"[") + part.count(b"{")
    return part.count(b",") * _VALUE + containers * _CONTAINER + part.count(b":") * _MEMBER
