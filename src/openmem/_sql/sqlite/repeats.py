"""Steps that find out which part of a repeatable `add` was done before."""

from __future__ import annotations

from collections.abc import Sequence

from openmem._model.access import Access
from openmem._model.timestamps import time_of
from openmem._rules.capabilities import answer_again, made_at
from openmem._sql.sqlite import versions
from openmem._sql.sqlite.rows import Model, dumps, record_of, select_where
from openmem._sql.sqlite.writer import Incoming, Writer
from openmem._sql.steps import Steps
from openmem.types import MemoryRecord


def stored_before(
    writer: Writer, items: Sequence[Incoming], positions: Sequence[int], model: Model | None, access: Access | None
) -> Steps[dict[int, MemoryRecord]]:
    """Return the answers for the items that were stored before, by position.

    A new memory is known by its id. One that replaced another under its key is known by the state that it made,
    which the other has, or had.
    """
    ids = dumps([items[position].id for position in positions])
    found = yield from select_where("m.user_no = ? and m.id in (select value from json_each(?))", (writer.user_no, ids))
    stored = {one.record.id: one.record for one in found}
    at = time_of(writer.stamp.now)
    answers: dict[int, MemoryRecord] = {}
    for position in positions:
        item = items[position]
        record = stored.get(item.id)
        if record is not None:
            name = model.name if model is not None and item.blob is not None else None
            answers[position] = answer_again(access, record, record_of(item.draft, item.id, at, name))
        elif item.draft.key is not None:
            holders = yield from select_where("m.user_no = ? and m.key = ?", (writer.user_no, item.draft.key))
            for holder in holders:
                states = yield from versions.made_at(holder, writer.stamp.now)
                state = made_at(states, item.draft, at)
                if state is not None:
                    answers[position] = answer_again(access, holder.record, state)
    return answers
