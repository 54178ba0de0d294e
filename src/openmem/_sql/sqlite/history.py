"""Steps that read a page of what was: earlier versions of a memory, and what it supersedes.

First where every state lies, without its content, then those that go on the page: each may have a million characters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from openmem._model.access import Patterns, matches_any
from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.requests import HistoryQuery
from openmem._model.results import HistoryPage
from openmem._rules.paging import PAGE_BYTES, highest_so_far
from openmem._rules.versions import size_of
from openmem._sql.sqlite.rows import Stored, dumps, select_where
from openmem._sql.sqlite.scope_filter import allowed
from openmem._sql.sqlite.versions import at_version, state_of
from openmem._sql.sqlite.write import find
from openmem._sql.steps import Query, Row, Steps
from openmem.types import MemoryRecord


class Member(NamedTuple):
    """A memory whose states belong to a history, and when it was stored and last changed."""

    rid: int
    id: str
    version: int
    created_at: int
    changed_at: int


class Place(NamedTuple):
    """Where a state lies; the larger, the newer."""

    at: int
    version: int
    id: str
    rid: int


def page(query: HistoryQuery, seen: Patterns | None = None) -> Steps[tuple[MemoryRecord, HistoryPage]]:
    """Read a memory, and a page of its earlier versions and of what it supersedes, transitively, newest first.

    What the caller may not see is left out, and so is what can be reached only through it.
    """
    start = yield from find(query.id, query.user_id, seen)
    binding = ["states", start.record.user_id, start.record.id]
    places = yield from _places(start, (yield from _members(start, seen)))
    if query.cursor is not None:
        last = decode_cursor(query.cursor, "history", (int, int, str), binding)
        places = [place for place in places if place[:3] < last]
    states = States(start)
    shown: list[tuple[Place, MemoryRecord]] = []
    left = PAGE_BYTES
    for place in places:
        if len(shown) == query.limit:
            return start.record, _page(shown, binding)
        record = yield from states.read(place)
        if not matches_any(seen, record.scope):
            continue
        left -= size_of(record)
        if left < 0 and shown:
            return start.record, _page(shown, binding)
        shown.append((place, record))
    return start.record, HistoryPage([record for _, record in shown])


class States:
    """Reads states one after the other. Those of a memory are asked for from the newest on."""

    def __init__(self, start: Stored) -> None:
        self._last: dict[int, MemoryRecord] = {}
        self._start = start

    def read(self, place: Place) -> Steps[MemoryRecord]:
        """Read the state at a place."""
        newer = self._last.get(place.rid)
        if newer is not None and newer.version > place.version:
            rows = yield Query(
                "select version, record, step from versions where rid = ? and version = ?", (place.rid, place.version)
            )
            self._last[place.rid] = state_of(rows[0], newer)
        else:
            stored = self._start
            if place.rid != stored.rid:
                stored = (yield from select_where("m.rid = ?", (place.rid,)))[0]
            self._last[place.rid] = (yield from at_version(stored, place.version))[0]
        return self._last[place.rid]


def _members(start: Stored, seen: Patterns | None) -> Steps[list[Member]]:
    condition, params = allowed(seen)
    members: dict[int, Member] = {}
    wave = [start.record.id]
    while wave:
        rows = yield Query(
            f"""
            select m.rid, m.id, m.version, m.created_at, coalesce(m.updated_at, m.created_at), m.supersedes
            from memories m left join scopes s on s.scope_no = m.scope_no
            where m.user_no = ? and m.id in (select value from json_each(?)){condition}
            """,
            (start.user_no, dumps(wave), *params),
        )
        fresh = [row for row in rows if row[0] not in members]
        members.update((row[0], Member(*row[:5])) for row in fresh)
        wave = list({old_id for row in fresh if row[5] for old_id in json.loads(row[5])})
    return list(members.values())


def _places(start: Stored, members: Sequence[Member]) -> Steps[list[Place]]:
    rows = yield Query(
        """
        select rid, version, replaced_at, began from versions where rid in (select value from json_each(?))
        order by rid, version
        """,
        (dumps([member.rid for member in members]),),
    )
    versions: dict[int, list[Row]] = {}
    for rid, *row in rows:
        versions.setdefault(rid, []).append(tuple(row))
    places = [place for member in members for place in _places_of(member, versions.get(member.rid, []))]
    return sorted((place for place in places if (place.rid, place.version) != _present(start)), reverse=True)


def _places_of(member: Member, versions: Sequence[Row]) -> list[Place]:
    # A version began when the one before it was replaced; the oldest one says so itself if others went before it.
    first = max(member.created_at, versions[0][2] or member.created_at) if versions else member.changed_at
    began = [first, *(row[1] for row in versions[:-1]), member.changed_at]
    numbers = [*(row[0] for row in versions), member.version]
    times = highest_so_far(began if versions else [member.changed_at])
    return [Place(at, version, member.id, member.rid) for at, version in zip(times, numbers, strict=True)]


def _present(start: Stored) -> tuple[int, int]:
    return start.rid, start.record.version


def _page(shown: Sequence[tuple[Place, MemoryRecord]], binding: Sequence[Any]) -> HistoryPage:
    last = shown[-1][0]
    return HistoryPage([record for _, record in shown], encode_cursor("history", last[:3], binding))
