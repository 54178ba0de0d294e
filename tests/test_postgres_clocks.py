"""Writers whose clocks are ahead: what is stored decides what hides what, not what time it is where it was written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from openmem import Memory
from openmem._io.concurrency.call import Deadline
from openmem._io.postgres.database import Pg
from openmem._rules.drafting import make_draft
from openmem._sql.postgres import write
from openmem._sql.postgres.names import Names
from openmem._sql.writing import Incoming, Stamp

AHEAD = timedelta(seconds=3)


def add_ahead(url: str, id_: str, **fields: object) -> None:
    """Add a memory as a computer does whose clock is ahead."""
    stamp = Stamp(datetime.now(UTC) + AHEAD, None, "ahead", f"ahead {id_}")
    draft = make_draft(f"tea {id_}", "ann", **fields)  # type: ignore[arg-type]
    db = Pg(url)
    try:
        db.transact(partial(write.add, Names(), [Incoming(draft, id_)], None, stamp), Deadline.after(10.0))
    finally:
        db.close()


@pytest.mark.parametrize("mode", ["keyword", "hybrid"])
def test_memory_replaced_by_a_writer_whose_clock_is_ahead_is_hidden_at_once(postgres_url: str, mode: str) -> None:
    with Memory(url=postgres_url, embedder="none") as memory:
        old = memory.add(content="tea old", user_id="ann")
        add_ahead(postgres_url, "new", supersedes=[old.id])
        assert [record.content for record in memory.list("ann").items] == ["tea new"]
        found = memory.search("tea", "ann", mode=mode)  # type: ignore[arg-type]
        assert [result.memory.content for result in found] == ["tea new"]
        memory.delete("new", user_id="ann")
        assert [record.content for record in memory.list("ann").items] == ["tea old"]


def test_replacement_of_the_future_waits_for_the_time_that_it_names(postgres_url: str) -> None:
    with Memory(url=postgres_url, embedder="none") as memory:
        old = memory.add(content="tea old", user_id="ann")
        add_ahead(postgres_url, "new", supersedes=[old.id], valid_from=datetime.now(UTC) + timedelta(days=1))
        assert [record.content for record in memory.list("ann").items] == ["tea old"]


def test_last_word_in_a_circle_is_that_of_the_later_writer_not_of_the_clock_ahead(postgres_url: str) -> None:
    with Memory(url=postgres_url, embedder="none") as memory:
        old = memory.add(content="tea old", user_id="ann")
        add_ahead(postgres_url, "new", supersedes=[old.id])
        changed = memory.update(old.id, supersedes=["new"])
        assert [record.content for record in memory.list("ann").items] == ["tea old"]
        assert memory.get(old.id) == changed
