"""Ids as people read and type them: the last characters, as many as tell them apart.

The beginning of an id is the time, which memories of one moment share; its end is random.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import typer

if TYPE_CHECKING:
    from openmem import Memory

T = TypeVar("T")

SHORT: Final = 8
_LEAST: Final = 4  # what is shorter is hardly meant to be the end of an id
_MOST_NAMED: Final = 5
_PAGE: Final = 500
# Ids that this library or a vendor made. Any other is the user's own name for a memory, and is shown as it is.
_MADE: Final = re.compile(r"mem_[0-9A-HJKMNP-TV-Z]{26}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_TYPED: Final = re.compile(rf"[0-9a-z-]{{{_LEAST},35}}", re.IGNORECASE)


def shortened(ids: Sequence[str]) -> list[str]:
    """Return each id by its end, with as many characters as tell all of them apart, 8 at least."""
    made = {id_ for id_ in ids if _MADE.fullmatch(id_)}
    length = SHORT
    while length < 26 and len({id_[-length:].lower() for id_ in made}) < len(made):
        length += 1
    return [id_[-length:] if id_ in made and length < 26 else id_ for id_ in ids]


def by_id(memory: Memory, typed: str, owner: str, verb: Callable[[str], T]) -> T:
    """Do something with the memory that an id or its end names.

    The id is taken as it is first; only if there is no such memory, those of the owner are looked through.

    Args:
        memory: The client.
        typed: An id, or at least 4 characters of its end.
        owner: Whose memories are meant.
        verb: What to do with the whole id.

    Raises:
        NotFoundError: No memory of the owner has this id or this end.
        InvalidRequestError: Several have this end.
    """
    from openmem import InvalidRequestError, NotFoundError

    try:
        return verb(typed)
    except NotFoundError:
        end = typed.lstrip("….")
        if not _TYPED.fullmatch(end):
            raise
        found = _ending_with(memory, end, owner)
        if not found:
            raise
    if len(found) > 1:
        named = ", ".join(found[:_MOST_NAMED])
        raise InvalidRequestError(f"{len(found)} memories have an id that ends with {end!r}: {named}; type more of it")
    return verb(found[0])


def check_named(id: str | None, key: str | None) -> None:
    """Check that a command says which memory is meant, and only once.

    Raises:
        typer.BadParameter: It names neither an id nor a key, or both.
    """
    if (id is None) == (key is None):
        raise typer.BadParameter("give the id of a memory, or --key")


def by_id_or_key(memory: Memory, id: str | None, key: str | None, owner: str, verb: Callable[..., T]) -> T:
    """Do something with the memory that an id, its end, or a key names; the verb takes it as `id` or as `key`."""
    if key is not None:
        return verb(key=key)
    return by_id(memory, id or "", owner, verb)


def _ending_with(memory: Memory, end: str, owner: str) -> list[str]:
    found, cursor = [], None
    while True:
        page = memory.list(owner, include_superseded=True, include_expired=True, limit=_PAGE, cursor=cursor)
        found += [item.id for item in page.items if _MADE.fullmatch(item.id) and item.id.lower().endswith(end.lower())]
        cursor = page.next_cursor
        if cursor is None:
            return found
