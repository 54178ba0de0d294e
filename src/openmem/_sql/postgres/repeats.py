"""Steps that find out which part of a repeatable `add` was done before, on Postgres; see the same for SQLite."""

from __future__ import annotations

from collections.abc import Sequence

from openmem._model.access import Access
from openmem._rules.capabilities import answer_again, made_at
from openmem._sql.postgres import versions
from openmem._sql.postgres.links import locking
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.rows import Incoming, Model, Stamp, record_of_draft, select_where
from openmem._sql.steps import Steps
from openmem.types import MemoryRecord


def stored_before(
    db: Names,
    items: Sequence[Incoming],
    positions: Sequence[int],
    model: Model | None,
    stamp: Stamp,
    access: Access | None,
) -> Steps[dict[int, MemoryRecord]]:
    """Return the answers for the items of one user that were stored before, by position.

    The memory of a key is locked first: of two equal calls the later one then sees what the earlier one did.
    """
    user_id = items[0].draft.user_id
    ids = [items[position].id for position in positions]
    found = yield from select_where(db, user_id, "m.id = any($3::text[])", (ids,))
    stored = {record.id: record for record in found}
    answers: dict[int, MemoryRecord] = {}
    for position in positions:
        item = items[position]
        record = stored.get(item.id)
        if record is not None:
            name = model.name if model is not None and item.vector is not None else None
            answers[position] = answer_again(access, record, record_of_draft(item.draft, item.id, stamp.now, name))
        elif item.draft.key is not None:
            linked, locks = locking(db, user_id, 4)
            holders = yield from select_where(
                db, user_id, f"m.key = $3{linked}", (item.draft.key, *locks), "for update"
            )
            for holder in holders:
                states = yield from versions.made_at(db, holder, stamp.now)
                state = made_at(states, item.draft, stamp.now)
                if state is not None:
                    answers[position] = answer_again(access, holder, state)
    return answers
