"""Steps that keep the earlier versions of a memory and read them; `openmem.versions` says what is kept."""

from __future__ import annotations

import json

from openmem._model.requests import Draft
from openmem._model.timestamps import micros
from openmem._model.unchecked import whole_record
from openmem._rules.versions import size_of, step_back, step_to
from openmem._sql.sqlite.rows import Stored, dumps
from openmem._sql.steps import Query, Row, Steps
from openmem.types import MemoryRecord


def keep(stored: Stored, draft: Draft, now: int) -> Steps[int]:
    """Keep a memory that a draft is about to replace; return the characters of all steps since a whole version."""
    old = stored.record
    text = dumps(step_back(old, draft)) or ""
    behind = stored.behind + len(text)
    if behind > size_of(old):
        text, behind = old.model_dump_json(exclude_none=True), 0
    yield Query(
        "insert or replace into versions(rid, version, replaced_at, record, step) values(?, ?, ?, ?, ?)",
        (stored.rid, old.version, now, text, behind > 0),
    )
    return behind


def made_at(stored: Stored, at: int) -> Steps[list[MemoryRecord]]:
    """Read the states of a memory that changes at a time made."""
    rows = yield Query("select version from versions where rid = ? and replaced_at = ?", (stored.rid, at))
    # The one before may be gone.
    states = [stored.record] if not rows and micros(stored.record.updated_at) == at else []
    for (before,) in rows:
        states += yield from at_version(stored, before + 1)
    return states


def at_version(stored: Stored, version: int) -> Steps[list[MemoryRecord]]:
    """Read one version of a memory, if it is there: the steps to it lead from the next one that is whole."""
    if version == stored.record.version:
        return [stored.record]
    whole = "select min(version) from versions where rid = ? and version >= ? and not step"
    rows = yield Query(
        f"""
        select version, record, step from versions
        where rid = ? and version between ? and coalesce(({whole}), ?) order by version desc
        """,
        (stored.rid, version, stored.rid, version, stored.record.version),
    )
    state = stored.record
    for row in rows:
        state = state_of(row, state)
    return [state] if rows and state.version == version else []


def state_of(row: Row, newer: MemoryRecord) -> MemoryRecord:
    """Return the version that a row (version, record, step) holds, given the next newer one."""
    version, text, step = row
    return step_to(newer, version, json.loads(text)) if step else whole_record(json.loads(text))
