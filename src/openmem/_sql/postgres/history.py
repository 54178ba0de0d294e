"""Steps that read a page of what was on Postgres; see the same for SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from openmem._model.access import Patterns, matches_any
from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.ids import routing_bucket
from openmem._model.requests import HistoryQuery
from openmem._model.results import HistoryPage
from openmem._model.timestamps import micros
from openmem._rules.paging import PAGE_BYTES, highest_so_far
from openmem._rules.versions import size_of
from openmem._sql.postgres import journal
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.rows import by_id, select_where
from openmem._sql.postgres.scope_filter import allowed
from openmem._sql.postgres.versions import at_version, state_of
from openmem._sql.postgres.write import find
from openmem._sql.steps import Query, Row, Steps
from openmem._sql.writing import Stamp
from openmem.types import MemoryRecord


class Member(NamedTuple):
    """A memory whose states belong to a history, and when it was stored and last changed."""

    id: str
    version: int
    created_at: int
    changed_at: int


class Place(NamedTuple):
    """Where a state lies; the larger, the newer."""

    at: int
    version: int
    id: str


def page(
    db: Names, query: HistoryQuery, user_id: str, stamp: Stamp, seen: Patterns | None = None
) -> Steps[HistoryPage]:
    """Read a page of a memory's earlier versions and of what it supersedes, transitively, newest first.

    What the caller may not see is left out, and so is what can be reached only through it.
    """
    start = yield from find(db, query.id, user_id, "", seen)
    binding = ["states", user_id, start.id]
    places = yield from _places(db, start, (yield from _members(db, start, seen)))
    if query.cursor is not None:
        last = decode_cursor(query.cursor, "history", (int, int, str), binding)
        places = [place for place in places if place < last]
    yield journal.write(db, user_id, "get", [(start.id, start.scope, None)], stamp)
    states = States(db, start, places[: query.limit + 1])
    shown: list[tuple[Place, MemoryRecord]] = []
    left = PAGE_BYTES
    for place in places:
        if len(shown) == query.limit:
            return _page(shown, binding)
        record = yield from states.read(place)
        if record is None or not matches_any(seen, record.scope):
            continue
        left -= size_of(record)
        if left < 0 and shown:
            return _page(shown, binding)
        shown.append((place, record))
    return HistoryPage([record for _, record in shown])


class States:
    """Reads states one after the other. Those of a memory are asked for from the newest on, and some are fetched ahead.

    Args:
        db: The names.
        start: The memory whose history it is.
        places: What is likely to be asked for.
    """

    def __init__(self, db: Names, start: MemoryRecord, places: Sequence[Place]) -> None:
        self._db, self._start = db, start
        self._last: dict[str, MemoryRecord] = {}
        self._ahead: dict[tuple[str, int], Row] = {}
        self._lowest: dict[str, int] = {}
        for place in places:
            self._lowest[place.id] = place.version

    def read(self, place: Place) -> Steps[MemoryRecord | None]:
        """Read the state at a place; `None` if it was removed since the places were read."""
        newer = self._last.get(place.id)
        if newer is not None and newer.version > place.version:
            if (place.id, place.version) not in self._ahead:
                yield from self._fetch(place)
            row = self._ahead.pop((place.id, place.version), None)
            found = [] if row is None else [state_of(row, newer)]
        else:
            found = yield from self._first(place)
        if not found:
            return None
        self._last[place.id] = found[0]
        return found[0]

    def _first(self, place: Place) -> Steps[list[MemoryRecord]]:
        stored = [self._start]
        if place.id != self._start.id:
            stored = yield from select_where(self._db, self._start.user_id, "m.id = $3", (place.id,))
        return (yield from at_version(self._db, stored[0], place.version)) if stored else []

    def _fetch(self, place: Place) -> Steps[None]:
        own = "bucket = $1 and user_id = $2 and id = $3 and version <= $4 and version >= $5"
        size = "coalesce(size, octet_length(record::text))"
        rows = yield Query(
            f"""
            select version, record, step from (
              select version, record, step, sum({size}) over (order by version desc) as upto
              from {self._db.versions} where {own}
            ) as chosen where upto <= {PAGE_BYTES} or version = $4 order by version desc
            """,
            (
                *(routing_bucket(self._start.user_id), self._start.user_id, place.id, place.version),
                min(place.version, self._lowest.get(place.id, place.version)),
            ),
        )
        for row in rows:
            self._ahead[place.id, row[0]] = row


def _members(db: Names, start: MemoryRecord, seen: Patterns | None) -> Steps[list[Member]]:
    condition, params = allowed(seen, 4)
    members: dict[str, Member] = {}
    wave = [start.id]
    while wave:
        rows = yield Query(
            f"""
            select m.id, m.version, m.created_at, coalesce(m.updated_at, m.created_at), m.supersedes
            from {db.memories} m where m.bucket = $1 and {by_id("m.user_id")} and m.id = any($3::text[]){condition}
            """,
            (routing_bucket(start.user_id), start.user_id, wave, *params),
        )
        for id_, version, created_at, changed_at, _ in rows:
            members[id_] = Member(id_, version, micros(created_at), micros(changed_at))
        wave = list({old_id for row in rows for old_id in row[4] or ()} - members.keys())
    return list(members.values())


def _places(db: Names, start: MemoryRecord, members: Sequence[Member]) -> Steps[list[Place]]:
    rows = yield Query(
        f"""
        select id, version, replaced_at, began from {db.versions}
        where bucket = $1 and {by_id()} and id = any($3::text[]) order by id, version
        """,
        (routing_bucket(start.user_id), start.user_id, [member.id for member in members]),
    )
    versions: dict[str, list[tuple[int, int, int | None]]] = {}
    for id_, version, replaced_at, began in rows:
        first = None if began is None else micros(began)
        versions.setdefault(id_, []).append((version, micros(replaced_at), first))
    places = [place for member in members for place in _places_of(member, versions.get(member.id, []))]
    return sorted((place for place in places if (place.id, place.version) != (start.id, start.version)), reverse=True)


def _places_of(member: Member, versions: Sequence[tuple[int, int, int | None]]) -> list[Place]:
    # A version began when the one before it was replaced; the oldest one says so itself if others went before it.
    first = max(member.created_at, versions[0][2] or member.created_at) if versions else member.changed_at
    began = [first, *(row[1] for row in versions[:-1]), member.changed_at]
    numbers = [*(row[0] for row in versions), member.version]
    times = highest_so_far(began if versions else [member.changed_at])
    return [Place(at, version, member.id) for at, version in zip(times, numbers, strict=True)]


def _page(shown: Sequence[tuple[Place, MemoryRecord]], binding: Sequence[Any]) -> HistoryPage:
    return HistoryPage([record for _, record in shown], encode_cursor("history", shown[-1][0], binding))
