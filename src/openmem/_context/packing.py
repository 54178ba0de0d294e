"""Packs what a search found into a block of text for a prompt, never larger than the caller's token budget."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Final, NamedTuple, TypeAlias

from openmem._context.near_duplicates import Deduplicator
from openmem._context.quoting import FENCE_CLOSE, FENCE_OPEN, HEADER, may_shorten, quote
from openmem._context.tokens import CJK, estimate, least_tokens
from openmem._model.candidates import Candidate, best_first
from openmem.errors import InvalidRequestError
from openmem.types import ContextBlock, TokenCounter

Count = Callable[[str], float]

ELLIPSIS: Final = "…"
MIN_WORDS: Final = 12
MIN_COMPARED: Final = 40

_FRAME: Final = estimate(f"{HEADER}\n{FENCE_OPEN}\n{FENCE_CLOSE}")
_LINE_START: Final = 11
_LEAST_LINE: Final = 12
_QUICK_BUDGET: Final = 1_000
_QUICK_LENGTH: Final = 20_000
_WORD: Final = re.compile(rf"[{CJK}]|[^\s{CJK}]+")


class _Note(NamedTuple):
    memory_id: str
    score: float
    date: str
    text: str


def build_context(
    candidates: Sequence[Candidate], *, token_budget: int, token_counter: TokenCounter | None = None
) -> ContextBlock:
    """Return a fenced block of numbered notes that fits into the budget.

    The notes stand in the order of their scores. A note that does not fit is left out, and shorter ones after
    it may still be taken. Only the best one is cut short, if it is too long for the budget by itself.

    Args:
        candidates: What a search found.
        token_budget: Upper limit for the whole block, frame included, in tokens of the counter.
        token_counter: Counts the tokens of a text; `estimate_tokens` by default.

    Returns:
        The block. Line `[n]` is `citations[n - 1]`; when nothing fits, the text is empty. The field
        `tokens_estimated` says whether the built-in estimate was used.

    Raises:
        InvalidRequestError: The counter returned something that is no number of tokens.
    """
    if token_counter is None:
        notes, used = _pack_estimated(candidates, token_budget)
        text, tokens = (_render(notes), math.ceil(used)) if notes else ("", 0)
    else:
        count = _checked(token_counter)
        notes = _pack(Deduplicator(candidates), token_budget, _Counted(count))[0]
        text, tokens = _proved(notes, token_budget, count)
    return ContextBlock.model_validate(
        {
            "text": text,
            "citations": [{"memory_id": note.memory_id, "score": note.score} for note in notes],
            "token_count": tokens,
            "tokens_estimated": token_counter is None,
        }
    )


def is_quick(candidates: Sequence[Candidate], token_budget: int) -> bool:
    """Return whether a block of these candidates, with the estimate, is made in less than a millisecond or so.

    The way to a thread and back takes about as long, and far longer where many threads compete.

    Args:
        candidates: What a search found.
        token_budget: Upper limit for the whole block.
    """
    return token_budget <= _QUICK_BUDGET and sum(len(one.content) for one in candidates) <= _QUICK_LENGTH


class _Estimated:
    """The built-in estimate, which is known of a line before it is written, and of a whole by its parts."""

    def block(self, notes: Sequence[_Note]) -> float:
        return _FRAME + sum(self.line(number, note) for number, note in enumerate(notes, start=1))

    def line(self, number: int, note: _Note) -> float:
        # A bracket costs as much as a hyphen, a date two signs and four numbers.
        return _LINE_START - 1 + (len(str(number)) + 2) // 3 + estimate(note.text)

    def room(self, left: float) -> float:
        return left


class _Counted:
    """The caller's counter, of which nothing is known beforehand."""

    def __init__(self, count: Count) -> None:
        self._count = count

    def block(self, notes: Sequence[_Note]) -> float:
        return self._count(_render(notes))

    def line(self, number: int, note: _Note) -> float:
        return self._count(f"{_line(number, note)}\n")

    def room(self, left: float) -> float:
        return math.inf


_Meter: TypeAlias = _Estimated | _Counted


def _pack_estimated(candidates: Sequence[Candidate], budget: int) -> tuple[list[_Note], float]:
    # To look for copies takes most of the time. The block holds no more notes than these, and mostly far fewer.
    ranked = best_first(candidates)
    most = max(MIN_COMPARED, budget // _LEAST_LINE)
    cut = _end_of_texts(ranked, most)
    notes, used = _pack(Deduplicator(ranked[:cut]), budget, _Estimated())
    if any(_might_fit(candidate, budget - used) for candidate in ranked[cut:]):
        return _pack(Deduplicator(ranked), budget, _Estimated())
    return notes, used


def _end_of_texts(ranked: Sequence[Candidate], most: int) -> int:
    # A text that comes again costs next to nothing, so it does not count again.
    seen: set[str] = set()
    for rank, candidate in enumerate(ranked):
        seen.add(candidate.content)
        if len(seen) > most:
            return rank
    return len(ranked)


def _might_fit(candidate: Candidate, room: float) -> bool:
    text = _quoted(candidate, room) if room >= _LEAST_LINE else ""
    return bool(text) and _LINE_START + estimate(text) <= room


def _pack(deduplicator: Deduplicator, budget: int, meter: _Meter) -> tuple[list[_Note], float]:
    ranks = iter(range(len(deduplicator.ranked)))
    best = next((note for rank in ranks if (note := _note(deduplicator, rank, math.inf))), None)
    chosen, exact = _first(best, budget, meter)
    used = math.ceil(exact)
    for rank in ranks:
        room = meter.room(budget - used)
        if room < _LEAST_LINE:
            break
        note = _note(deduplicator, rank, room)
        # Lines are counted one by one, so that the work grows with the text and not with its square.
        cost = meter.line(len(chosen) + 1, note) if note else 0
        if note and used + cost <= budget:
            chosen.append(note)
            used += math.ceil(cost)
            exact += cost
    return chosen, exact


def _first(best: _Note | None, budget: int, meter: _Meter) -> tuple[list[_Note], float]:
    chosen = [best] if best else []
    used = meter.block(chosen)
    if best and used > budget:
        short = _shortened(best, budget, meter)
        chosen = [short] if short else []
        used = meter.block(chosen)
    return chosen, used


def _note(deduplicator: Deduplicator, rank: int, room: float) -> _Note | None:
    if deduplicator.is_known_copy(rank):
        return None
    candidate = deduplicator.ranked[rank]
    text = _quoted(candidate, room)
    if not text or not deduplicator.keeps(rank):
        return None
    return _Note(candidate.id, candidate.score, candidate.since.date().isoformat(), text)


def _quoted(candidate: Candidate, room: float) -> str:
    # In the order of what it costs to know: most candidates end here because there is no room for them.
    if _is_longer(candidate.content, room):
        return ""
    text = quote(candidate.content)
    return text if _LINE_START + least_tokens(text) <= room else ""


def _proved(notes: list[_Note], budget: int, count: Count) -> tuple[str, int]:
    # A counter need not be additive, as the estimate is: only the count of the whole block is proof.
    while notes:
        text = _render(notes)
        tokens = count(text)
        if tokens <= budget:
            return text, math.ceil(tokens)
        notes.pop()
    return "", 0


def _shortened(note: _Note, budget: int, meter: _Meter) -> _Note | None:
    ends = [match.end() for match in _WORD.finditer(note.text)]

    def cut(words: int) -> _Note | None:
        short = note._replace(text=note.text[: ends[words - 1]] + ELLIPSIS)
        return short if meter.block([short]) <= budget else None

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


def _is_longer(text: str, room: float) -> bool:
    # Whether its line is, by the estimate. Quoting leaves all of these texts but spaces; a token has eight letters.
    least = _LINE_START + (len(text) - text.count(" ")) / 8
    return least > room and text.isascii() and text.isprintable() and not may_shorten(text)


def _checked(counter: TokenCounter) -> Count:
    def count(text: str) -> int:
        given: object = counter(text)
        tokens = float(given) if isinstance(given, Real) else math.nan
        if not 0 <= tokens < math.inf:
            raise InvalidRequestError("token_counter must return a number of tokens, 0 or more")
        return math.ceil(tokens)

    return count
