"""Cursors: an opaque, versioned, bounded text that says where the next page of one query begins."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from openmem.errors import InvalidRequestError, ProviderError

# The longest position is a user and an id, of 256 characters of four bytes each.
MAX_CURSOR: Final = 4096

_VERSION: Final = 1
_INT64: Final = 1 << 63


def encode_cursor(kind: str, position: Sequence[str | int], binding: Sequence[object]) -> str:
    """Return a cursor.

    Args:
        kind: What is being paged through, such as `list`.
        position: Where the next page begins, such as the time and id of the last item.
        binding: All that defines the query; a cursor works with the same binding only. The `repr` of each
            part must be the same in every process.

    Returns:
        Unpadded URL-safe base 64, at most 4,096 characters.

    Raises:
        ValueError: The position is too long or holds text that is not Unicode.
    """
    body = json.dumps([_VERSION, kind, _digest(binding), *position], ensure_ascii=False, separators=(",", ":")).encode()
    text = base64.urlsafe_b64encode(body).rstrip(b"=").decode("ascii")
    if len(text) > MAX_CURSOR:
        raise ValueError(f"a cursor has at most {MAX_CURSOR} characters")
    return text


def decode_cursor(text: object, kind: str, types: Sequence[type], binding: Sequence[object]) -> tuple[Any, ...]:
    """Return the position that `encode_cursor` put into the text.

    Args:
        text: The cursor, as the caller gave it.
        kind: As in `encode_cursor`.
        types: The type of each part of the position, `str` or `int`.
        binding: As in `encode_cursor`.

    Raises:
        InvalidRequestError: `malformed cursor`: junk, another version, or a cursor of another query.
    """
    try:
        return _decode(text, kind, types, binding)
    except (ValueError, TypeError, RecursionError):
        raise InvalidRequestError("malformed cursor") from None


class CursorTrail:
    """The cursors of one run through all pages: a provider that gives one twice would be asked for ever.

    Takes 16 bytes and their place in a set for each page.
    """

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def follow(self, cursor: str | None) -> str | None:
        """Return the cursor that leads to the next page, or `None` at the end.

        Raises:
            ProviderError: It has led to a page already.
        """
        if cursor is not None:
            mark = hashlib.blake2b(cursor.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            if mark in self._seen:
                raise ProviderError("the provider gave a cursor again that has led to a page already")
            self._seen.add(mark)
        return cursor


def _decode(text: object, kind: str, types: Sequence[type], binding: Sequence[object]) -> tuple[Any, ...]:
    if not isinstance(text, str) or len(text) > MAX_CURSOR:
        raise ValueError
    body = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    _version, _kind, _binding, *position = json.loads(body)
    if [type(part) for part in position] != list(types) or not all(map(_storable, position)):
        raise ValueError
    # A position has one spelling: another version, query, padding or escape makes another text.
    if encode_cursor(kind, position, binding) != text:
        raise ValueError
    return tuple(position)


def _storable(part: object) -> bool:
    if isinstance(part, str):
        return "\x00" not in part
    return isinstance(part, int) and -_INT64 <= part < _INT64


def _digest(binding: Sequence[object]) -> str:
    return hashlib.sha256(repr(tuple(binding)).encode("utf-8", "backslashreplace")).hexdigest()[:16]
