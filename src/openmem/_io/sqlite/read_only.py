"""A SQLite file that may be read and not written: a read-only disk, folder or file.

SQLite keeps a database with a write-ahead log readable only while it may use two files beside it. There are four cases:

1. The file may be written, and so may its folder, or both files are there already: nothing is special.
2. The file may not be written, the files beside it can be made or used: `mode=ro`. Other processes may write.
3. They cannot, and no log is there: `immutable=1`, which takes no locks. A connection of this kind serves one read, and
   the file is looked at before and after it, for it may be written through another mount or by another user.
4. They cannot, and a log with content is there: an error, for without it the file shows an older state.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final, TypeAlias

from openmem._io.sqlite.errors import READ_ONLY, CancelToken
from openmem._io.sqlite.opening import BUSY_MILLISECONDS, recognise, version_of, when_free
from openmem._sql.file_kind import FileKind
from openmem.errors import ProviderError, ProviderUnavailableError

Fingerprint: TypeAlias = tuple[int, int, int, int]

LOGS: Final = ("-wal", "-journal")
_EFFECTIVE: Final = os.access in os.supports_effective_ids
_NO_ENTRY: Final = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


def may_be_written(path: str) -> bool:
    """Return whether a process may write to the file, or make it where it is missing."""
    beside = _allowed(os.path.dirname(path) or ".") or (_allowed(f"{path}-wal") and _allowed(f"{path}-shm"))
    return beside and (not os.path.lexists(path) or _allowed(path))


def is_refusal(error: sqlite3.Error) -> bool:
    """Return whether SQLite was not let at one of the files."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _NO_ENTRY


def read_only_error() -> ProviderUnavailableError:
    """Return the error of a write to such a file."""
    return ProviderUnavailableError(READ_ONLY, provider="sqlite")


def open_read_only(path: str, token: CancelToken, kind: FileKind) -> tuple[sqlite3.Connection, Fingerprint | None]:
    """Return a connection that only reads; in case 3 also what the file looked like before.

    Raises:
        ProviderError: The file is not one of this kind and version, and cannot be made one.
        ProviderUnavailableError: Its newest changes are in a log that cannot be read (case 4).
    """
    try:
        # Case 2.
        return _connect(path, "mode=ro", token, kind), None
    except sqlite3.Error as error:
        if not is_refusal(error) or not os.access(path, os.R_OK) or may_be_written(path):
            raise
    # Cases 3 and 4.
    before = fingerprint(path)
    return _connect(path, "mode=ro&immutable=1", token, kind), before


def fingerprint(path: str) -> Fingerprint:
    """Return what changes when the file does.

    Raises:
        ProviderUnavailableError: A log with content is beside it, or the file is gone.
    """
    for ending in LOGS:
        if _size(path + ending) > 0:
            raise ProviderUnavailableError(
                f"the newest changes are in the file that ends in {ending}, which cannot be read where nothing may be "
                "written beside it. Open the database once where its folder may be written, or copy all of its files",
                provider="sqlite",
            )
    try:
        found = os.stat(path)
    except OSError:
        raise ProviderUnavailableError("the database file is gone", provider="sqlite") from None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def check_unchanged(path: str, before: Fingerprint) -> None:
    """Refuse what was read while another process wrote.

    Raises:
        ProviderUnavailableError: The file is not what it was.
    """
    if fingerprint(path) != before:
        raise ProviderUnavailableError("the database file was changed while it was read; try again", provider="sqlite")


def _connect(path: str, mode: str, token: CancelToken, kind: FileKind) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{Path(path).absolute().as_uri()}?{mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        connection.execute(f"pragma busy_timeout={BUSY_MILLISECONDS}")
        when_free(lambda: recognise(connection, kind), token)
        connection.execute("pragma temp_store=memory")
        connection.execute("pragma cache_size=-32768")
        _check_version(version_of(connection), kind)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_version(version: int, kind: FileKind) -> None:
    if version == 0:
        raise ProviderError("the file is empty and read-only: no database can be made in it", provider="sqlite")
    needed = kind.migrations.newest
    if version < needed:
        raise ProviderError(
            f"the database was made by an older version of openmem (schema {version}, this one needs {needed}), "
            "and cannot be brought up to date because it is read-only: open it once where it may be written",
            provider="sqlite",
        )


def _allowed(path: str) -> bool:
    return os.access(path, os.W_OK, effective_ids=_EFFECTIVE)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
