"""Runs the server: checks what it needs, listens, and stops when it is told to."""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from functools import cached_property
from types import FrameType
from typing import Any, Final, TypeVar

import uvicorn

from openmem import OMPError, redacted_url
from openmem.server.middleware.admission import Drain
from openmem.server.middleware.logs import log_config
from openmem.server.runtime.addresses import http_url, is_loopback
from openmem.server.runtime.connection_limits import protocol_class
from openmem.server.runtime.connections import ACCEPTED_AT_ONCE, RESERVED_DESCRIPTORS, ConnectionTable, connection_limit
from openmem.server.runtime.output import say
from openmem.server.runtime.settings import ServerSettings
from openmem.server.services.stores import make_memory, make_store
from openmem.server.services.timing import run, watch_loop, within

T = TypeVar("T")

KEY_HINT: Final = "make one with: omp keys create --app NAME --user '*' --grant 'admin:*'"
BACKLOG: Final = 2048
"""Connections that the kernel takes in before the process does."""
FAILED: Final = 1


class BootError(Exception):
    """The server cannot start; the message says why."""


def serve(settings: ServerSettings) -> int:
    """Run the server until it is told to stop; return the exit code."""
    try:
        provider = run(_check(settings))
        listener = listen(settings)
    except BootError as error:
        say(str(error))
        return FAILED
    url = http_url(settings.host, listener.getsockname()[1])
    if settings.workers > 1:
        from openmem.server.runtime.workers import serve_with_workers

        return serve_with_workers(EdgeConfig(settings), listener, f"serving {provider} at {url}")
    server = EdgeServer(EdgeConfig(settings), started=f"serving {provider} at {url}")
    try:
        server.run([listener])
    except SystemExit:
        return FAILED
    return 0 if server.started else FAILED


async def _check(settings: ServerSettings) -> str:
    """Open and ask everything once; return the name of the provider."""
    memories = f"the memories cannot be opened{_at(settings.url or settings.base_url)}"
    provider = await _within_boot(settings, memories, _health(settings))
    keys = f"the server's store (--store) cannot be opened{_at(settings.store)}"
    if not await _within_boot(settings, keys, _has_keys(settings)):
        _tell_about_keys(settings)
    return provider


def _at(address: str | None) -> str:
    return "" if address is None else f" at {redacted_url(address)}"


async def _within_boot(settings: ServerSettings, trouble: str, work: Coroutine[Any, Any, T]) -> T:
    try:
        return await within(work, settings.boot_timeout)
    except TimeoutError:
        raise BootError(f"{trouble}: no answer in {settings.boot_timeout:g} seconds") from None
    except OMPError as error:
        raise BootError(f"{trouble}: {error.message}") from None


async def _health(settings: ServerSettings) -> str:
    async with make_memory(settings) as memory:
        health = await memory.health()
        if not health.ok:
            raise BootError("the memories cannot be opened: the memory backend says that it is not well")
        return health.provider


async def _has_keys(settings: ServerSettings) -> bool:
    async with make_store(settings) as store:
        return await store.has_keys()


def _tell_about_keys(settings: ServerSettings) -> None:
    if not settings.open_without_keys:
        raise BootError(
            f"there are no keys, so the server listens on loopback only, not on {settings.host}: "
            f"{KEY_HINT}, or give --insecure to let everybody in"
        )
    who = "everybody on this machine" if is_loopback(settings.host) else "everybody who can reach it"
    say(f"there are no keys: {who} may do everything; {KEY_HINT}")


def listen(settings: ServerSettings) -> socket.socket:
    """Return the socket on which the server listens.

    Raises:
        BootError: The address cannot be had.
    """
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
        # Inherited by every connection. Without it, a body that is written after its head waits for the client's
        # delayed acknowledgement: 40 ms for each reply on a connection that is kept.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise BootError(f"cannot listen on {where}: {error.strerror or error}") from None


class EdgeConfig(uvicorn.Config):
    """What uvicorn is told. It makes the application in the process that serves it.

    Args:
        settings: What the server was told.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.drain = Drain()
        super().__init__(
            app="",
            http=protocol_class(),
            ws="none",
            lifespan="on",
            log_config=log_config(settings.log_level, settings.log_format),
            access_log=False,
            server_header=False,
            workers=settings.workers,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=[*settings.trusted_proxies],
            backlog=ACCEPTED_AT_ONCE,
            timeout_keep_alive=settings.keep_alive_timeout,
            timeout_graceful_shutdown=settings.drain_seconds,
            h11_max_incomplete_event_size=settings.max_header_bytes,
        )

    @cached_property
    def table(self) -> ConnectionTable:
        """The connections of this process."""
        return ConnectionTable(connection_limit(self.settings.max_connections))

    def load(self) -> None:
        """Make the application. What it is made of is imported here: the parent of workers needs none of it."""
        from openmem.server.runtime.build import build_server

        self.app = build_server(self.settings, drain=self.drain)
        super().load()


class EdgeServer(uvicorn.Server):
    """A process that serves.

    Args:
        config: What it is told.
        started: What it says once it serves.
        parent: The process that started it as a worker; it stops when that one is gone.
    """

    config: EdgeConfig

    def __init__(self, config: EdgeConfig, *, started: str | None = None, parent: int | None = None) -> None:
        super().__init__(config)
        self._started_line = started
        self._parent = parent

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        watch_loop()
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)  # which uvicorn set to what the loop accepts at once
        gc.collect()
        gc.freeze()  # what is loaded by now stays: the collector need not look through it again and again
        if self.started and self._started_line:
            say(self._started_line)
            self._tell_limit()

    def _tell_limit(self) -> None:
        wanted, limit = self.config.settings.max_connections, self.config.table.limit
        if limit < wanted:
            say(
                f"at most {limit} connections at once, not {wanted}: the limit of open files (ulimit -n) less "
                f"{RESERVED_DESCRIPTORS} for everything else"
            )

    async def on_tick(self, counter: int) -> bool:
        """Return whether it is time to stop."""
        if self._parent is not None and os.getppid() != self._parent:
            self.stop()
        return await super().on_tick(counter)

    def stop(self) -> None:
        """Take on nothing more, and end what runs."""
        self.config.drain.begin()
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on signals, and end well: uvicorn would raise them again when all is done."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; when told a second time, end at once. A worker leaves that to its parent."""
        if self._parent is not None:
            if sig == signal.SIGTERM:
                self.stop()
        elif self.should_exit:
            os._exit(FAILED)
        else:
            self.stop()
