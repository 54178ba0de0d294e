"""Puts the server together: the layers of the edge around the routes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from openmem import AsyncMemory, AsyncServerStore, server_store_url
from openmem.server.addresses import is_loopback
from openmem.server.app import create_app
from openmem.server.asgi import ASGIApp
from openmem.server.config import ServerSettings
from openmem.server.edge import Edge
from openmem.server.gate import Drain, Gate
from openmem.server.health import operation_routes
from openmem.server.limits import BodyLimits, Limits
from openmem.server.metrics import Metrics
from openmem.server.pages import Cors, PageGuard
from openmem.server.rate import RateLimit, RateLimiter
from openmem.server.tracing import traced

APP: str = "omp-server"


def build_server(settings: ServerSettings, *, drain: Drain | None = None) -> ASGIApp:
    """Return the whole server as an ASGI application. It opens nothing before its lifespan starts.

    Args:
        settings: What it was told.
        drain: Told when it is to stop.

    Raises:
        InvalidRequestError: The provider or the store cannot be had like this.
    """
    drain = drain or Drain()
    memory, store = make_memory(settings), make_store(settings)
    numbers = Metrics() if settings.metrics else None
    app = create_app(memory, store=store, settings=settings)
    app.include_router(operation_routes(memory, drain, numbers))
    return wrap(app, settings, store, drain, numbers)


def wrap(
    app: ASGIApp, settings: ServerSettings, store: AsyncServerStore, drain: Drain, numbers: Metrics | None
) -> ASGIApp:
    """Return an application with the layers of the edge around it, the outermost last."""

    async def is_open() -> bool:
        return settings.open_without_keys and not await store.has_keys()

    if settings.rate_limit_per_minute:
        app = RateLimit(app, RateLimiter(store, settings.rate_limit_per_minute))
    limits = Limits(
        body=settings.max_request_bytes,
        head=settings.max_header_bytes,
        idle=settings.body_idle_timeout,
        total=settings.body_timeout,
    )
    app = BodyLimits(app, limits)
    app = Gate(app, settings.concurrency, drain)
    app = PageGuard(app, settings.cors_origins, local=is_loopback(settings.host), is_open=is_open)
    if settings.cors_origins:
        app = Cors(app, settings.cors_origins)
    app = traced(app, settings.provider or "")
    return Edge(app, numbers)


def make_memory(settings: ServerSettings) -> AsyncMemory:
    """Return the memory that is served, not opened yet."""
    options = {} if settings.schema is None else {"schema": settings.schema}
    return AsyncMemory(
        settings.provider,
        url=settings.url,
        base_url=settings.base_url,
        api_key=settings.api_key,
        embedder=settings.embedder,
        app=APP,
        timeout=settings.request_timeout,
        **options,
    )


def make_store(settings: ServerSettings) -> AsyncServerStore:
    """Return the server's own store, not opened yet."""
    url = server_store_url(
        settings.url,
        store=settings.store,
        provider=settings.provider,
        base_url=settings.base_url,
        environ=os.environ,
        platform=sys.platform,
        home=str(Path.home()),
    )
    return AsyncServerStore(url)
