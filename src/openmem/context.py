"""Packs search results into a block of text for a prompt, never larger than the caller's token budget."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from numbers import Real
from typing import Final

from openmem.copies import Folding
from openmem.errors import InvalidRequestError
from openmem.quoting import FENCE_CLOSE, FENCE_OPEN, HEADER, quote
from openmem.types import ContextBlock, SearchResult

TokenCounter = Callable[[str], int]

ELLIPSIS: Final = "…"
MIN_WORDS: Final = 12

_ASCII_SIGN_COST: Final = 1.5
_LEAST_FRAME: Final = 11
_QUICK_BUDGET: Final = 1_000
_QUICK_LENGTH: Final = 20_000
_CJK: Final = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_PIECE: Final = re.compile(r"[A-Za-z]+|\d{1,3}|[^\sA-Za-z\d]")
_ASCII_WHOLE: Final = re.compile(r"[A-Za-z]{1,8}|\d{1,3}")
_SIGNS_ONLY: Final = {code: None for code in range(128) if chr(code).isalnum() or chr(code).isspace()}
_CJK_SIGN: Final = re.compile(f"[{_CJK}]")
_WORD: Final = re.compile(rf"[{_CJK}]|[^\s{_CJK}]+")


@dataclass(frozen=True, slots=True)
class _Note:
    memory_id: str
    score: float
    date: str
    text: str


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a language model makes of the text; rather too many than too few.

    Args:
        text: Any text. White space costs nothing.

    Returns:
        For English prose about 9 % more than the `o200k` tokenizer counts, rounded up.
    """
    if text.isascii():
        return math.ceil(len(_ASCII_WHOLE.findall(text)) + _ASCII_SIGN_COST * len(text.translate(_SIGNS_ONLY)))
    return math.ceil(sum(map(_piece_cost, _PIECE.findall(text))))


def build_context(
    results: Sequence[SearchResult], *, token_budget: int, token_counter: TokenCounter | None = None
) -> ContextBlock:
    """Return a fenced block of numbered notes that fits into the budget.

    The notes stand in the order of their scores. A note that does not fit is left out, and shorter ones after
    it may still be taken. Only the best one is cut short, if it is too long for the budget by itself.

    Args:
        results: What a search found.
        token_budget: Upper limit for the whole block, frame included, in tokens of the counter.
        token_counter: Counts the tokens of a text; `estimate_tokens` by default.

    Returns:
        The block. Line `[n]` is `citations[n - 1]`; when nothing fits, the text is empty. The field
        `tokens_estimated` says whether the built-in estimate was used.

    Raises:
        InvalidRequestError: The counter returned something that is no number of tokens.
    """
    count = estimate_tokens if token_counter is None else _checked(token_counter)
    notes = _pack(Folding(results), token_budget, count, _least_cost if token_counter is None else _no_cost)
    text, tokens = _proved(notes, token_budget, count)
    return ContextBlock.model_validate(
        {
            "text": text,
            "citations": [{"memory_id": note.memory_id, "score": note.score} for note in notes],
            "token_count": tokens,
            "tokens_estimated": token_counter is None,
        }
    )


def is_quick(results: Sequence[SearchResult], token_budget: int) -> bool:
    """Return whether a block of these results, with the estimate, is made in a millisecond or two.

    The way to a thread and back takes about as long, and far longer where many threads compete.

    Args:
        results: What a search found.
        token_budget: Upper limit for the whole block.
    """
    return token_budget <= _QUICK_BUDGET and sum(len(result.memory.content) for result in results) <= _QUICK_LENGTH


def _pack(folding: Folding, budget: int, count: TokenCounter, least: TokenCounter) -> list[_Note]:
    places = iter(range(len(folding.ranked)))
    best = next((note for place in places if (note := _note(folding, place, least, math.inf))), None)
    best = _fitted(best, budget, count) if best else None
    chosen = [best] if best else []
    used = count(_render(chosen))
    for place in places:
        note = _note(folding, place, least, budget - used)
        # Pieces are counted one by one, so that the work grows with the text and not with its square.
        cost = count(f"{_line(len(chosen) + 1, note)}\n") if note else 0
        if note and used + cost <= budget:
            chosen.append(note)
            used += cost
    return chosen


def _note(folding: Folding, place: int, least: TokenCounter, room: float) -> _Note | None:
    # In the order of what it costs to know: most results end here because there is no room for them.
    result = folding.ranked[place]
    memory = result.memory
    text = quote(memory.content)
    if not text or least(text) > room or not folding.keeps(place):
        return None
    return _Note(memory.id, result.score, (memory.valid_from or memory.created_at).date().isoformat(), text)


def _proved(notes: list[_Note], budget: int, count: TokenCounter) -> tuple[str, int]:
    # A counter need not be additive: only the count of the whole block is proof.
    while notes:
        text = _render(notes)
        tokens = count(text)
        if tokens <= budget:
            return text, tokens
        notes.pop()
    return "", 0


def _fitted(note: _Note, budget: int, count: TokenCounter) -> _Note | None:
    if count(_render([note])) <= budget:
        return note
    ends = [match.end() for match in _WORD.finditer(note.text)]

    def cut(words: int) -> _Note | None:
        short = replace(note, text=note.text[: ends[words - 1]] + ELLIPSIS)
        return short if count(_render([short])) <= budget else None

    high = MIN_WORDS
    while high < len(ends) and cut(high):
        high *= 2
    low, high, best = max(MIN_WORDS, high // 2), min(high, len(ends) - 1), None
    while low <= high:
        middle = (low + high) // 2
        short = cut(middle)
        best = short or best
        low, high = (middle + 1, high) if short else (low, middle - 1)
    return best


def _render(notes: Sequence[_Note]) -> str:
    lines = [_line(number, note) for number, note in enumerate(notes, start=1)]
    return "\n".join([HEADER, FENCE_OPEN, *lines, FENCE_CLOSE])


def _line(number: int, note: _Note) -> str:
    return f"[{number}] {note.date} {note.text}"


@lru_cache(maxsize=8192)
def _piece_cost(piece: str) -> float:
    if piece.isascii():
        if piece.isalpha():
            return 1 + (len(piece) - 1) // 8
        return 1.0 if piece.isdigit() else _ASCII_SIGN_COST
    if _CJK_SIGN.match(piece) or piece.isdecimal():
        return 1.0
    return 0.5 if piece.isalpha() else 2.0


def _least_cost(text: str) -> int:
    # Of a quoted text and the number and date before it, by the estimate: each word is one token, or half of one.
    words = text.count(" ") + 1
    return _LEAST_FRAME + (words if text.isascii() else (words + 1) // 2)


def _no_cost(text: str) -> int:
    return 0


def _checked(counter: TokenCounter) -> TokenCounter:
    def count(text: str) -> int:
        given: object = counter(text)
        tokens = float(given) if isinstance(given, Real) else math.nan
        if not 0 <= tokens < math.inf:
            raise InvalidRequestError("token_counter must return a number of tokens, 0 or more")
        return math.ceil(tokens)

    return count
