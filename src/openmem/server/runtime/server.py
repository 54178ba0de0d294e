"""One process that serves: its configuration for uvicorn, its start and its stop.

It stops in these steps:

1. SIGTERM or SIGINT, or the end of the parent of workers: `Drain` begins. New requests are a 503, `/health/ready` too.
2. uvicorn closes the listener and idle connections, and waits for requests that run, `drain_seconds` at most.
3. Then it cancels them: they are answered with a 503, and a write among them is entered as one that may have been made.
4. The lifespan closes the stores, after the use of keys was written down.
5. A second signal ends the process at once, with exit code 1. In a worker it is the parent that gets it.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from types import FrameType
from typing import Final

import uvicorn

from openmem.server.middleware.admission import Drain
from openmem.server.middleware.logs import log_config
from openmem.server.runtime.connections import (
    ACCEPTED_AT_ONCE,
    BACKLOG,
    RESERVED_DESCRIPTORS,
    ConnectionTable,
    connection_limit,
)
from openmem.server.runtime.output import say
from openmem.server.runtime.protocols import protocol_class
from openmem.server.runtime.settings import ServerSettings
from openmem.server.services.timing import watch_loop

FAILED: Final = 1


class ServerConfig(uvicorn.Config):
    """The configuration for uvicorn. It makes the application in the process that serves it.

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

    def tell_limit(self) -> None:
        """Say so when a process can hold fewer connections than the setting."""
        wanted = self.settings.max_connections
        limit = connection_limit(wanted)
        if limit < wanted:
            where = "" if self.settings.workers == 1 else " in each worker"
            say(
                f"at most {limit} connections at once{where}, not {wanted}: the limit of open files (ulimit -n) less "
                f"{RESERVED_DESCRIPTORS} for everything else"
            )

    def load(self) -> None:
        """Make the application. What it is made of is imported here: the parent of workers needs none of it."""
        from openmem.server.runtime.build import build_server

        self.app = build_server(self.settings, drain=self.drain)
        super().load()


class ServerProcess(uvicorn.Server):
    """A process that serves.

    Args:
        config: What it is told.
        started: What it says once it serves.
        parent: The process that started it as a worker; it stops when that one is gone.
    """

    config: ServerConfig

    def __init__(self, config: ServerConfig, *, started: str | None = None, parent: int | None = None) -> None:
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
            self.config.tell_limit()

    async def on_tick(self, counter: int) -> bool:
        """Return whether it is time to stop."""
        # A worker whose parent was killed gets no signal: it sees that it has another parent now.
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
        # 1. A worker: SIGTERM is its parent's. The SIGINT of a terminal goes to the whole group, so to the parent, too.
        # 2. A process of its own, told for the second time. 3. For the first time.
        if self._parent is not None:
            if sig == signal.SIGTERM:
                self.stop()
        elif self.should_exit:
            os._exit(FAILED)
        else:
            self.stop()
