"""Steps that keep the earlier versions of a memory on Postgres and read them; `openmem.versions` says what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from openmem._model.ids import routing_bucket
from openmem._model.unchecked import whole_record
from openmem._rules.versions import size_of, step_to
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.values import EncodedJson, Json, encode_json
from openmem._sql.steps import Query, Row, Steps
from openmem._sql.writing import Stamp
from openmem.types import MemoryRecord

BEHIND: Final = """case when m.behind + $15::integer > $16::integer then 0 else m.behind + $15::integer end"""
"""The characters of all steps since the last whole version, after one of `$15` more; 0 if a whole one is kept instead,
as steps of more than the `$16` of the memory would take more room."""


@dataclass(slots=True)
class Step:
    """A memory that is about to be replaced, and the step back to it."""

    old: MemoryRecord
    step: Mapping[str, Any]
    encoded: EncodedJson = field(init=False)
    size: int = field(init=False)
    whole: int = field(init=False)

    def __post_init__(self) -> None:
        self.encoded = EncodedJson(encode_json(Json(self.step)))
        self.size, self.whole = len(self.encoded.data), size_of(self.old)


def keep(db: Names, step: Step, stamp: Stamp, *, whole: bool) -> Query:
    """Return the statement that keeps the version, whole or as a step."""
    old = step.old
    record = Json(old.model_dump(mode="json", exclude_none=True)) if whole else step.encoded
    return Query(
        f"""
        insert into {db.versions}(bucket, id, user_id, version, replaced_at, record, step, size)
        values($1, $2, $3, $4, $5, $6, $7, $8)
        on conflict (bucket, id, version) do update set
          record = excluded.record, replaced_at = excluded.replaced_at, step = excluded.step, size = excluded.size
        """,
        (
            *(routing_bucket(old.user_id), old.id, old.user_id, old.version, stamp.now),
            *(record, not whole, step.whole if whole else step.size),
        ),
    )


def made_at(db: Names, stored: MemoryRecord, at: datetime) -> Steps[list[MemoryRecord]]:
    """Read the states of a memory that changes at a time made."""
    rows = yield Query(
        f"select version from {db.versions} where bucket = $1 and user_id = $2 and id = $3 and replaced_at = $4",
        (routing_bucket(stored.user_id), stored.user_id, stored.id, at),
    )
    states = [stored] if not rows and stored.updated_at == at else []  # the one before may be gone
    for (before,) in rows:
        states += yield from at_version(db, stored, before + 1)
    return states


def at_version(db: Names, stored: MemoryRecord, version: int) -> Steps[list[MemoryRecord]]:
    """Read one version of a memory, if it is there: the steps to it lead from the next one that is whole."""
    if version == stored.version:
        return [stored]
    own = "bucket = $1 and user_id = $2 and id = $3 and version >= $4"
    rows = yield Query(
        f"""
        select version, record, step from {db.versions} where {own} and version <= coalesce(
          (select min(version) from {db.versions} where {own} and not step), $5)
        order by version desc
        """,
        (routing_bucket(stored.user_id), stored.user_id, stored.id, version, stored.version),
    )
    state = stored
    for row in rows:
        state = state_of(row, state)
    return [state] if rows and state.version == version else []


def state_of(row: Row, newer: MemoryRecord) -> MemoryRecord:
    """Return the version that a row (version, record, step) holds, given the next newer one."""
    version, record, step = row
    return step_to(newer, version, record) if step else whole_record(record)
