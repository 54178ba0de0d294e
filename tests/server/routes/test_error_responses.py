"""Every failure looks the same on the wire, be it from a route, the application, a middleware, a connection."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from openmem import AsyncMemory, OMPError
from openmem._protocol.refusals import MethodNotAllowedError
from openmem._protocol.routes import Operation
from openmem.errors import NotFoundError, ProviderUnavailableError, RateLimitedError, UnauthorizedError
from openmem.server import create_app
from openmem.server.middleware.access_log import AccessLog
from openmem.server.routes.error_responses import error_answer
from openmem.server.routes.routing import EncodedRoute, Resource, Verb
from openmem.server.services.service import Service

REQUEST_ID = "r-1"
SECRET = "swordfish"

ERRORS: list[tuple[OMPError, str | None]] = [
    (RateLimitedError("too many", retry_after=None), "1"),
    (RateLimitedError("too many", retry_after=0.0), "1"),
    (RateLimitedError("too many", retry_after=19.2), "20"),
    (RateLimitedError("too many", retry_after=1e12), "86400"),
    (ProviderUnavailableError("down", retry_after=float("inf")), "1"),
    (NotFoundError("für \ud800 nichts"), None),
    (UnauthorizedError("no"), None),
    (MethodNotAllowedError(["GET", "POST"]), None),
]


def failing_with(error: Exception) -> Any:
    async def fail(*_: Any) -> Any:
        raise error

    return fail


async def asked(app: Any, path: str = "/fails") -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        return await http.get(path, headers={"x-request-id": REQUEST_ID})


def memory() -> AsyncMemory:
    return AsyncMemory("sqlite", url="sqlite:///unused.db", embedder="none")  # nothing is opened


def answering(error: Exception) -> dict[str, Any]:
    """Return applications in which a route, the application itself and a middleware answer an error."""
    verb = Verb(Operation("fail", needs_key=False), failing_with(error))
    app = create_app(memory(), close=False)
    app.router.routes.append(Route("/fails", failing_with(error)))
    by_route = EncodedRoute("/fails", Resource(Service(memory(), None, None), {"GET": verb}))
    return {"route": by_route, "application": app, "middleware": AccessLog(failing_with(error))}


@pytest.mark.parametrize(("error", "pause"), ERRORS)
async def test_error_is_encoded_the_same_in_every_layer(error: OMPError, pause: str | None) -> None:
    replies = {name: await asked(app) for name, app in answering(error).items()}
    told = ("content-type", "content-length", "retry-after", "www-authenticate", "allow", "x-request-id")
    seen = {(reply.status_code, reply.content, *map(reply.headers.get, told)) for reply in replies.values()}
    assert len(seen) == 1, seen
    reply = replies["route"]
    assert reply.headers.get("retry-after") == pause
    assert reply.json()["error"]["request_id"] == reply.headers["x-request-id"] == REQUEST_ID
    assert ("für".encode() in reply.content) == ("für" in error.message)


@pytest.mark.parametrize(("error", "pause"), ERRORS)
async def test_error_without_a_request_is_encoded_in_the_same_way(error: OMPError, pause: str | None) -> None:
    reply = await asked(AccessLog(failing_with(error)))
    status, headers, body, request_id = error_answer(error)
    assert (status, body) == (reply.status_code, reply.content.replace(REQUEST_ID.encode(), request_id.encode()))
    mine = {name.decode(): value.decode() for name, value in headers}
    assert mine == {**reply.headers, "x-request-id": request_id, "content-length": str(len(body))}
    assert mine.get("retry-after") == pause


@pytest.mark.parametrize("who", ["route", "application", "middleware"])
async def test_unexpected_failure_is_logged_once_and_alike(who: str, caplog: pytest.LogCaptureFixture) -> None:
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as cause:
            raise RuntimeError(SECRET) from cause
    except RuntimeError as error:
        app = answering(error)[who]
    reply = await asked(app)
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal_error")
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert line.startswith(f"unexpected RuntimeError req={REQUEST_ID}\n")
    assert f"from KeyError req={REQUEST_ID}\n" in line
    assert SECRET not in line + reply.text
