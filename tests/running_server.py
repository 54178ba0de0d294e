"""A real OMP server over a real socket: one web server for the whole test process, as many stores as tests need."""

from __future__ import annotations

import asyncio
import functools
import itertools
import socket
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from openmem import AsyncMemory, AsyncServerStore
from openmem.providers import ProviderName
from openmem.server.runtime.app import create_app

T = TypeVar("T")


class Served:
    """One store behind an address. Use as a context manager, or call `close`."""

    def __init__(self, host: Host, app: ASGIApp, memory: AsyncMemory, store: AsyncServerStore | None) -> None:
        self._host = host
        self._name = host.mount(app)
        self.memory, self.store = memory, store
        self.url = f"http://127.0.0.1:{host.port}/s/{self._name}"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the server's loop."""
        return self._host.run(work)

    def close(self) -> None:
        """Take the store off the server and close it."""
        self._host.unmount(self._name)
        self.run(self.memory.close())
        if self.store is not None:
            self.run(self.store.close())


class Host:
    """The web server. Paths that begin with `/s/<name>` go to the store of that name."""

    def __init__(self) -> None:
        self._apps: dict[str, ASGIApp] = {}
        self._names = map(str, itertools.count(1))
        # The protocol must be named: without it asyncio leaves Nagle's algorithm on, and every reply takes 40 ms more.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(self._dispatch, log_config=None, access_log=False, lifespan="off", interface="asgi3")
        self._server = uvicorn.Server(config)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._serve, name="omp-server", daemon=True).start()

    def serve(
        self, provider: str, url: str, *, embedder: Any = "none", store: Path | None = None, **options: Any
    ) -> Served:
        """Open a store of a provider behind an address of its own.

        Args:
            provider: The provider.
            url: Where its store is.
            embedder: What the server embeds with.
            store: The file in which the server keeps what it must remember itself.
            **options: Of the provider.
        """
        memory = AsyncMemory(ProviderName(provider), url=url, embedder=embedder, **options)
        own = None if store is None else AsyncServerStore(f"sqlite:///{store}")
        return Served(self, create_app(memory, store=own), memory, own)

    def mount(self, app: ASGIApp) -> str:
        """Put an application under a name of its own."""
        name = next(self._names)
        self._apps[name] = app
        return name

    def unmount(self, name: str) -> None:
        """Take an application off."""
        del self._apps[name]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the server's loop, from any thread but its own."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._server.serve(sockets=[self._socket]))

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, _, name, *_ = scope["path"].split("/", 3)
        prefix = f"/s/{name}"
        inner = {
            **scope,
            "path": scope["path"].removeprefix(prefix),
            "raw_path": scope["raw_path"].removeprefix(prefix.encode()),
        }
        await self._apps[name](inner, receive, send)


@functools.cache
def host() -> Host:
    """Return the web server of this process, which starts it on the first call."""
    return Host()
