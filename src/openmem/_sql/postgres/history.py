"""Steps that read a page of a history on Postgres: earlier versions of a memory, and the memories it supersedes."""

from __future__ import annotations

from collections.abc import Sequence

from openmem._model.access import Patterns
from openmem._model.ids import routing_bucket
from openmem._model.requests import HistoryQuery
from openmem._model.results import HistoryPage
from openmem._model.timestamps import micros
from openmem._rules.paging import PAGE_BYTES
from openmem._sql.history import Member, Position, Replaced, behind_cursor, positions, read_page
from openmem._sql.postgres import audit
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.rows import by_id, select_where
from openmem._sql.postgres.scope_filter import allowed
from openmem._sql.postgres.versions import at_version, state_of
from openmem._sql.postgres.write import find
from openmem._sql.steps import Query, Row, Steps
from openmem._sql.writing import Stamp
from openmem.types import MemoryRecord


def page(
    db: Names, query: HistoryQuery, user_id: str, stamp: Stamp, seen: Patterns | None = None
) -> Steps[HistoryPage]:
    """Read a page of a memory's earlier versions and of what it supersedes, transitively, newest first.

    What the caller may not see is left out, and so is what can be reached only through it.
    """
    start = yield from find(db, query.named, user_id, "", seen)
    members = yield from _members(db, start, seen)
    versions = yield from _versions(db, start, members)
    found = behind_cursor(query, start, positions(start, members, versions))
    yield audit.write(db, user_id, "get", [(start.id, start.scope, None, None)], stamp)
    states = States(db, start, found[: query.limit + 1])
    return (yield from read_page(query, start, found, states.read, seen))


class States:
    """Reads states one after the other. Those of a memory are asked for from the newest on, and some are fetched ahead.

    Args:
        db: The names.
        start: The memory whose history it is.
        likely: The positions that are likely to be asked for.
    """

    def __init__(self, db: Names, start: MemoryRecord, likely: Sequence[Position]) -> None:
        self._db, self._start = db, start
        self._last: dict[str, MemoryRecord] = {}
        self._ahead: dict[tuple[str, int], Row] = {}
        self._lowest: dict[str, int] = {}
        for position in likely:
            self._lowest[position.id] = position.version

    def read(self, position: Position) -> Steps[MemoryRecord | None]:
        """Read the state at a position; `None` if it was removed since the positions were read."""
        newer = self._last.get(position.id)
        if newer is not None and newer.version > position.version:
            if (position.id, position.version) not in self._ahead:
                yield from self._fetch(position)
            row = self._ahead.pop((position.id, position.version), None)
            found = [] if row is None else [state_of(row, newer)]
        else:
            found = yield from self._first(position)
        if not found:
            return None
        self._last[position.id] = found[0]
        return found[0]

    def _first(self, position: Position) -> Steps[list[MemoryRecord]]:
        stored = [self._start]
        if position.id != self._start.id:
            stored = yield from select_where(self._db, self._start.user_id, "m.id = $3", (position.id,))
        return (yield from at_version(self._db, stored[0], position.version)) if stored else []

    def _fetch(self, position: Position) -> Steps[None]:
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
                *(routing_bucket(self._start.user_id), self._start.user_id, position.id, position.version),
                min(position.version, self._lowest.get(position.id, position.version)),
            ),
        )
        for row in rows:
            self._ahead[position.id, row[0]] = row


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


def _versions(db: Names, start: MemoryRecord, members: Sequence[Member]) -> Steps[dict[str, list[Replaced]]]:
    rows = yield Query(
        f"""
        select id, version, replaced_at, began from {db.versions}
        where bucket = $1 and {by_id()} and id = any($3::text[]) order by id, version
        """,
        (routing_bucket(start.user_id), start.user_id, [member.id for member in members]),
    )
    versions: dict[str, list[Replaced]] = {}
    for id_, version, replaced_at, began in rows:
        versions.setdefault(id_, []).append((version, micros(replaced_at), micros(began)))
    return versions
