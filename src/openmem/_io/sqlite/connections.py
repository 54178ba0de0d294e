"""One SQLite file: its connections, its transactions, and the writes that may wait a moment.

Traps this file is about: every write transaction begins IMMEDIATE (a deferred one that reads first fails with
"database is locked" whatever the busy timeout); a connection must not cross a fork; a process that only reads
must not take the write lock for each audit entry, so those are deferred and written together.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

from openmem._io.concurrency.call import Deadline
from openmem._io.sqlite.errors import CancelToken, DiskFullError, interruptible, translate
from openmem._io.sqlite.forks import watch
from openmem._io.sqlite.opening import begin_immediate, make_folder, open_connection, rebuild
from openmem._io.sqlite.read_only import Fingerprint, check_unchanged, may_be_written, open_read_only, read_only_error
from openmem._io.sqlite.reserve import Reserve
from openmem._io.sqlite.run_steps import drive, nothing
from openmem._io.state import counted, show_state
from openmem._sql.file_kind import FileKind
from openmem._sql.sqlite.purge import sparingly
from openmem._sql.sqlite.schema import MEMORIES
from openmem._sql.steps import Query, Steps
from openmem.errors import ProviderError, ProviderUnavailableError

T = TypeVar("T")

MAX_READERS = 4
FLUSH_AFTER_SECONDS = 0.1
FLUSH_AT_COUNT = 256
MAX_PAUSE_SECONDS = 5.0  # between attempts to write what cannot be written just now
PAUSE_SECONDS = 10.0
MAX_DEFERRED = 20_000  # a file that can be read but not written must not fill the memory

_log = logging.getLogger("openmem.sqlite")
_left_by_fork: list[object] = []  # never closed: the parent goes on with the same files and locks


class SqliteStore:
    """A thread-safe pool over one file: one writer, up to `MAX_READERS` readers, one flusher.

    Args:
        path: The database file.
        synchronous: "normal" survives the death of the process; "full" survives a power cut too.
        make_folder: Make the file's folder if it is missing, for its owner only.
        kind: What the file holds.
        create: Make the file if there is none.

    Attributes:
        made: Whether the file was made here.
    """

    def __init__(
        self,
        path: str,
        *,
        synchronous: str = "normal",
        make_folder: bool = False,
        kind: FileKind = MEMORIES,
        create: bool = True,
    ) -> None:
        self._path = path
        self._kind = kind
        self._make_folder = make_folder
        self._create = create
        self._reserve = Reserve(path)
        self.made = False
        self._synchronous = synchronous
        self._reset()
        watch(self)

    def _reset(self) -> None:
        self._readers: list[sqlite3.Connection] = []
        self._writer: sqlite3.Connection | None = None
        self._told: list[Query] = []  # how the writer was told last to overwrite what is deleted, if it was
        self._file: tuple[int, int] | None = None
        self._slots = threading.BoundedSemaphore(MAX_READERS)
        self._write_lock = threading.Lock()
        self._state_lock = threading.Lock()
        self._deferred: deque[Query] = deque(maxlen=MAX_DEFERRED)
        self._in_flight = False  # some of them were taken by a transaction that has not ended
        self._flusher: threading.Thread | None = None
        self._has_pending = threading.Event()  # something was deferred
        self._flush_at_once = threading.Event()  # much was deferred, or the store closes
        self._stopped = False  # no flusher and no idle readers any more
        self._closed = False
        self.read_only = False  # what the last attempt found; reads leave no audit entry then

    def read(self, steps: Steps[T], token: CancelToken) -> T:
        """Run the steps on one snapshot."""
        with self._reader(token) as connection, interruptible(connection, token):
            # 1. The last look found that nothing may be written.
            if self.read_only:
                self.read_only = not may_be_written(self._path)  # it may have been changed meanwhile
            # 2. It may be written: see that audit entries are soon.
            elif self._flusher is None:
                self._start_flusher()  # here, as an audit entry follows, and the caller of `defer` must not wait
            # A snapshot: all statements of the steps see one state, whatever others write meanwhile.
            connection.execute("begin")
            try:
                return drive(connection, steps)
            finally:
                if connection.in_transaction:
                    connection.execute("rollback")

    def write(self, steps: Steps[T], token: CancelToken) -> T:
        """Run the steps in one transaction, with the deferred writes before them."""
        return self._transact(steps, token, alone=False)

    def _transact(self, steps: Steps[T], token: CancelToken, *, alone: bool) -> T:
        with _WriteTurn(self, token) as connection, interruptible(connection, token):
            taken = self._take_deferred() if self._deferred and not alone else []
            try:
                # 1. The lock of the file, for which other processes may have to be waited for. Only then is it looked
                #    whether the file is still the one that was opened.
                begin_immediate(connection, token)
                self._check_file()
                # 2. Audit entries of reads before this write: they are older, and their order is kept.
                for statement in taken:
                    connection.execute(statement.sql, statement.params)
                result = drive(connection, steps, self._told)
                # 3. The last moment in which the deadline or the caller can stop it; a commit is not interrupted.
                token.check()
                connection.execute("commit")
            except BaseException:
                # What was taken is deferred again, in its old order, before anything that came since.
                self._deferred.extendleft(reversed(taken))
                if connection.in_transaction:
                    connection.execute("rollback")
                raise
            finally:
                self._in_flight = False
            # After the commit, for it may take room that the transaction needed.
            self._reserve.keep()
            return result

    def erase(self, make: Callable[[], Steps[T]], token: CancelToken) -> tuple[T, bool]:
        """Run steps that delete, in one transaction, and return whether the disk was full.

        1. The disk is not full: as in `write`. 2. It is: the log is emptied, so that its room can be used again, and
        with it and what was kept in reserve the steps are run again, without overwriting what becomes free. The caller
        is to cut that off. 3. That is too little because much was deferred: they are run without it. 4. Even then:
        nothing was deleted.
        """
        try:
            return self.write(make(), token), False
        except DiskFullError:
            self._make_room(token)
        # With what is deferred, if that is possible; the entries of the audit log matter less than the erasure.
        if self.pending:
            with contextlib.suppress(DiskFullError):
                return self._transact(sparingly(make()), token, alone=False), True
        try:
            return self._transact(sparingly(make()), token, alone=True), True
        except DiskFullError as error:
            raise DiskFullError(
                "the disk is full, and what was kept for deletions does not suffice; nothing was deleted. "
                "Make some room on it and delete again",
                provider="sqlite",
            ) from error

    def _make_room(self, token: CancelToken) -> None:
        self._reserve.release()
        with _WriteTurn(self, token) as connection, contextlib.suppress(sqlite3.Error):
            connection.execute("pragma wal_checkpoint(restart)")

    def defer(self, statement: Query) -> None:
        """Keep a write for the next transaction, which comes within `FLUSH_AFTER_SECONDS` or at `close`.

        It is forgotten where nothing may be written.
        """
        if self.read_only:
            return
        if self._closed:
            self._write_after_close(statement)
            return
        if len(self._deferred) == MAX_DEFERRED:
            _log.warning("the audit log of %s cannot be written: its oldest entries are dropped", self._path)
        self._deferred.append(statement)
        self._has_pending.set()
        if len(self._deferred) >= FLUSH_AT_COUNT:
            self._flush_at_once.set()

    def flush(self, token: CancelToken) -> None:
        """Write what was deferred, where that is possible, and wait for the thread that is writing some of it."""
        if self.pending:
            try:
                self.write(nothing(), token)
            except ProviderUnavailableError:
                if not self.read_only:
                    raise

    def foresee(self, steps: Steps[T], token: CancelToken) -> T:
        """Run steps that read as if what was deferred had been written, where that is not possible now.

        It is done in a transaction that is taken back, of which nothing reaches the disk.
        """
        with _WriteTurn(self, token) as connection, interruptible(connection, token):
            try:
                begin_immediate(connection, token)
                for statement in self._deferred.copy():
                    connection.execute(statement.sql, statement.params)
                return drive(connection, steps)
            finally:
                if connection.in_transaction:
                    connection.execute("rollback")

    def settle(self, token: CancelToken, *, rebuilds: bool = True) -> bool:
        """Empty the write-ahead log into the file; return whether readers of old snapshots allowed that.

        A file of an older version is rebuilt before that, once, unless it must not take that long.
        """
        with _WriteTurn(self, token) as connection, interruptible(connection, token):
            if rebuilds:
                rebuild(connection, token)
            busy: int = connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
            return not busy

    @property
    def pending(self) -> bool:
        """Whether a deferred write has not been made yet."""
        # In this order, and the first again: they are taken after the mark is set, and put back before it goes.
        return bool(self._deferred) or self._in_flight or bool(self._deferred)

    def close(self) -> None:
        """Write what was deferred and close every connection."""
        # 1. No further thread writes.
        self._stop_flusher()
        # 2. What is deferred gets five seconds.
        try:
            self.flush(CancelToken(Deadline.after(5.0)))
        except Exception as error:  # noqa: BLE001 - the store closes all the same
            _log.warning("the last reads are missing in the audit log of %s: %s", self._path, error)
        # 3. Nothing begins from now on; what a read defers later is written by itself.
        with self._write_lock:
            self._closed = True
            self._close_connections()

    def _close_connections(self) -> None:
        with self._state_lock:
            connections = [*self._readers, *([self._writer] if self._writer else [])]
            self._readers, self._writer = [], None
        for connection in connections:
            connection.close()

    @contextlib.contextmanager
    def _reader(self, token: CancelToken) -> Iterator[sqlite3.Connection]:
        # 1. No more readers at once than that: others wait for their turn.
        if not self._slots.acquire(timeout=_seconds(token.deadline)):
            raise token.deadline.exceeded()
        try:
            with self._state_lock:
                # 2. An idle connection, else a new one. One that cannot lock serves a single read, and the file is
                #    looked at again.
                connection = self._readers.pop() if self._readers else None
            before = None
            if connection is None:
                connection, before = self._open_reader(token)
            try:
                yield connection
                if before is not None:
                    check_unchanged(self._path, before)
            finally:
                with self._state_lock:
                    # 3. It is idle again, unless the store was closed meanwhile.
                    kept = before is None and not self._stopped
                    if kept:
                        self._readers.append(connection)
                if not kept:
                    connection.close()
        finally:
            self._slots.release()

    def lock_writer(self, token: CancelToken) -> sqlite3.Connection:
        """Wait for one's turn to write, and return the connection for it."""
        # 1. One writer at a time in this process.
        # 2. Its connection is opened by the first.
        if not self._write_lock.acquire(timeout=_seconds(token.deadline)):
            raise token.deadline.exceeded()
        try:
            if self._writer is None:
                self._writer, self._told = self._open_writer(token), []
            return self._writer
        except BaseException:
            self._write_lock.release()
            raise

    def _check_file(self) -> None:
        """Refuse to write into a file that is no longer at its path: it would never be read."""
        if self._file is not None and _identity(self._path) != self._file:
            raise ProviderError(
                "the database file was deleted, moved or replaced while it was open; nothing was written. "
                "Put it back, or close this object and make another one",
                provider="sqlite",
            )

    def unlock_writer(self) -> None:
        """Let the next one write."""
        self._write_lock.release()

    def _open_writer(self, token: CancelToken) -> sqlite3.Connection:
        there = self._prepare()
        # What was deferred cannot be written any more. It is given up with a word in the log, and so is this write.
        if there and not may_be_written(self._path):
            self._give_up_journal()
            raise read_only_error()
        return self._open(token, there)

    def _open_reader(self, token: CancelToken) -> tuple[sqlite3.Connection, Fingerprint | None]:
        there = self._prepare()
        if not there or may_be_written(self._path):
            return self._open(token, there), None
        try:
            found = open_read_only(self._path, token, self._kind)
        except sqlite3.Error as error:
            raise translate(error, token) from error
        self._file = self._file or _identity(self._path)
        self.read_only = True
        return found

    def _prepare(self) -> bool:
        """Return whether the file is there, or raise if it must be and is not."""
        if self._closed:
            raise ProviderUnavailableError("the database was closed meanwhile", provider="sqlite")
        there = os.path.exists(self._path)
        # 1. There must be a file and there is none.
        if not there and not self._create:
            message = f"there is no store at {self._path}"
            raise ProviderUnavailableError(message, provider="sqlite", details={"missing": "store"})
        # 2. It may be made, its folder too.
        if self._make_folder:
            make_folder(self._path)
        # 3. It was open already: it must be the same one.
        if self._file is not None:
            self._check_file()  # for SQLite would make a new one there
        return there

    def _open(self, token: CancelToken, there: bool) -> sqlite3.Connection:
        try:
            connection = open_connection(self._path, self._synchronous, token, self._kind)
        except sqlite3.Error as error:
            # 1. It failed for a reason of its own.
            if not self._reserve.is_full():
                raise translate(error, token) from error
            # 2. For want of room, and none is kept.
            if not self._reserve.release():
                raise DiskFullError("the disk is full; the database cannot be opened", provider="sqlite") from error
            # 3. The kept room suffices to open it.
            connection = self._open(token, there)  # which takes a file of a few pages beside it
            self._reserve.restore()
        self._file = self._file or _identity(self._path)
        self.made = self.made or not there
        self.read_only = False
        return connection

    def _give_up_journal(self) -> None:
        if self._deferred:
            _log.warning("%s became read-only: the last reads are missing in its audit log", self._path)
        self._deferred.clear()
        self.read_only = True

    def pause(self) -> None:
        """Wait until nothing runs, let nothing begin, and close every connection."""
        # All turns are taken and kept over the fork. Where a call lasts too long, the connections stay open: the child
        # leaves them alone, and what SQLite keeps per process may confuse it.
        end = time.monotonic() + PAUSE_SECONDS
        self._paused = self._write_lock.acquire(timeout=PAUSE_SECONDS)
        self._paused_slots = 0
        while self._paused_slots < MAX_READERS and self._slots.acquire(timeout=max(0.0, end - time.monotonic())):
            self._paused_slots += 1
        if self._paused and self._paused_slots == MAX_READERS:
            self._close_connections()

    def resume(self) -> None:
        """Let calls begin again."""
        for _ in range(self._paused_slots):
            self._slots.release()
        if self._paused:
            self._write_lock.release()

    def __repr__(self) -> str:
        return show_state(self, *self.describe())

    def describe(self) -> tuple[str, ...]:
        """Return the state of the store and its numbers, as they are shown."""
        if self._closed:
            return ("closed",)
        state = "open" if self._writer is not None or self._readers else "unused"
        state = "read-only" if self.read_only else state
        turn = "writing" if self._write_lock.locked() else "not writing"
        return state, counted(len(self._readers), "idle reader"), turn, f"{len(self._deferred)} deferred"

    def forked(self) -> None:
        """Start again in a child process. What could not be closed in time is the parent's and left alone."""
        # Not closed: closing writes to files whose locks the parent holds, and this process does not.
        _left_by_fork.append((self._readers, self._writer, self._deferred))
        self._reset()

    def _write_after_close(self, statement: Query) -> None:
        # A read that was under way when another thread closed the store still enters the audit log.
        token = CancelToken(Deadline.after(1.0))
        connection = open_connection(self._path, self._synchronous, token, self._kind)
        try:
            begin_immediate(connection, token)
            connection.execute(statement.sql, statement.params)
            connection.execute("commit")
        finally:
            connection.close()

    def _take_deferred(self) -> list[Query]:
        taken: list[Query] = []
        # Marked before they are taken: `pending` must not say in between that nothing is left.
        self._in_flight = True
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self._deferred.popleft())
        return taken

    def _start_flusher(self) -> None:
        with self._state_lock:
            if self._flusher is None and not self._stopped:
                self._flusher = threading.Thread(target=self._flush_regularly, daemon=True)
                self._flusher.name = "openmem-audit"
                self._flusher.start()

    def _flush_regularly(self) -> None:
        pause = FLUSH_AFTER_SECONDS
        while not self._stopped:
            # 1. Sleeps until something is deferred.
            # 2. Gives others time to join it, unless it is much or the store closes.
            self._has_pending.wait()
            self._flush_at_once.wait(FLUSH_AFTER_SECONDS)
            self._has_pending.clear()
            self._flush_at_once.clear()
            try:
                self.flush(CancelToken(Deadline.after(1.0)))
            except Exception:  # noqa: BLE001 - nothing is lost: the next transaction writes them
                # 3. It could not be written: again, after a pause that doubles.
                self._has_pending.set()
                self._flush_at_once.wait(pause)
                pause = min(2 * pause, MAX_PAUSE_SECONDS)
            else:
                pause = FLUSH_AFTER_SECONDS

    def _stop_flusher(self) -> None:
        with self._state_lock:
            # Under the lock that starts it: it is either started and found here, or never started.
            thread, self._flusher, self._stopped = self._flusher, None, True
        self._has_pending.set()
        self._flush_at_once.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5.0)


class _WriteTurn:
    """A turn to write. A generator would do the same and take longer, which a single `add` notices."""

    __slots__ = ("_store", "_token")

    def __init__(self, store: SqliteStore, token: CancelToken) -> None:
        self._store, self._token = store, token

    def __enter__(self) -> sqlite3.Connection:
        return self._store.lock_writer(self._token)

    def __exit__(self, *exc_info: object) -> None:
        self._store.unlock_writer()


def _identity(path: str) -> tuple[int, int] | None:
    """Return what tells the file at a path from any other, `None` where there is none or it cannot be told."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _seconds(deadline: Deadline) -> float:
    left = deadline.remaining()
    return -1 if left is None else left
