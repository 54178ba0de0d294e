"""The embedded database in both forms.

The plain form runs in the caller's thread. The other hands each transaction as a whole to a worker thread: one
hop per verb, and the event loop never waits for the disk.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

from openmem._io.call import Deadline
from openmem._io.sqlite_errors import Job
from openmem._io.sqlite_store import MAX_READERS, SqliteStore, nothing
from openmem.sql.sqlite.files import MEMORIES, FileKind
from openmem.sql.steps import Query, Steps

T = TypeVar("T")


class AsyncSqlite:
    """One SQLite file. Nothing is opened before the first use."""

    def __init__(
        self, path: str, *, synchronous: str = "normal", make_folder: bool = False, kind: FileKind = MEMORIES
    ) -> None:
        self._store = SqliteStore(path, synchronous=synchronous, make_folder=make_folder, kind=kind)
        self._read_limit: anyio.CapacityLimiter | None = None
        self._write_limit: anyio.CapacityLimiter | None = None
        self._finalizer = weakref.finalize(self, SqliteStore.close, self._store)

    async def read(self, steps: Steps[T], deadline: Deadline) -> T:
        """Run the steps on one snapshot."""
        if self._read_limit is None:
            self._read_limit = anyio.CapacityLimiter(MAX_READERS)
        job = Job(deadline)
        return await _in_worker(partial(self._store.read, steps, job), job, self._read_limit)

    async def write(self, steps: Steps[T], deadline: Deadline) -> T:
        """Run the steps in one transaction."""
        if self._write_limit is None:
            self._write_limit = anyio.CapacityLimiter(1)
        job = Job(deadline)
        return await _in_worker(partial(self._store.write, steps, job), job, self._write_limit)

    def defer(self, statement: Query) -> None:
        """Keep a write for the next transaction, which comes in a moment or at `close`."""
        self._store.defer(statement)

    async def flush(self, deadline: Deadline) -> None:
        """Write what was deferred."""
        if self._store.pending:
            await self.write(nothing(), deadline)

    async def checkpoint(self, deadline: Deadline) -> bool:
        """Empty the write-ahead log; return whether readers of old snapshots allowed that."""
        job = Job(deadline)
        return await _in_worker(partial(self._store.checkpoint, job), job, None)

    async def aclose(self) -> None:
        """Write what was deferred and close the file."""
        await anyio.to_thread.run_sync(self._finalizer)


class Sqlite:
    """One SQLite file. Nothing is opened before the first use."""

    def __init__(
        self, path: str, *, synchronous: str = "normal", make_folder: bool = False, kind: FileKind = MEMORIES
    ) -> None:
        self._store = SqliteStore(path, synchronous=synchronous, make_folder=make_folder, kind=kind)
        self._finalizer = weakref.finalize(self, SqliteStore.close, self._store)

    def read(self, steps: Steps[T], deadline: Deadline) -> T:
        """Run the steps on one snapshot."""
        return self._store.read(steps, Job(deadline))

    def write(self, steps: Steps[T], deadline: Deadline) -> T:
        """Run the steps in one transaction."""
        return self._store.write(steps, Job(deadline))

    def defer(self, statement: Query) -> None:
        """Keep a write for the next transaction, which comes in a moment or at `close`."""
        self._store.defer(statement)

    def flush(self, deadline: Deadline) -> None:
        """Write what was deferred."""
        self._store.flush(Job(deadline))

    def checkpoint(self, deadline: Deadline) -> bool:
        """Empty the write-ahead log; return whether readers of old snapshots allowed that."""
        return self._store.checkpoint(Job(deadline))

    def close(self) -> None:
        """Write what was deferred and close the file."""
        self._finalizer()


async def _in_worker(work: Callable[[], T], job: Job, limit: anyio.CapacityLimiter | None) -> T:
    # The store watches the deadline too, but not while a call still waits for a free worker. The thread forgets `work`
    # a moment after it gave its result: so that must not hold what closes the file when it is dropped.
    try:
        with anyio.fail_after(job.deadline.remaining()):
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limit)
    except TimeoutError:
        job.cancelled = True
        raise job.deadline.exceeded() from None
    except anyio.get_cancelled_exc_class():
        job.cancelled = True
        raise
