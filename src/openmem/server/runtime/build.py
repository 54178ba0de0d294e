"""Puts the server together: the middleware around the routes."""

from __future__ import annotations

from starlette.types import ASGIApp

from openmem import AsyncServerStore
from openmem._protocol.hosts import is_loopback
from openmem.server.middleware.access_log import AccessLog
from openmem.server.middleware.admission import Admission, Drain
from openmem.server.middleware.limits import Limits, RequestLimits
from openmem.server.middleware.metrics import Metrics
from openmem.server.middleware.origins import Cors, OriginGuard
from openmem.server.middleware.rate_limit import RateLimit, RateLimiter
from openmem.server.middleware.tracing import traced
from openmem.server.routes.health import operation_routes
from openmem.server.runtime.app import create_app
from openmem.server.runtime.settings import ServerSettings
from openmem.server.services.stores import make_memory, make_store


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
    admission = Admission(settings.concurrency, drain)
    app = create_app(
        memory,
        store=store,
        settings=settings,
        admission=admission,
        audit_days=settings.audit_days,
        allow_private_hooks=settings.allow_private_hooks,
    )
    app.router.routes.extend(operation_routes(memory, drain, numbers))
    return wrap(app, settings, store, numbers)


def wrap(app: ASGIApp, settings: ServerSettings, store: AsyncServerStore, numbers: Metrics | None) -> ASGIApp:
    """Return an application with the middleware around it, the outermost last."""

    async def is_open() -> bool:
        return settings.open_without_keys and not await store.has_keys()

    if settings.rate_limit_per_minute > 0:
        app = RateLimit(app, RateLimiter(store, settings.rate_limit_per_minute))
    limits = Limits(
        body=settings.max_request_bytes,
        head=settings.max_header_bytes,
        idle=settings.body_idle_timeout,
        total=settings.body_timeout,
    )
    app = RequestLimits(app, limits)
    app = OriginGuard(
        app,
        settings.cors_origins,
        settings.allowed_host,
        local=is_loopback(settings.host),
        is_open=is_open,
    )
    if settings.cors_origins:
        app = Cors(app, settings.cors_origins)
    app = traced(app, settings.provider or "")
    return AccessLog(app, numbers)
