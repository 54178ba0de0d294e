"""One connection through psycopg: opening it, its codecs, its time limit, and what its errors mean.

The only module that knows this driver. All waiting is done here, on the socket: so a deadline needs neither a
thread nor a round trip, and an interrupt from the keyboard ends the statement on the server too.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Generator, Iterable, Sequence
from typing import Any, ClassVar, Final, TypeVar

import psycopg
from psycopg import pq
from psycopg.pq import PipelineStatus, PollingStatus, TransactionStatus

from openmem._io.concurrency.call import Deadline
from openmem._io.postgres.failure import Failure, failure_of_report
from openmem._io.postgres.options import PoolOptions, Target, libpq_arguments
from openmem._io.postgres.psycopg_codecs import register
from openmem._io.postgres.socket_wait import READ, WRITE, readable_check, wait_ready
from openmem._io.postgres.target import find_target
from openmem._sql.postgres.errors import (
    TLS_FAILED,
    Report,
    closed,
    error_while_connecting,
    misused,
    quotes_values,
    state_in_words,
    unreachable,
    unusable,
    wrong_encoding,
)
from openmem.errors import OMPError

T = TypeVar("T")

CANCEL_SECONDS: Final = 0.5

_FIND_TYPES: Final = """
    select t.typname::text, t.oid::bigint
    from pg_catalog.pg_extension e
    join pg_catalog.pg_type t on t.typnamespace = e.extnamespace and t.typname in ('vector', 'halfvec')
    where e.extname = 'vector'
"""


class _Late(Exception):
    """The time for a statement is over."""


class _Connection(psycopg.Connection[Any]):
    """Waits no longer than the deadline of the operation it is used for."""

    deadline = Deadline()
    stopped = False

    def wait(self, gen: Generator[int, int, T], *_: Any, **__: Any) -> T:
        """Run one exchange with the server; leave nothing running there that no caller waits for."""
        # 1. `close` was called in another thread.
        # 2. The time is over before anything was sent.
        if self.stopped:
            raise closed()
        self.deadline.check()
        try:
            return _exchange(gen, self.pgconn.socket, self.deadline.at)
        except psycopg.Error:
            raise
        except BaseException as error:
            # 3. The deadline, Ctrl-C or a signal came while the server was at work: it is asked to stop.
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self._give_up(gen)
            if isinstance(error, _Late):
                raise self._over() from None
            raise

    def _over(self) -> OMPError:
        return closed() if self.stopped else self.deadline.exceeded()

    def _give_up(self, gen: Generator[int, int, T]) -> None:
        try:
            # 1. The server is asked over a connection of its own, for half a second.
            # 2. It answers that it stopped.
            with contextlib.suppress(psycopg.Error):
                self.cancel_safe(timeout=CANCEL_SECONDS)
            with contextlib.suppress(psycopg.Error):
                _exchange(gen, self.pgconn.socket, time.monotonic() + CANCEL_SECONDS)
        # 3. It does not answer: what it still does ends with the connection.
        except _Late:
            self.close()
        except BaseException:
            self.close()
            raise
        if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
            self.close()


def _exchange(gen: Generator[int, int, T], fileno: int, until: float | None) -> T:
    try:
        wanted = next(gen)
        while True:
            ready = wait_ready(fileno, wanted, until)
            if not ready:
                raise _Late
            wanted = gen.send(ready)
    except StopIteration as stop:
        result: T = stop.value
        return result


class Driver:
    """Opens connections with the same options and shares among them what one of them has found out."""

    def __init__(self, options: PoolOptions) -> None:
        self._options = options
        self._types: dict[str, int] = {}
        self._found: tuple[Target, bytes] | None = None
        self._prepares = options.statement_cache

    def stop_preparing(self) -> None:
        """Keep no statements prepared from now on."""
        self._prepares = False

    def forget(self) -> None:
        """Look everything up again: the server may have been restored or replaced."""
        self._types = {}
        self._found = None

    def _find_target(self) -> tuple[Target, bytes]:
        if self._found is None:
            target = find_target(self._options)
            known = frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())
            self._found = target, _conninfo(libpq_arguments(target, self._options, known))
        return self._found

    def open(self, deadline: Deadline, *, plain: bool = False) -> Session:
        """Return a new connection.

        Args:
            deadline: When to give up.
            plain: Without codecs, settings and cached statements.

        Raises:
            OMPError: It cannot be had.
        """
        target, conninfo = self._find_target()
        allowed = target.connect_seconds
        until = time.monotonic() + allowed
        try:
            connection = _connect(conninfo, until if deadline.at is None else min(until, deadline.at))
            connection.deadline = deadline
            return self._session(connection, plain)
        except _Late:
            # 1. The limit for connecting was shorter than the deadline.
            # 2. It was the deadline.
            late = unreachable(f"the database server did not accept a connection within {allowed:g} s")
            raise (deadline.exceeded() if deadline.passed() else late) from None
        except psycopg.Error as error:
            failed = error
        # Not while it is handled: it may quote the address, and would stay behind as the context.
        translated, quotes = connect_error(failed, target)
        raise translated from (None if quotes else failed)

    def _session(self, connection: _Connection, plain: bool) -> Session:
        try:
            if connection.pgconn.parameter_status(b"server_encoding") not in (b"UTF8", None):
                raise wrong_encoding()
            connection.autocommit = True
            connection.cursor_factory = psycopg.RawCursor
            connection.prepare_threshold = 2 if self._prepares and not plain else None
            return Session(connection, not plain and self._prepare(connection))
        except BaseException:
            connection.close()
            raise

    def _prepare(self, connection: _Connection) -> bool:
        if self._options.setup:
            connection.execute(";".join(self._options.setup))
        if not self._options.extension:
            return True
        if not self._types:
            # Looked up by the first connection; none are kept while there is no extension.
            self._types = dict(connection.execute(_FIND_TYPES, binary=True).fetchall())
        register(connection, self._types)
        return bool(self._types)


class Session:
    """One connection.

    Attributes:
        errors: What it raises.
        complete: It knows the types of the extension; one that does not is used once.
        generation: When it was opened, in terms of its pool.
        idle_since: When it was put back, on the monotonic clock.
        begun: Some statement of the work in hand had an effect that is not undone.
    """

    errors: ClassVar = (psycopg.Error,)

    __slots__ = ("_cursor", "_has_ended", "begun", "complete", "connection", "generation", "idle_since")

    def __init__(self, connection: _Connection, complete: bool) -> None:
        self.connection = connection
        self.complete = complete
        self.begun = False
        self.generation = 0
        self.idle_since = 0.0
        self._has_ended = readable_check(connection.pgconn.socket)
        self._cursor: psycopg.Cursor[Any] | None = None

    @property
    def lost(self) -> bool:
        """Whether the connection is closed."""
        return self.connection.closed

    def is_alive(self) -> bool:
        """Return whether an idle connection can still be used."""
        return not self.connection.closed and not self._has_ended()

    def fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        # 1. A cursor takes as long to make as many a statement to encode, so one is kept. It is gone if this fails.
        cursor, self._cursor = self._cursor or self.connection.cursor(binary=True), None
        cursor.execute(sql, params)
        result = cursor.pgresult
        # 2. Rows: they would stay in the memory with it.
        # 3. None: it is used again.
        if result is not None and result.nfields:
            return cursor.fetchall()
        self._cursor = cursor
        return []

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for many rows of parameters."""
        self.connection.cursor(binary=True).executemany(sql, rows)

    def command(self, sql: str) -> None:
        """Run a text of statements without parameters or rows."""
        self.connection.execute(sql, prepare=False)

    def recover(self) -> None:
        """Leave the transaction, if one is open; close the connection if that cannot be done soon."""
        connection = self.connection
        # 1. Nothing to do.
        # 2. A transaction is open: it is rolled back within half a second.
        # 3. The connection is in the middle of a batch, or does not answer: it is closed.
        if connection.closed or connection.pgconn.transaction_status == TransactionStatus.IDLE:
            return
        connection.deadline = Deadline.after(CANCEL_SECONDS)
        try:
            if connection.pgconn.pipeline_status == PipelineStatus.OFF:
                self.command("rollback")
        except (psycopg.Error, OMPError):
            self.abort()
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            self.abort()

    def failure(self, error: psycopg.Error, *, harmless: bool = False) -> Failure:
        """Return what one of its errors means."""
        state = error.sqlstate
        # An operational error without a state is the connection's own: the server was gone in the middle of a batch.
        if state is None and not self.lost and not isinstance(error, psycopg.OperationalError):
            return Failure(misused(), None, lost=False, passing=False, harmless=harmless)
        diag = error.diag
        report = Report(state, diag.severity_nonlocalized, diag.source_file, diag.source_function, diag.constraint_name)
        return failure_of_report(report, error, closed=self.lost, harmless=harmless, untouched=not self.begun)

    def stop(self) -> None:
        """End what another thread does with the connection."""
        # Before the request to cancel: its thread must not begin another statement.
        self.connection.stopped = True
        with contextlib.suppress(psycopg.Error):
            self.connection.cancel_safe(timeout=CANCEL_SECONDS)

    def abort(self) -> None:
        """Say good-bye and close, without waiting for an answer."""
        self.connection.close()


def connect_error(error: psycopg.Error, target: Target) -> tuple[OMPError, bool]:
    """Return what a failed attempt to connect means, and whether the error may quote the address."""
    text = str(error)
    state = error.sqlstate or state_in_words(text)
    if state is not None:
        return error_while_connecting(state, target.for_server), quotes_values(state)
    if re.search(r"\binvalid [\w ]*(value|port|option)\b", text):  # it goes on with the value
        return unusable(), True
    if "SSL" in text or "certificate" in text or "channel binding" in text:
        return unreachable(TLS_FAILED), False
    return unreachable(), False


def _conninfo(parameters: dict[str, str]) -> bytes:
    with contextlib.suppress(psycopg.Error, ValueError):
        return psycopg.conninfo.make_conninfo(**parameters).encode()
    raise unusable()


def _connect(conninfo: bytes, until: float) -> _Connection:
    link = pq.PGconn.connect_start(conninfo)
    try:
        # Connecting is a machine of libpq: it says which way to wait for the socket, until it is done or has failed.
        while link.status != pq.ConnStatus.BAD:
            status = link.connect_poll()
            if status == PollingStatus.OK:
                link.nonblocking = 1
                return _Connection(link)
            if status == PollingStatus.FAILED:
                break
            if not wait_ready(link.socket, READ if status == PollingStatus.READING else WRITE, until):
                raise _Late
        raise psycopg.OperationalError(link.get_error_message())
    except BaseException:
        link.finish()
        raise
