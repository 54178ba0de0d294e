"""Finds the known name that a misspelt one stands for.

A name of the caller's own must not be taken for a misspelling, because what it holds is kept; so the rules for data are
narrow, and those for arguments, which are refused anyway, are wide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any, Final

MAX_NAME: Final = 40
"""Longest name that can be a misspelling, in characters."""

# Words that people have use for, one letter away from a name of the protocol.
_WORDS: Final = frozenset({"score", "slope", "shape", "context", "consent", "contest", "course", "superseded"})

# What arguments and members are called elsewhere, and what they are called here.
_ELSEWHERE: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("k", "n", "topk", "count", "maxresults", "numresults", "pagesize", "size"), ("limit",)),
    **dict.fromkeys(("text", "memory", "message", "body", "data"), ("content", "query", "q")),
    **dict.fromkeys(("q", "question", "prompt", "search", "query"), ("query", "q")),
    **dict.fromkeys(("maxtoken", "maxtokens", "tokens", "budget"), ("token_budget",)),
    **dict.fromkeys(("threshold", "minrelevance", "scorethreshold"), ("min_score",)),
    **dict.fromkeys(("namespace", "path", "folder", "category"), ("scope",)),
    **dict.fromkeys(("labels", "categories"), ("tags",)),
    **dict.fromkeys(("metadata", "meta"), ("extra",)),
    **dict.fromkeys(("page", "offset", "after"), ("cursor",)),
    **dict.fromkeys(("memoryid", "docid"), ("id",)),
}


def near_miss(name: str, known: Iterable[str]) -> str | None:
    """Return the name that a member of an object was meant to have, or `None` for one of the caller's own.

    `user` and `userid` are near misses of `user_id`, `scoope` of `scope`, `contnet` of `content`; `score` is none.

    Args:
        name: What is written there.
        known: The names that there are.
    """
    return _near_miss(name, tuple(known)) if len(name) <= MAX_NAME else None


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like another one, or means the same, or `None` if none does."""
    import difflib  # by who misspells only

    names = [*known]
    if len(name) > MAX_NAME:
        return None
    found = near_miss(name, names) or next(iter(difflib.get_close_matches(name, names, 1, 0.6)), None)
    found = found or next((other for other in _ELSEWHERE.get(_plain(name), ()) if other in names), None)
    return found or next((other for other in names if len(other) > 2 and name.startswith(other)), None)


def did_you_mean(name: str | None) -> str:
    """Return the end of a sentence that says that something is unknown."""
    return "" if name is None else f": did you mean {name!r}?"


def shown(name: object) -> str:
    """Return a name as an error may show it: in ASCII, and not too much of it."""
    text = str(name)
    return ascii(text) if len(text) <= 80 else f"{text[:80]!a}…"


def explain_call(function: Callable[..., Any], named: Mapping[str, object], error: TypeError) -> str | None:
    """Return what is wrong with a call that fits no parameters, or `None` if it failed in the function itself.

    Args:
        function: What was called.
        named: Its keyword arguments.
        error: What the interpreter said.
    """
    if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        return None
    import inspect

    parameters = [name for name in inspect.signature(function).parameters if name != "self"]
    for name in named:
        if name not in parameters:
            meant = closest(name, [each for each in parameters if each not in named])
            if meant is not None:
                return f"{function.__name__}() has no argument {shown(name)}{did_you_mean(meant)}"
    return None


def innermost(traceback: TracebackType | None) -> TracebackType | None:
    """Return the last part of a traceback: the line that raised."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback


@lru_cache(maxsize=1024)
def _near_miss(name: str, known: tuple[str, ...]) -> str | None:
    if name in _WORDS or name in known:
        return None
    plain = _plain(name)
    letters = frozenset(plain)
    same = next((other for other, meant in _prepared(known) if meant[0] == plain), None)
    return same or next((other for other, meant in _prepared(known) if _is_slip(plain, letters, *meant)), None)


@lru_cache(maxsize=64)
def _prepared(known: tuple[str, ...]) -> list[tuple[str, tuple[str, frozenset[str]]]]:
    return [(name, (_plain(name), frozenset(_plain(name)))) for name in known]


def _plain(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "").replace(" ", "")


def _is_slip(given: str, letters: frozenset[str], meant: str, wanted: frozenset[str]) -> bool:
    if given == meant or given + "id" == meant:
        return True
    if abs(len(given) - len(meant)) > 2 or len(letters ^ wanted) > 4:  # most names end here
        return False
    if len(meant) <= 3:  # nearly everything is one letter away from a name so short
        return given == meant + "s" or (sorted(given) == sorted(meant) and _is_within(1, given, meant))
    if len(meant) == 4 and len(given) == 4 and letters != wanted:
        return False
    return _is_within(1 if len(meant) < 8 and sorted(given) != sorted(meant) else 2, given, meant)


def _is_within(limit: int, one: str, other: str) -> bool:
    """Return whether so many letters put in, left out, replaced or swapped with their neighbour make the difference.

    Only what lies close to the diagonal of the table can stay below the limit, so only that is filled in: the work
    grows with the length of a name, not with its square.
    """
    far = limit + 1
    before: dict[int, int] = {}
    row = {j: j for j in range(min(len(other), limit) + 1)}
    for i, letter in enumerate(one, 1):
        earlier, before = before, row
        row = {}
        for j in range(max(0, i - limit), min(len(other), i + limit) + 1):
            if j == 0:
                row[0] = i
                continue
            replaced = before.get(j - 1, far) + (letter != other[j - 1])
            row[j] = min(before.get(j, far) + 1, row.get(j - 1, far) + 1, replaced)
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == other[j - 1]:
                row[j] = min(row[j], earlier.get(j - 2, far) + 1)
        if min(row.values(), default=far) > limit:
            return False
    return row.get(len(other), far) <= limit
