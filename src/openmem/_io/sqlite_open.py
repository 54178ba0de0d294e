"""Opening a SQLite file: recognise it, set it up, bring its schema up to date, refuse what is not ours."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable

from openmem._io.sqlite_errors import Job
from openmem.errors import ProviderError
from openmem.sql.sqlite.files import FileKind

_BUSY_MILLISECONDS = 50


def open_connection(path: str, synchronous: str, job: Job, kind: FileKind) -> sqlite3.Connection:
    """Return a connection to an openmem database of this kind, made or migrated if need be.

    Raises:
        ProviderError: The file is another application's or of another kind, or a newer version of openmem made it.
    """
    _make_private(path)  # the files beside it get the rights that it has
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        # SQLite does not look at a job while it waits for a lock, so it waits for a short time only, again and again.
        connection.execute(f"pragma busy_timeout={_BUSY_MILLISECONDS}")
        _when_free(lambda: _recognise(connection, kind), job)
        _when_free(lambda: _configure(connection, synchronous, kind), job)
        if _version(connection) < kind.version:
            _migrate(connection, job, kind)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_private(path: str) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError:
        return  # it is there, or SQLite will say why it cannot be


def _recognise(connection: sqlite3.Connection, kind: FileKind) -> None:
    connection.execute("begin")  # one snapshot: another process may be making the file right now
    try:
        application = connection.execute("pragma application_id").fetchone()[0]
        tables = connection.execute("select count(*) from sqlite_master").fetchone()[0]
        version = _version(connection)
    finally:
        connection.execute("rollback")
    if application == kind.application_id:
        _refuse_newer(version, kind)
    elif application or tables:
        raise ProviderError("the file is a database of another application", provider="sqlite")


def _configure(connection: sqlite3.Connection, synchronous: str, kind: FileKind) -> None:
    connection.execute(f"pragma page_size={kind.page_size}")
    connection.execute("pragma auto_vacuum=incremental")  # of a new file; what an older version made is rebuilt later
    connection.execute("pragma journal_mode=wal")
    connection.execute(f"pragma synchronous={synchronous}")
    connection.execute(f"pragma secure_delete={kind.secure_delete}")
    connection.execute("pragma temp_store=memory")
    connection.execute("pragma cache_size=-32768")


def begin_immediate(connection: sqlite3.Connection, job: Job) -> None:
    """Begin a write transaction, waiting for other processes until the job is stopped."""
    _when_free(lambda: connection.execute("begin immediate"), job)


def rebuild(connection: sqlite3.Connection, job: Job) -> None:
    """Write a file anew that an older version made, which cannot shrink and may hold erased bytes in free pages.

    It does nothing to another, and takes as much room on the disk as the file does while it runs.
    """
    if connection.execute("pragma auto_vacuum").fetchone()[0]:
        return
    connection.execute("pragma auto_vacuum=incremental")
    connection.execute("pragma temp_store=file")
    try:
        _when_free(lambda: connection.execute("vacuum"), job)
    finally:
        connection.execute("pragma temp_store=memory")


def _migrate(connection: sqlite3.Connection, job: Job, kind: FileKind) -> None:
    begin_immediate(connection, job)
    try:
        version = _version(connection)  # another process may have been quicker
        _refuse_newer(version, kind)
        for statements in kind.migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"pragma application_id={kind.application_id}")
        connection.execute(f"pragma user_version={max(version, kind.version)}")
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _refuse_newer(version: int, kind: FileKind) -> None:
    if version > kind.version:
        raise ProviderError(
            f"the database was made by a newer version of openmem (schema {version}, this one knows "
            f"{kind.version}): upgrade openmem",
            provider="sqlite",
        )


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("pragma user_version").fetchone()[0]
    return version


def _when_free(action: Callable[[], object], job: Job) -> None:
    while True:
        try:
            action()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            job.check()
