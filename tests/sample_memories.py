"""Memories to move from one store to another: those of several users, with everything that a memory can have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

from openmem import Memory, MemoryItem, MemoryRecord

USERS = ("ann", "björk", "c:d/e_%f", "日本-太郎")
EACH = 250
TOTAL = len(USERS) * EACH
CHAINS, CHANGED = 10, 5
LONG = "a long one, " * 300
BEGAN, MOVED = datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
BETWEEN = datetime(2023, 6, 1, tzinfo=UTC)
FAR = datetime(2120, 1, 1, tzinfo=UTC)
ODD = (
    "tea ☕\nwith milk\tand 'quotes' \"two\"",
    "https://example.com/a?b=c",
    "line\u2028and paragraph\u2029 ends",
    '{"omp": "not an envelope"}',
    LONG,
    "  blanks around  ",
    "e\u0301 is not \u00e9, 👩‍👩‍👧 is one",
)

Plain = dict[str, Any]


def fill(memory: Memory, each: int = EACH) -> None:
    """Store the memories of all users, as an application does: many at once, then what replaces them, then changes.

    Args:
        memory: An empty store.
        each: How many of each user, 50 at least.
    """
    for user in USERS:
        made = memory.add_many([_item(user, number, each) for number in range(each - 2 * CHAINS)], user_id=user)
        for again in (1, 2):
            heads = made[-CHAINS:]
            made = memory.add_many([_successor(user, head, again) for head in heads], user_id=user)
        for record in made[:CHANGED]:
            memory.update(record.id, user_id=user, tags=["changed", "twice"], confidence=0.25)


class SampleMemories:
    """The content of a store, read through `Memory`.

    Args:
        memory: The store.
        without: Extensions to leave out: what the store itself adds.
    """

    def __init__(self, memory: Memory, *without: str) -> None:
        left_out = {"status", "embedding_model", "x-openmem", *without}
        self.memories: dict[tuple[str, str], Plain] = {}
        self.shown: dict[str, list[str]] = {}
        self.then: dict[str, list[str]] = {}
        for user in USERS:
            for record in _all(memory, user, include_superseded=True, include_expired=True):
                assert (user, record.id) not in self.memories, "one memory is there twice"
                self.memories[user, record.id] = {
                    name: value
                    for name, value in record.model_dump(mode="json", exclude_none=True).items()
                    if name not in left_out
                }
            self.shown[user] = sorted(record.id for record in _all(memory, user))
            self.then[user] = sorted(record.id for record in _all(memory, user, as_of=BETWEEN))

    def assert_holds(self, other: SampleMemories, *without: str) -> None:
        """Check that another sample_memories is the same, field by field, but for some extensions."""
        assert sorted(self.memories) == sorted(other.memories)
        for place, plain in self.memories.items():
            kept = {name: value for name, value in plain.items() if name not in without}
            assert {name: value for name, value in other.memories[place].items() if name not in without} == kept
        assert self.shown == other.shown
        assert self.then == other.then


def assert_searches(memory: Memory) -> None:
    """Check that a search finds what counts now and what counted then, and not what was replaced or has expired."""
    for user in USERS:
        first, second, third = (_home(user, number=0, again=again) for again in (0, 1, 2))
        now = [result.memory.content for result in memory.search(third, user, limit=20)]
        assert third in now
        assert not {first, second, _expired(user)} & set(now)
        then = [result.memory.content for result in memory.search(first, user, limit=20, as_of=BETWEEN)]
        assert first in then
        assert not {second, third} & set(then)
        tagged = memory.search("note", user, tags=["every tenth"], limit=50)
        assert tagged
        assert None not in {result.memory.key for result in tagged}
        scoped = memory.search("note", user, scope="home/*", limit=100)
        assert {(result.memory.scope or "").split("/")[0] for result in scoped} == {"home"}


def _item(user: str, number: int, each: int) -> MemoryItem:
    chain = number - (each - 3 * CHAINS)
    if chain >= 0:
        return {"content": _home(user, number=chain, again=0), "valid_from": BEGAN, "scope": "home"}
    item: dict[str, Any] = {"content": f"{user} took note {number} about {('tea', 'chess', 'müsli')[number % 3]}"}
    if number < len(ODD):
        item["content"] = ODD[number]
    elif number == len(ODD):
        item |= {"content": _expired(user), "valid_from": BEGAN, "valid_to": MOVED}
    elif number == len(ODD) + 1:
        item |= {"content": f"{user} will see", "valid_from": FAR}
    elif number % 7 == 0:
        item |= {"valid_from": BEGAN, "valid_to": FAR}
    if number % 3 == 0:
        item["scope"] = ("home/kitchen", "work", "home", "å/ö")[number % 4]
    if number % 4 == 0:
        item |= {"tags": ["every fourth", "ünï", "a b"], "confidence": round(number / 997, 4)}
    if number % 5 == 0:
        item["source"] = {"app": "kit", "type": "explicit", "ref": f"ref {number}"}
    if number % 10 == 0:
        item |= {"key": f"key/{number} é", "tags": ["every tenth"]}
    if number % 11 == 0:
        item["x-app"] = {"deep": [1, 2.5, {"é": None, "t": True}], "n": number}
    return cast(MemoryItem, item)


def _successor(user: str, old: MemoryRecord, again: int) -> MemoryItem:
    number = int(old.content.rpartition(" ")[2])
    content = _home(user, number=number, again=again)
    return {"content": content, "valid_from": MOVED, "supersedes": [old.id], "scope": "home"}


def _home(user: str, *, number: int, again: int) -> str:
    return f"{user} lives in {('Berlin', 'Lisbon', 'Oslo')[again]} at number {number}"


def _expired(user: str) -> str:
    return f"{user} was on holiday in Peru"


def _all(memory: Memory, user: str, **how: Any) -> Iterator[MemoryRecord]:
    cursor: str | None = None
    while True:
        page = memory.list(user, limit=500, cursor=cursor, **how)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return
