"""Runs the server: checks what it needs, listens, and serves in one process or in several."""

from __future__ import annotations

import socket
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from openmem import OMPError, redacted_url
from openmem._protocol.hosts import http_url, is_loopback
from openmem.server.runtime.connections import BACKLOG
from openmem.server.runtime.output import say
from openmem.server.runtime.server import FAILED, ServerConfig, ServerProcess
from openmem.server.runtime.settings import ServerSettings
from openmem.server.services.stores import make_memory, make_store
from openmem.server.services.timing import run, within

T = TypeVar("T")

KEY_HINT: Final = "make one with: omp keys create --app NAME --user '*' --grant 'admin:*'"


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
        from openmem.server.runtime.workers import serve_with_workers  # here: one process needs none of it

        return serve_with_workers(ServerConfig(settings), listener, f"serving {provider} at {url}")
    server = ServerProcess(ServerConfig(settings), started=f"serving {provider} at {url}")
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
