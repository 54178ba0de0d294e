"""The embedded database in both forms.

The plain form runs in the caller's thread. The other hands each transaction as a whole to a worker thread: one
hop per verb, and the event loop never waits for the disk.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.primitives import thread_of_loop
from openmem._io.sqlite.connections import MAX_READERS, SqliteStore
from openmem._io.sqlite.errors import CancelToken
from openmem._io.state import show_state
from openmem._sql.file_kind import FileKind
from openmem._sql.sqlite.schema import MEMORIES
from openmem._sql.steps import Query, Steps

if TYPE_CHECKING:
    from openmem._io.sqlite.loop_executor import LoopExecutor

T = TypeVar("T")


class AsyncSqlite:
    """One SQLite file. Nothing is opened before the first use."""

    def __init__(
        self,
        path: str,
        *,
        synchronous: str = "normal",
        make_folder: bool = False,
        kind: FileKind = MEMORIES,
        create: bool = True,
    ) -> None:
        self._store = SqliteStore(path, synchronous=synchronous, make_folder=make_folder, kind=kind, create=create)
        from openmem._io.sqlite.loop_executor import LoopExecutor  # here: the other form has no event loop

        self._readers, self._writers = LoopExecutor(MAX_READERS), LoopExecutor(1)
        self._finalizer = weakref.finalize(self, _end, self._store, self._readers, self._writers)

    @property
    def made(self) -> bool:
        """Whether the file was made here, as there was none."""
        return self._store.made

    @property
    def read_only(self) -> bool:
        """Whether the last read or write found that nothing may be written."""
        return self._store.read_only

    async def read(self, steps: Steps[T], deadline: Deadline) -> T:
        """Run the steps on one snapshot."""
        token = CancelToken(deadline)
        return await self._readers.run(partial(self._store.read, steps, token), token)

    async def write(self, steps: Steps[T], deadline: Deadline) -> T:
        """Run the steps in one transaction."""
        token = CancelToken(deadline)
        return await self._writers.run(partial(self._store.write, steps, token), token)

    async def erase(self, make: Callable[[], Steps[T]], deadline: Deadline) -> tuple[T, bool]:
        """Run steps that delete in one transaction, also on a full disk; return whether it was full.

        `make` may be called twice. If the disk was full, what the deleted rows held may still stand in the file.
        """
        token = CancelToken(deadline)
        return await self._writers.run(partial(self._store.erase, make, token), token)

    def defer(self, statement: Query) -> None:
        """Keep a write for the next transaction, which comes in a moment or at `close`."""
        self._store.defer(statement)

    async def flush(self, deadline: Deadline) -> None:
        """Write what was deferred."""
        if self._store.pending:
            token = CancelToken(deadline)
            await self._writers.run(partial(self._store.flush, token), token)

    async def foresee(self, steps: Steps[T], deadline: Deadline) -> T:
        """Run steps that read as if what was deferred had been written, where that is not possible now."""
        token = CancelToken(deadline)
        return await self._writers.run(partial(self._store.foresee, steps, token), token)

    async def settle(self, deadline: Deadline, *, rebuilds: bool = True) -> bool:
        """Empty the write-ahead log into the file; return whether readers of old snapshots allowed that."""
        token = CancelToken(deadline)
        return await self._writers.run(partial(self._store.settle, token, rebuilds=rebuilds), token)

    def __repr__(self) -> str:
        return show_state(self, *self._store.describe())

    async def aclose(self) -> None:
        """Write what was deferred and close the file."""
        self._readers.stop()
        self._writers.stop()
        await thread_of_loop(self._close, abandon=False)

    def _close(self) -> None:
        self._finalizer()
        self._readers.join()
        self._writers.join()


class Sqlite:
    """One SQLite file. Nothing is opened before the first use."""

    def __init__(
        self,
        path: str,
        *,
        synchronous: str = "normal",
        make_folder: bool = False,
        kind: FileKind = MEMORIES,
        create: bool = True,
    ) -> None:
        self._store = SqliteStore(path, synchronous=synchronous, make_folder=make_folder, kind=kind, create=create)
        self._finalizer = weakref.finalize(self, SqliteStore.close, self._store)

    @property
    def made(self) -> bool:
        """Whether the file was made here, as there was none."""
        return self._store.made

    @property
    def read_only(self) -> bool:
        """Whether the last read or write found that nothing may be written."""
        return self._store.read_only

    def read(self, steps: Steps[T], deadline: Deadline) -> T:
        """Run the steps on one snapshot."""
        return self._store.read(steps, CancelToken(deadline))

    def write(self, steps: Steps[T], deadline: Deadline) -> T:
        """Run the steps in one transaction."""
        return self._store.write(steps, CancelToken(deadline))

    def erase(self, make: Callable[[], Steps[T]], deadline: Deadline) -> tuple[T, bool]:
        """Run steps that delete in one transaction, also on a full disk; return whether it was full.

        `make` may be called twice. If the disk was full, what the deleted rows held may still stand in the file.
        """
        return self._store.erase(make, CancelToken(deadline))

    def defer(self, statement: Query) -> None:
        """Keep a write for the next transaction, which comes in a moment or at `close`."""
        self._store.defer(statement)

    def flush(self, deadline: Deadline) -> None:
        """Write what was deferred."""
        self._store.flush(CancelToken(deadline))

    def foresee(self, steps: Steps[T], deadline: Deadline) -> T:
        """Run steps that read as if what was deferred had been written, where that is not possible now."""
        return self._store.foresee(steps, CancelToken(deadline))

    def settle(self, deadline: Deadline, *, rebuilds: bool = True) -> bool:
        """Empty the write-ahead log into the file; return whether readers of old snapshots allowed that."""
        return self._store.settle(CancelToken(deadline), rebuilds=rebuilds)

    def __repr__(self) -> str:
        return show_state(self, *self._store.describe())

    def close(self) -> None:
        """Write what was deferred and close the file."""
        self._finalizer()


def _end(store: SqliteStore, *threads: LoopExecutor) -> None:
    for some in threads:
        some.stop()
    store.close()
