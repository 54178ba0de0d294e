"""Opening a SQLite file: recognise it, set it up, bring its schema up to date, refuse what is not ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from openmem._io.sqlite_errors import Job
from openmem.errors import ProviderError
from openmem.sql.sqlite.schema import APPLICATION_ID, MIGRATIONS, PAGE_SIZE

SCHEMA_VERSION = len(MIGRATIONS)
_BUSY_MILLISECONDS = 50


def open_connection(path: str, synchronous: str, job: Job) -> sqlite3.Connection:
    """Return a connection to an openmem database, made or migrated if need be.

    Raises:
        ProviderError: The file is another application's, or a newer version of openmem made it.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        # SQLite does not look at a job while it waits for a lock, so it waits for a short time only, again and again.
        connection.execute(f"pragma busy_timeout={_BUSY_MILLISECONDS}")
        _when_free(lambda: _recognise(connection), job)
        _when_free(lambda: _configure(connection, synchronous), job)
        if _version(connection) < SCHEMA_VERSION:
            _migrate(connection, job)
    except BaseException:
        connection.close()
        raise
    return connection


def _recognise(connection: sqlite3.Connection) -> None:
    connection.execute("begin")  # one snapshot: another process may be making the file right now
    try:
        application = connection.execute("pragma application_id").fetchone()[0]
        tables = connection.execute("select count(*) from sqlite_master").fetchone()[0]
        version = _version(connection)
    finally:
        connection.execute("rollback")
    if application == APPLICATION_ID:
        _refuse_newer(version)
    elif application or tables:
        raise ProviderError("the file is a database of another application", provider="sqlite")


def _configure(connection: sqlite3.Connection, synchronous: str) -> None:
    connection.execute(f"pragma page_size={PAGE_SIZE}")
    connection.execute("pragma journal_mode=wal")
    connection.execute(f"pragma synchronous={synchronous}")
    connection.execute("pragma secure_delete=fast")  # zeros where that costs no page more
    connection.execute("pragma temp_store=memory")
    connection.execute("pragma cache_size=-32768")


def begin_immediate(connection: sqlite3.Connection, job: Job) -> None:
    """Begin a write transaction, waiting for other processes until the job is stopped."""
    _when_free(lambda: connection.execute("begin immediate"), job)


def _migrate(connection: sqlite3.Connection, job: Job) -> None:
    begin_immediate(connection, job)
    try:
        version = _version(connection)  # another process may have been quicker
        _refuse_newer(version)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"pragma application_id={APPLICATION_ID}")
        connection.execute(f"pragma user_version={max(version, SCHEMA_VERSION)}")
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _refuse_newer(version: int) -> None:
    if version > SCHEMA_VERSION:
        raise ProviderError(
            f"the database was made by a newer version of openmem (schema {version}, this one knows "
            f"{SCHEMA_VERSION}): upgrade openmem",
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
