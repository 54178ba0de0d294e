"""The token that stops a statement, and the errors of this SDK that SQLite's own become."""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import Final

from openmem._io.concurrency.call import Deadline
from openmem.errors import OMPError, ProviderError, ProviderUnavailableError

_OPERATIONS_PER_CHECK = 10_000


class DiskFullError(ProviderUnavailableError):
    """There is no room on the disk for what a transaction writes; it was rolled back."""


CANNOT_OPEN: Final = (
    "the database file cannot be opened: its folder is missing, it is a folder itself, it may not be read, "
    "or it is not there and its folder is read-only"
)
READ_ONLY: Final = "the database file, or its folder, is read-only; nothing was stored"
_MESSAGES: dict[int, tuple[type[ProviderError], str]] = {
    sqlite3.SQLITE_BUSY: (ProviderUnavailableError, "another process kept the database locked"),
    sqlite3.SQLITE_LOCKED: (ProviderUnavailableError, "another process kept the database locked"),
    sqlite3.SQLITE_FULL: (DiskFullError, "the disk is full; nothing was stored"),
    sqlite3.SQLITE_READONLY: (ProviderUnavailableError, READ_ONLY),
    sqlite3.SQLITE_CANTOPEN: (
        ProviderUnavailableError,
        CANNOT_OPEN,
    ),
    sqlite3.SQLITE_IOERR: (ProviderUnavailableError, "the disk failed; nothing was stored"),
    sqlite3.SQLITE_CORRUPT: (ProviderError, "the database file is damaged"),
    sqlite3.SQLITE_NOTADB: (ProviderError, "the file is not a database"),
}


class interruptible:  # noqa: N801 - it is used like a function
    """Lets a token stop the statements of a connection while the context lasts, and turns SQLite's errors into ours."""

    __slots__ = ("_connection", "_token")

    def __init__(self, connection: sqlite3.Connection, token: CancelToken) -> None:
        self._connection, self._token = connection, token

    def __enter__(self) -> None:
        self._connection.set_progress_handler(self._token.must_stop, _OPERATIONS_PER_CHECK)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.set_progress_handler(None, 0)
        if isinstance(error, sqlite3.Error):
            raise translate(error, self._token) from error


class CancelToken:
    """One run of some statements, which a deadline or its caller may stop."""

    __slots__ = ("cancelled", "deadline")

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.cancelled = False

    def must_stop(self) -> bool:
        """Return whether SQLite is to interrupt the statement; called every few thousand operations."""
        return self.cancelled or self.deadline.passed()

    def check(self) -> None:
        """Raise if the call was cancelled or its deadline has passed."""
        if self.cancelled:
            raise ProviderError("the call was cancelled", provider="sqlite")
        self.deadline.check()


def translate(error: sqlite3.Error, token: CancelToken) -> OMPError | KeyboardInterrupt:
    """Return the error to raise instead of one of SQLite's."""
    primary = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    # 1. The deadline explains any error: SQLite was interrupted, or waited for a lock until then.
    if token.deadline.passed():
        return token.deadline.exceeded()
    # 2. Interrupted without one: by the caller, or by Ctrl-C.
    if primary == sqlite3.SQLITE_INTERRUPT:
        if not token.cancelled:
            return KeyboardInterrupt()  # Ctrl-C came while SQLite asked the token, and SQLite kept it to itself
        return ProviderError("the call was cancelled", provider="sqlite")
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_SHMSIZE:
        primary = sqlite3.SQLITE_FULL  # of the file that processes share, which the others do not wait for
    # 3. The error speaks for itself. Its text may quote what was stored, so ours is another.
    kind, message = _MESSAGES.get(primary, (ProviderError, f"SQLite failed: {type(error).__name__}"))
    return kind(message, provider="sqlite")
