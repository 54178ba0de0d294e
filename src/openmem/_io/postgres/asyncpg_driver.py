"""One connection through asyncpg: opening it, its codecs, and what its errors mean.

The only module that knows this driver. It has no type information, so its objects are `Any` here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

import asyncpg
from pgvector.asyncpg import register_vector

from openmem._io.postgres.failure import Failure, failure_of_report
from openmem._io.postgres.options import PoolOptions, Target
from openmem._io.postgres.socket_wait import readable_check
from openmem._io.postgres.tls import ConnectArguments, find_connect_arguments
from openmem._sql.postgres import values
from openmem._sql.postgres.errors import (
    TLS_FAILED,
    Report,
    error_while_connecting,
    misused,
    quotes_values,
    unreachable,
    unusable,
    wrong_encoding,
)
from openmem.errors import OMPError

RECOVER_SECONDS: Final = 5.0
CANCEL_SECONDS: Final = 0.3
_MOMENT: Final = 0.02
_READ_AT_ONCE: Final = 32 * 1024
"""Bytes of JSON that are read on the event loop, in a millisecond or so."""

_FIND_TYPES: Final = """
    select t.typname::text, t.oid, n.nspname::text
    from pg_catalog.pg_extension e
    join pg_catalog.pg_type t on t.typnamespace = e.extnamespace and t.typname in ('vector', 'halfvec', 'sparsevec')
    join pg_catalog.pg_namespace n on n.oid = t.typnamespace
    where e.extname = 'vector'
"""
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


class LateReader:
    """Reads JSON where it arrives, on the event loop, unless that takes long.

    Attributes:
        put_off: Some was left to be read later since this was last set.
    """

    __slots__ = ("put_off",)

    def __init__(self) -> None:
        self.put_off = False

    def decode(self, data: bytes) -> Any:
        """Return the value that the binary form of `jsonb` holds, or what reads it later."""
        if len(data) <= _READ_AT_ONCE:
            return values.decode_json(data)
        self.put_off = True
        return values.LateJson(bytes(data))


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    """Looks types up in what another connection has found: a query less for each codec."""

    found: Mapping[str, tuple[int, str]] = {}
    late: LateReader = LateReader()  # of a plain connection, which reads no JSON

    async def _introspect_type(self, typename: str, schema: str) -> Any:
        known = self.found.get(typename)
        if known is None:
            return await super()._introspect_type(typename, schema)
        return {"oid": known[0], "elemtype": None, "kind": b"b"}


_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


class AsyncDriver:
    """Opens connections with the same options and shares among them what one of them has found out."""

    def __init__(self, options: PoolOptions) -> None:
        self._options = options
        self._types: dict[str, tuple[int, str]] = {}
        self._connect_arguments: ConnectArguments | None = None
        self._prepares = options.statement_cache

    def stop_preparing(self) -> None:
        """Keep no statements prepared from now on."""
        self._prepares = False

    def forget(self) -> None:
        """Look everything up again: the server may have been restored or replaced."""
        self._types = {}
        self._connect_arguments = None

    async def find_connect_arguments(self) -> ConnectArguments:
        """Return how to get in, which is found out once.

        Raises:
            OMPError: The address, a service or a certificate cannot be used.
        """
        # In a thread: keys, certificates and the password file are read.
        if self._connect_arguments is None:
            self._connect_arguments = await asyncio.to_thread(find_connect_arguments, self._options)
        return self._connect_arguments

    async def open(self, *, plain: bool = False) -> AsyncSession:
        """Return a new connection.

        Args:
            plain: Without codecs, settings and cached statements.

        Raises:
            OMPError: It cannot be had.
        """
        arguments, connection = await self.find_connect_arguments(), None
        try:
            connection = await self._connect(arguments, plain)
            complete = not plain and await self._prepare(connection)
            return AsyncSession(connection, complete)
        # 1. The server, the network or the driver refused.
        # 2. The caller left: the half-open connection goes with it.
        except (*_ERRORS, ValueError) as error:
            failed = error
        except BaseException:
            _abort(connection)
            raise
        _abort(connection)
        # Not while it is handled: it may quote the address, and would stay behind as the context.
        translated, quotes = connect_error(failed, arguments.target)
        raise translated from (None if quotes else failed)

    async def _connect(self, arguments: ConnectArguments, plain: bool) -> Any:
        more = {"statement_cache_size": 0} if plain or not self._prepares else {}
        connection = await arguments.connect(connection_class=_Connection, timeout=None, **more)
        if connection.get_settings().server_encoding not in ("UTF8", None):
            _abort(connection)
            raise wrong_encoding()
        return connection

    async def _prepare(self, connection: Any) -> bool:
        # 1. Settings of the session, all in one message.
        if self._options.setup:
            await connection.execute(";".join(self._options.setup))
        # 2. Tables without vectors: the driver knows all types.
        if not self._options.extension:
            return True
        # 3. The types of the extension are looked up by the first connection; none are kept while there is no
        #    extension.
        if not self._types:
            rows = await connection.fetch(_FIND_TYPES)
            self._types = {row[0]: (row[1], row[2]) for row in rows}
        connection.found = self._types
        connection.late = late = LateReader()
        await connection.set_type_codec(
            "jsonb", schema="pg_catalog", encoder=values.encode_json, decoder=late.decode, format="binary"
        )
        # 4. No extension yet: the connection is used once, for the one that makes it.
        if "vector" not in self._types:
            return False
        await register_vector(connection, schema=self._types["vector"][1])
        return True


class AsyncSession:
    """One connection.

    Attributes:
        errors: What it raises.
        complete: It knows the types of the extension; one that does not is used once.
        generation: When it was opened, in terms of its pool.
        idle_since: When it was put back, on the loop's clock.
        begun: Some statement of the work in hand had an effect that is not undone.
    """

    errors: ClassVar = _ERRORS

    __slots__ = ("_batch", "_has_ended", "begun", "complete", "connection", "generation", "idle_since")

    def __init__(self, connection: Any, complete: bool) -> None:
        self.connection = connection
        self.complete = complete
        self.begun = False
        self.generation = 0
        self.idle_since = 0.0
        self._batch: asyncio.Future[None] | None = None
        fileno = _tune_socket(connection)
        self._has_ended = readable_check(fileno) if fileno >= 0 else _unknown

    @property
    def lost(self) -> bool:
        """Whether the connection is closed."""
        return bool(self.connection.is_closed())

    @property
    def busy(self) -> bool:
        """Whether a transaction is open."""
        return bool(self.connection.is_in_transaction())

    def is_alive(self) -> bool:
        """Return whether an idle connection can still be used."""
        return not self.lost and not self._has_ended()

    def fetch(self, sql: str, params: Sequence[Any]) -> Awaitable[list[Any]]:
        """Run one statement and return its rows; `late` then says whether some JSON in them is left to be read."""
        self.connection.late.put_off = False
        rows: Awaitable[list[Any]] = self.connection.fetch(sql, *params)  # as it is: a frame less for each statement
        return rows

    @property
    def late(self) -> bool:
        """Whether some JSON in what was fetched last is left to be read later."""
        return bool(self.connection.late.put_off)

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for many rows of parameters."""
        # In a task of its own: cancelled while the server is slow to read, it would make its caller wait.
        self._batch = asyncio.ensure_future(self.connection.executemany(sql, rows))
        await asyncio.shield(self._batch)
        self._batch = None

    async def recover(self) -> bool:
        """Wait until a cancelled statement is over, and roll its transaction back.

        Returns:
            Whether the connection is in order; if not it must be closed, though the server may be well.
        """
        # 1. A batch of rows may have been cut off in the middle of a message, and then nothing can be sent any more.
        orderly = await self._end_batch()
        try:
            # 2. The cancelled statement is over once another one is answered.
            # 3. Its transaction is left.
            async with asyncio.timeout(RECOVER_SECONDS if orderly else CANCEL_SECONDS):
                # The request to cancel may hit this one instead, and a failed transaction takes only its end.
                with contextlib.suppress(asyncpg.QueryCanceledError, asyncpg.InFailedSQLTransactionError):
                    await self.connection.execute("select 1")
                if self.busy:
                    await self.connection.execute("rollback")
        except TimeoutError:
            if orderly:
                raise
        return orderly

    async def _end_batch(self) -> bool:
        batch, self._batch = self._batch, None
        if batch is None or batch.done():
            return True
        # 1. It ends at once, or
        # 2. it had swallowed the request, and is ended the hard way.
        batch.cancel()
        await asyncio.wait([batch], timeout=_MOMENT)
        if batch.done():
            return True
        batch.cancel()  # the first one was swallowed, in the middle of a message that is now never finished
        await asyncio.wait([batch], timeout=_MOMENT)
        return False

    def failure(self, error: Exception, *, harmless: bool = False) -> Failure:
        """Return what one of its errors means."""
        # The driver was used in a way it does not allow: a fault of ours, and the connection is as it was.
        if isinstance(error, asyncpg.InterfaceError) and not self.lost:
            return Failure(misused(), None, lost=False, passing=False, harmless=harmless)
        return failure_of_report(
            _report_of(error), error, closed=self.lost, harmless=harmless, untouched=not self.begun
        )

    def abort(self) -> None:
        """Say good-bye and close, without waiting for an answer."""
        _abort(self.connection)


def connect_error(error: Exception, target: Target) -> tuple[OMPError, bool]:
    """Return what a failed attempt to connect means, and whether the error may quote the address."""
    state = _state_of(error)
    if state is not None:
        return error_while_connecting(state, target.for_server), quotes_values(state)
    if isinstance(error, ssl.SSLError) or "SSL" in str(error):
        return unreachable(TLS_FAILED), False
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return unusable(), True
    return unreachable(), False


def _report_of(error: BaseException) -> Report:
    # The type of a column is another than the driver has looked up: nothing came from the server then.
    if isinstance(error, asyncpg.OutdatedSchemaCacheError):
        return Report("0A000", "ERROR", routine="RevalidateCachedQuery")
    # A connection that ends in the middle of a statement keeps the server's last words as the cause.
    last_words = error.__cause__
    if isinstance(error, asyncpg.PostgresConnectionError) and isinstance(last_words, asyncpg.PostgresError):
        return _report_of(last_words)
    names = ("severity_en", "server_source_filename", "server_source_function", "constraint_name")
    return Report(_state_of(error), *(getattr(error, name, None) for name in names))


def _state_of(error: BaseException) -> str | None:
    # A connection that ends in the middle of a statement keeps the server's last words as the cause.
    last_words = error.__cause__
    if isinstance(error, asyncpg.PostgresConnectionError) and isinstance(last_words, asyncpg.PostgresError):
        return _state_of(last_words)
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None


def _unknown() -> bool:
    return False


def _tune_socket(connection: Any) -> int:
    transport = getattr(connection, "_transport", None)
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None:
        return -1
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return int(sock.fileno())


def _abort(connection: Any) -> None:
    if connection is not None:
        with contextlib.suppress(Exception):
            connection.terminate()
