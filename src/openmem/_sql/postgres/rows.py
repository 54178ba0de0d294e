"""Rows of Postgres to records, and the statement that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt

from openmem._model.ids import routing_bucket
from openmem._model.unchecked import record_of_values
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.values import Json
from openmem._sql.steps import Query, Row, Steps
from openmem.types import MemoryRecord

Row32 = npt.NDArray[np.float32]

RECORD_NAMES: Final = (
    "bucket",
    "id",
    "user_id",
    "key",
    "content",
    "scope",
    "tags",
    "source",
    "confidence",
    "valid_from",
    "valid_to",
    "supersedes",
    "extensions",
    "model",
    "created_at",
    "updated_at",
    "version",
    "metadata",
    "searchable",
)


@lru_cache(maxsize=16)
def columns(prefix: str, names: tuple[str, ...] = RECORD_NAMES) -> str:
    """Return some columns; those that `record_of_row` reads, unless others are named."""
    return ", ".join(f"{prefix}.{name}" for name in names)


def record_of_row(row: Sequence[Any]) -> MemoryRecord:
    """Return the record that a row of `columns` holds, whatever is behind them."""
    (_, id_, user_id, key, content, scope, tags, source, confidence) = row[:9]
    (valid_from, valid_to, supersedes, extensions, model, created_at, updated_at, version) = row[9:17]
    (metadata, searchable) = row[17:19]
    return record_of_values(
        id_,
        content,
        user_id,
        created_at if created_at.tzinfo is not None else aware(created_at),
        scope,
        tags,
        source,
        confidence,
        valid_from if valid_from is None else aware(valid_from),
        valid_to if valid_to is None else aware(valid_to),
        supersedes,
        model,
        updated_at if updated_at is None else aware(updated_at),
        version,
        key,
        extensions,
        metadata,
        searchable,
    )


@overload
def aware(moment: datetime) -> datetime: ...


@overload
def aware(moment: None) -> None: ...


def aware(moment: datetime | None) -> datetime | None:
    """Return a moment that was read with its zone, which is UTC.

    One driver stores the first and the last moment that Python knows as infinity, and reads that without a zone. A
    codec of our own would cost more for every moment than this does.
    """
    return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def by_id(user: str = "user_id") -> str:
    """Return the condition that a row is the user's, where ids find it.

    The index of ids is right for it. A plain equality would make the planner, as long as it knows nothing of a table
    that was just filled, read all rows of the user instead.
    """
    return f"({user} = $2) is true"


def select_where(
    db: Names, user_id: str, condition: str, params: Sequence[Any], lock: str = ""
) -> Steps[list[MemoryRecord]]:
    """Read the records of a user that fulfil a condition on `m`; its parameters begin with `$3`."""
    owned = by_id("m.user_id") if condition.startswith("m.id = any(") else "m.user_id = $2"
    rows = yield Query(
        f"select {columns('m')} from {db.memories} m where m.bucket = $1 and {owned} and {condition} {lock}",
        (routing_bucket(user_id), user_id, *params),
    )
    return [record_of_row(row) for row in rows]


def optional_json(value: Any) -> Json | None:
    """Return a value to be stored as JSON, or `None` for nothing."""
    return None if value is None else Json(value)


def first(rows: Sequence[Row]) -> Any:
    """Return the first value of the first row."""
    return rows[0][0]
