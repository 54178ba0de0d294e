"""Steps that read a page of a history: earlier versions of a memory, and the memories that it supersedes."""

from __future__ import annotations

import json
from collections.abc import Mapping

from openmem._model.access import Patterns
from openmem._model.requests import HistoryQuery
from openmem._model.results import HistoryPage
from openmem._sql.history import Member, Position, Replaced, behind_cursor, positions, read_page
from openmem._sql.sqlite.rows import Stored, dumps, select_where
from openmem._sql.sqlite.scope_filter import allowed
from openmem._sql.sqlite.versions import at_version, state_of
from openmem._sql.sqlite.write import find
from openmem._sql.steps import Query, Steps
from openmem.types import MemoryRecord


def page(query: HistoryQuery, seen: Patterns | None = None) -> Steps[tuple[MemoryRecord, HistoryPage]]:
    """Read a memory, and a page of its earlier versions and of what it supersedes, transitively, newest first.

    What the caller may not see is left out, and so is what can be reached only through it.
    """
    start = yield from find(query.named, query.user_id, seen)
    members = yield from _members(start, seen)
    versions = yield from _versions(members)
    found = behind_cursor(query, start.record, positions(start.record, list(members.values()), versions))
    states = States(start, {member.id: rid for rid, member in members.items()})
    return start.record, (yield from read_page(query, start.record, found, states.read, seen))


class States:
    """Reads states one after the other. Those of a memory are asked for from the newest on."""

    def __init__(self, start: Stored, rids: Mapping[str, int]) -> None:
        self._last: dict[str, MemoryRecord] = {}
        self._start, self._rids = start, rids

    def read(self, position: Position) -> Steps[MemoryRecord]:
        """Read the state at a position."""
        id_, rid = position.id, self._rids[position.id]
        newer = self._last.get(id_)
        if newer is not None and newer.version > position.version:
            rows = yield Query(
                "select version, record, step from versions where rid = ? and version = ?", (rid, position.version)
            )
            self._last[id_] = state_of(rows[0], newer)
        else:
            stored = self._start
            if rid != stored.rid:
                [stored] = yield from select_where("m.rid = ?", (rid,))
            [self._last[id_]] = yield from at_version(stored, position.version)
        return self._last[id_]


def _members(start: Stored, seen: Patterns | None) -> Steps[dict[int, Member]]:
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
        members.update((row[0], Member(*row[1:5])) for row in fresh)
        wave = list({old_id for row in fresh if row[5] for old_id in json.loads(row[5])})
    return members


def _versions(members: Mapping[int, Member]) -> Steps[dict[str, list[Replaced]]]:
    rows = yield Query(
        """
        select rid, version, replaced_at, began from versions where rid in (select value from json_each(?))
        order by rid, version
        """,
        (dumps(list(members)),),
    )
    versions: dict[str, list[Replaced]] = {}
    for rid, *row in rows:
        versions.setdefault(members[rid].id, []).append((row[0], row[1], row[2]))
    return versions
