"""Builds the application: the routes over one memory, opened when the server starts and closed when it stops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final
from warnings import warn

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from openmem import AsyncMemory, AsyncServerStore, InvalidRequestError, OMPError
from openmem._protocol.refusals import InternalError, MethodNotAllowedError, unknown_route
from openmem.server.middleware.admission import Admission
from openmem.server.middleware.asgi import request_id_of
from openmem.server.routes.error_responses import error_reply, log_unexpected
from openmem.server.routes.front_page import front_page
from openmem.server.routes.reference import reference_routes
from openmem.server.routes.routing import routes_of
from openmem.server.services.maintenance import Maintenance
from openmem.server.services.service import RouteSettings, Service
from openmem.server.services.timing import within
from openmem.server.services.webhooks import Webhooks

WARM_SECONDS: Final = 20.0


def create_app(
    memory: AsyncMemory,
    *,
    store: AsyncServerStore | None = None,
    settings: RouteSettings | None = None,
    admission: Admission | None = None,
    close: bool = True,
    audit_days: float | None = None,
    gate: Admission | None = None,
    allow_private_hooks: bool = False,
) -> Starlette:
    """Return the server as an ASGI application.

    Args:
        memory: What the verbs are done with.
        store: The server's own store: keys, replies that may be asked for again, and the audit log of providers
            without one. Without it, no key is needed.
        settings: What the routes need to know of the server's settings.
        admission: Bounds how many requests run at once; without it there is no limit.
        close: Whether memory and store are closed when the server stops.
        audit_days: Days for which the audit log in the server's store keeps an entry; `None` is for ever.
        gate: The old name of `admission`.
        allow_private_hooks: Whether hooks may be at private addresses.
    """
    if gate is not None:
        warn("create_app(gate=) is called admission=; the old name goes in the next version", DeprecationWarning, 2)
        admission = gate
    service = Service(memory, store, settings, admission)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if close:
                stack.push_async_callback(memory.close)
                if store is not None:
                    stack.push_async_callback(store.close)
            await memory.capabilities()
            await _warm(memory)
            await stack.enter_async_context(Maintenance(service, audit_days))
            if store is not None:
                await stack.enter_async_context(Webhooks(memory, store, allow_private=allow_private_hooks))
            yield

    reference = settings is not None and settings.docs
    app = Starlette(
        routes=[*routes_of(service), Route("/", front_page(reference)), *(reference_routes() if reference else ())],
        lifespan=lifespan,
        exception_handlers={OMPError: _answer_error, HTTPException: _answer_http, Exception: _answer_unexpected},
    )
    app.router.redirect_slashes = False
    return app


async def _warm(memory: AsyncMemory) -> None:
    """Let the backend load and connect before the first request, which would take the time of it for an outage."""
    with suppress(OMPError, TimeoutError):  # then it is not ready, and says so
        await within(memory.health(), WARM_SECONDS)


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OMPError)
    return _response(error, request)


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return _response(unknown_route(), request)
    if error.status_code == 405:
        return _response(MethodNotAllowedError((error.headers or {}).get("Allow", "").split(", ")), request)
    wrong = InvalidRequestError(str(error.detail))
    response = _response(wrong, request)
    response.status_code = error.status_code
    return response


async def _answer_unexpected(request: Request, error: Exception) -> Response:
    request_id = request_id_of(request.scope)
    log_unexpected(error, request_id)
    return _response(InternalError(), request)


def _response(error: OMPError, request: Request) -> Response:
    request_id = request_id_of(request.scope)
    reply = error_reply(error, request_id).with_header("x-request-id", request_id)
    headers = {name.decode(): value.decode("latin-1") for name, value in reply.headers}
    return Response(reply.body, reply.status, headers)
