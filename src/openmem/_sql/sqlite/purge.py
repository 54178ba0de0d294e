"""Steps that take the bytes of erased memories out of the file, and give the room that they had back to the disk.

Why so: an erasure takes rows away, but their words stay in older parts of the index until those are merged, and pages
that became free keep what stood in them. So the index is merged, if anything was taken out of it since the last time,
and the free pages are cut off: pages from the end of the file are moved into them until none is left. What that costs
depends on what was erased, and the file is as large as what is in it. A merge is the exception: it
reads the whole index.

Each merge of everything makes FTS5 count one level of parts more, and never one less; from 2,000 on it takes its own
index for damaged (seen with SQLite 3.40). So long before that, the index is emptied and filled again, a part at a time:
what is not in it yet waits as new memories do, so every search is right meanwhile.

The one row of the table `upkeep` says where the work stands, for whichever process goes on with it:

1. `taken == merged`: no words of erased memories are left. Only free pages are cut off.
2. `taken > merged`, no merge has begun: `begun` becomes `taken`, and the merge begins. It covers every removal so far.
3. A merge goes on. A removal meanwhile counts `taken` up once (`taken_out`), so case 2 comes again after this merge.
4. The merge is done: `merged` becomes what `begun` was at its beginning, which gives case 1, or 2 after a removal.
5. `begun < 0`: the index was emptied, and is filled from user `-1 - begun` on. At the end, `taken` is counted up: the
   words of memories that were erased during the filling need a merge of their own, so case 2 follows.

A run that stops between two transactions, at any point, leaves one of these cases, and the next run goes on from it. A
merge that was begun by a process that ended begins once more: to merge twice does no harm.
"""

from __future__ import annotations

from typing import Final, TypeVar

from openmem._sql.sqlite.word_index import empty, enter_some, levels
from openmem._sql.steps import Query, Steps

AT_ONCE: Final = 500  # pages that a transaction merges or moves: other writers need not wait for a large file

MOST_LEVELS: Final = 1_000  # of the index, before it is filled again
ENTERED_AT_ONCE: Final = 2_000  # memories that a transaction enters into the index

OVERWRITE: Final = Query("pragma secure_delete=on")
"""Deleted bytes are overwritten with zeros from here on, in pages that become free too.

It holds until `OVERWRITE_CHEAPLY` is said, after the transaction too. So steps that delete say one of the two first,
and the driver loop leaves out a repetition: SQLite takes as long for it as for a statement.
"""
OVERWRITE_CHEAPLY: Final = Query("pragma secure_delete=fast")
"""Deleted bytes are overwritten where that writes no further page: pages written are what an `add` costs."""

MOVE_A_PAGE: Final = Query("pragma incremental_vacuum(1)")
"""The last page of the file goes into a free one. Of more in one statement, Python's sqlite3 runs the first only."""

T = TypeVar("T")


def sparingly(steps: Steps[T]) -> Steps[T]:
    """Return the same steps without overwriting pages that become free, which costs as much room as they take.

    What stands in them is gone once a `Purge` has cut them off the file.
    """
    try:
        statement = next(steps)
        while True:
            rows = yield OVERWRITE_CHEAPLY if statement is OVERWRITE else statement
            statement = steps.send(rows)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


class Purge:
    """One run over the file, in transactions of `some` until it returns `False`."""

    def __init__(self) -> None:
        self._number: int | None = None  # of the last removal from the index that this merge covers
        self._merged = False

    def some(self) -> Steps[bool]:
        """Merge or move up to `AT_ONCE` pages; return whether more is left."""
        yield OVERWRITE_CHEAPLY
        if not self._merged and (yield from self._merge()):
            return True
        self._merged = True
        free = yield Query("pragma freelist_count")
        if not free[0][0]:
            return False
        for _ in range(min(AT_ONCE, free[0][0])):
            yield MOVE_A_PAGE
        left = yield Query("pragma freelist_count")
        return bool(0 < left[0][0] < free[0][0])  # a file that an older version made does not shrink like this

    def _merge(self) -> Steps[bool]:
        pages = AT_ONCE
        taken, begun, merged = (yield Query("select taken, begun, merged from upkeep"))[0]
        if begun < 0:
            yield from _fill(-1 - begun)
            return True
        if self._number is None:
            if taken == merged:
                return False
            if (yield from levels()) >= MOST_LEVELS:
                yield from empty()
                yield Query("update upkeep set begun = -1")
                return True
            yield Query("update upkeep set begun = taken")
            self._number, pages = int(taken), -AT_ONCE
        if (yield from _merge_some(pages)):
            return True
        yield Query("update upkeep set merged = max(merged, ?)", (self._number,))
        return False


def _fill(user_no: int) -> Steps[None]:
    """Enter some memories into an index that was emptied; `begun` is -1 minus the user whose turn it is."""
    following = yield from enter_some(user_no, ENTERED_AT_ONCE)
    if following is not None:
        yield Query("update upkeep set begun = ?", (-1 - following,))
    else:  # what was taken out meanwhile was not counted: one merge more takes its words away
        yield Query("update upkeep set begun = taken, taken = taken + 1")


def taken_out() -> Query:
    """Return the statement that notes that something was taken out of the index. It writes only after a merge began."""
    return Query("update upkeep set taken = taken + 1 where taken = begun")


def _merge_some(pages: int) -> Steps[bool]:
    # A negative number begins a merge of everything, a positive one goes on with it (SQLite's documentation of FTS5,
    # "The 'merge' Command": it is done once a step changes fewer than two rows).
    before = yield Query("select total_changes()")
    yield Query("insert into word_index(word_index, rank) values('merge', ?)", (pages,))
    after = yield Query("select total_changes()")
    return bool(after[0][0] - before[0][0] >= 2)
