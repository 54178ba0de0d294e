"""About how many tokens a text costs, without a model: an estimate that errs upwards."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

SIGN_COST: Final = 1.5
CJK: Final = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
# A word in parts of eight letters costs as much as the whole, and no part is longer than what is kept of it may be.
_PIECE: Final = re.compile(r"[A-Za-z]{1,8}|\d{1,3}|[^\sA-Za-z\d]")
_CJK_SIGN: Final = re.compile(f"[{CJK}]")

_ASCII: Final = [chr(code) for code in range(128)]
_LETTERS: Final = {ord(sign): sign if sign.isalpha() else " " for sign in _ASCII}
_DIGITS: Final = {ord(sign): sign if sign.isdigit() else " " for sign in _ASCII}
_NO_WORDS: Final = {ord(sign): None for sign in _ASCII if sign.isalpha() or sign.isspace()}
_NO_DIGITS: Final = {ord(sign): None for sign in _ASCII if sign.isdigit()}


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a language model makes of the text; rather too many than too few.

    Args:
        text: Any text. White space costs nothing.

    Returns:
        For English prose about 9 % more than the `o200k` tokenizer counts, rounded up.
    """
    return math.ceil(estimate(text))


def estimate(text: str) -> float:
    """Return the same before rounding, in halves of tokens. That of a text is the sum of those of its words."""
    if not text.isascii():
        return sum(map(_piece_cost, _PIECE.findall(text)))
    words = text.translate(_LETTERS).split()
    tokens = len(words) + sum([(len(word) - 1) // 8 for word in words if len(word) > 8])
    if others := text.translate(_NO_WORDS):
        signs = others.translate(_NO_DIGITS)
        numbers = text.translate(_DIGITS).split() if len(signs) < len(others) else ()
        return tokens + SIGN_COST * len(signs) + sum([(len(number) + 2) // 3 for number in numbers])
    return tokens


def least_tokens(text: str) -> float:
    """Return at least how many that are of a text whose words have one space between them; quick to know."""
    words = text.count(" ") + 1
    return words if text.isascii() else words / 2


@lru_cache(maxsize=8192)
def _piece_cost(piece: str) -> float:
    if piece.isascii():
        return 1.0 if piece.isalnum() else SIGN_COST
    if _CJK_SIGN.match(piece) or piece.isdecimal():
        return 1.0
    return 0.5 if piece.isalpha() else 2.0
