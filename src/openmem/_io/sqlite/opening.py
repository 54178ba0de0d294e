"""Opening a SQLite file: recognise it, set it up, bring its schema up to date, refuse what is not ours."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from openmem._io.sqlite.errors import CancelToken
from openmem._sql.file_kind import FileKind
from openmem.errors import ProviderError, ProviderUnavailableError

BUSY_MILLISECONDS: Final = 50


def open_connection(path: str, synchronous: str, token: CancelToken, kind: FileKind) -> sqlite3.Connection:
    """Return a connection to an openmem database of this kind, made or migrated if need be.

    Raises:
        ProviderError: The file is another application's or of another kind, or a newer version of openmem made it.
    """
    _make_private(path)  # the files beside it get the rights that it has
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        # SQLite does not look at a token while it waits for a lock, so it waits for a short time only, again and again.
        connection.execute(f"pragma busy_timeout={BUSY_MILLISECONDS}")
        when_free(lambda: recognise(connection, kind), token)
        when_free(lambda: _configure(connection, synchronous, kind), token)
        if version_of(connection) < kind.migrations.newest:
            _migrate(connection, token, kind)
    except BaseException:
        connection.close()
        raise
    return connection


def make_folder(path: str) -> None:
    """Make the folder of a file if it is missing, for its owner only.

    Raises:
        ProviderUnavailableError: It cannot be made.
    """
    try:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ProviderUnavailableError(
            f"the folder of the database cannot be made: {reason}", provider="sqlite"
        ) from error


def _make_private(path: str) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError:
        return  # it is there, or SQLite will say why it cannot be


def recognise(connection: sqlite3.Connection, kind: FileKind) -> None:
    """Refuse a database that is not of this kind, or newer than this code."""
    connection.execute("begin")  # one snapshot: another process may be making the file right now
    try:
        application = connection.execute("pragma application_id").fetchone()[0]
        tables = connection.execute("select count(*) from sqlite_master").fetchone()[0]
        version = version_of(connection)
    finally:
        if connection.in_transaction:  # not if the disk failed or is full, which must be said
            connection.execute("rollback")
    # 1. Of this kind.
    if application == kind.application_id:
        kind.migrations.refuse_newer(version)
    # 2. Another application's.
    # 3. Else it is empty, and is made one of this kind.
    elif application or tables:
        raise ProviderError("the file is a database of another application", provider="sqlite")


def _configure(connection: sqlite3.Connection, synchronous: str, kind: FileKind) -> None:
    if version_of(connection) == 0:  # what an older version made is rebuilt later; either would wait for its writer
        connection.execute(f"pragma page_size={kind.page_size}")
        connection.execute("pragma auto_vacuum=incremental")
    connection.execute("pragma journal_mode=wal")
    connection.execute(f"pragma synchronous={synchronous}")
    connection.execute(f"pragma secure_delete={kind.secure_delete}")
    connection.execute("pragma temp_store=memory")
    connection.execute("pragma cache_size=-32768")


def begin_immediate(connection: sqlite3.Connection, token: CancelToken) -> None:
    """Begin a write transaction, waiting for other processes until the token is stopped."""
    try:
        connection.execute("begin immediate")  # nearly always it is free
    except sqlite3.OperationalError as error:
        _check_busy(error, token)
        when_free(lambda: connection.execute("begin immediate"), token)


def rebuild(connection: sqlite3.Connection, token: CancelToken) -> None:
    """Rebuild a file that an older version made, which cannot shrink and may hold erased bytes in free pages.

    It does nothing to another, and takes as much room on the disk as the file does while it runs.
    """
    if connection.execute("pragma auto_vacuum").fetchone()[0]:
        return
    connection.execute("pragma auto_vacuum=incremental")
    connection.execute("pragma temp_store=file")
    try:
        when_free(lambda: connection.execute("vacuum"), token)
    finally:
        connection.execute("pragma temp_store=memory")


def _migrate(connection: sqlite3.Connection, token: CancelToken, kind: FileKind) -> None:
    begin_immediate(connection, token)
    try:
        # All in one transaction: another process sees the old version or the new one.
        for _, statements in kind.migrations.due(version_of(connection)):  # another process may have been quicker
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"pragma application_id={kind.application_id}")
        connection.execute(f"pragma user_version={kind.migrations.newest}")
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of the schema, 0 where there is none."""
    version: int = connection.execute("pragma user_version").fetchone()[0]
    return version


def when_free(action: Callable[[], object], token: CancelToken) -> None:
    """Do something again and again while another process has the file locked, until the token is stopped."""
    while True:
        try:
            action()
            return
        except sqlite3.OperationalError as error:
            _check_busy(error, token)


def _check_busy(error: sqlite3.OperationalError, token: CancelToken) -> None:
    """Raise unless another process has the file locked and there is time to wait for it."""
    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
        raise error
    token.check()
