"""The look of a text: in lower case, in signs and letters of ASCII where it has look-alikes of them, without marks.

Two texts with the same skeleton can be taken for one another, as Unicode Technical Standard #39 has it. Here a skeleton
serves to find what looks like a frame, and is never shown.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from openmem._text.confusables import LOOK_ALIKES
from openmem._text.normalization import normalized

_PLAIN: Final = {sign: letter for letter, signs in LOOK_ALIKES.items() for sign in signs}
_KEPT: Final = 50_000
_DROPPED: Final = frozenset({"Mn", "Me", "Mc", "Cf", "Cc"})


class _Table(dict[int, str]):
    """The skeletons of single characters, worked out when they are met."""

    def __missing__(self, code: int) -> str:
        found = _skeleton_of(chr(code))
        if len(self) < _KEPT:
            self[code] = found
        return found


_TABLE: Final = _Table()


def skeleton(text: str) -> str:
    """Return what a text looks like, its white space as it is."""
    return text.lower() if text.isascii() else text.translate(_TABLE)


def places(text: str) -> list[int]:
    """Return for each character of a text's skeleton where the one stands in the text that it comes from."""
    if text.isascii():
        return list(range(len(text)))
    return [place for place, sign in enumerate(text) for _ in _TABLE[ord(sign)]]


def _skeleton_of(sign: str) -> str:
    if sign in _PLAIN:
        return _PLAIN[sign]
    parts = normalized("NFKD", sign.casefold())
    return "".join(_PLAIN.get(part, part.lower()) for part in parts if unicodedata.category(part) not in _DROPPED)
