"""A real server on a real socket, for as long as a test or a run needs it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import uvicorn
from starlette.types import ASGIApp

from openmem import AsyncMemory, AsyncServerStore, ServerStore
from openmem.server import create_app
from openmem.server.runtime.settings import ServerSettings
from tests.server.contract_check import check_reply

KEEP_ALIVE_SECONDS = ServerSettings().keep_alive_timeout


@dataclass(frozen=True)
class RouteOptions:
    """The server's settings that the routes need."""

    open_without_keys: bool = True
    verb_timeout: float | None = None
    docs: bool = False


class Announcing(uvicorn.Server):
    """Says when it listens, or that it never will."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        try:
            await super().startup()
        finally:
            self.settled.set()

    @property
    def port(self) -> int:
        return int(self.servers[0].sockets[0].getsockname()[1])


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Run an application and return its address."""
    # Idle connections stay open as with `omp-server`: where they are closed after uvicorn's five seconds, a client that
    # is kept from running for a second may send its next request into one that is just being closed.
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, ws="none", lifespan="on", timeout_keep_alive=KEEP_ALIVE_SECONDS
    )
    server = Announcing(config)
    thread = threading.Thread(target=server.run, name="uvicorn")
    thread.start()
    try:
        assert server.settled.wait(15)
        assert server.started, "the application did not start"
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive()


@dataclass(frozen=True)
class Place:
    """A running server with a store of its own, and a client for it."""

    client: httpx.Client
    store: ServerStore
    store_url: str = ""

    def key(self, *grants: str, user_id: str | None = None, app: str = "notes") -> dict[str, str]:
        """Return the headers of a new key."""
        made = self.store.create_key(app=app, user_id=user_id, grants=grants or ("admin:*",))
        return {"Authorization": f"Bearer {made.secret}"}


def client_of(address: str) -> httpx.Client:
    """Return a client that checks every reply against the contract."""
    return httpx.Client(base_url=address, timeout=15, event_hooks={"response": [check_reply]})


@contextmanager
def running(url: str, *, options: RouteOptions | None = None) -> Iterator[httpx.Client]:
    """Serve the memories at an address without keys."""
    app = create_app(AsyncMemory(url=url, embedder="none"), settings=options)
    with serving(app) as address, client_of(address) as client:
        yield client


@contextmanager
def running_with_store(url: str, store_url: str, *, options: RouteOptions | None = None) -> Iterator[Place]:
    """Serve the memories at an address, with a store for keys and replies."""
    app = create_app(AsyncMemory(url=url, embedder="none"), store=AsyncServerStore(store_url), settings=options)
    with (
        ServerStore(store_url) as store,
        serving(app) as address,
        client_of(address) as client,
    ):
        yield Place(client, store, store_url)
