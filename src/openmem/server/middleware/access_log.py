"""The outermost layer: every request gets an id, a line in the log and an answer, whatever happens inside."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openmem import OMPError
from openmem._protocol.error_bodies import DEFAULT_HEADERS
from openmem._protocol.refusals import InternalError, OverloadedError
from openmem.server.middleware.asgi import has_body, method_of, operation_of, request_id_of, route_of
from openmem.server.middleware.errors import refuse
from openmem.server.middleware.logs import ALWAYS
from openmem.server.middleware.metrics import Metrics
from openmem.server.routes.error_responses import log_unexpected
from openmem.server.services.timing import cancelled, clock, within

access_log: Final = logging.getLogger("openmem.server.access")

LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 8 * 1024 * 1024
CLIENT_GONE: Final = 499  # never sent: the client has left


def write_access(
    method: str, route: str, status: int, seconds: float, request_id: str, *, always: bool = False
) -> None:
    """Write the line of a request. It tells nothing of users, queries, contents, ids or keys.

    Args:
        method: The method, or `-`.
        route: The template of the route.
        status: The status of the answer.
        seconds: How long it took.
        request_id: Its id.
        always: Whether it is written even if there are very many lines.
    """
    milliseconds = round(seconds * 1000)
    more = {ALWAYS: True} if always else None
    access_log.info("%s %s %d %dms req=%s", method, route, status, milliseconds, request_id, extra=more)


class AccessLog:
    """Gives ids, default headers, the access line, the metrics, and an envelope for what was not caught."""

    def __init__(self, app: ASGIApp, metrics: Metrics | None = None) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        answer = _Answer(scope, receive, send, request_id)
        started = clock()
        if self._metrics:
            self._metrics.begin()
        try:
            await self._answered(scope, answer)
        finally:
            method, route, seconds = method_of(scope), route_of(scope), clock() - started
            write_access(
                method, route, answer.status, seconds, request_id, always=_is_served(scope, method, route, answer)
            )
            if self._metrics:
                self._metrics.end(method, route, answer.status, seconds, answer.code)

    async def _answered(self, scope: Scope, answer: _Answer) -> None:
        try:
            await self._app(scope, answer.receive, answer.send)
        except OMPError as error:
            if not answer.started:
                await refuse(scope, answer.send, error)
        except cancelled():
            if not answer.started:  # else the web server would answer with a text of its own
                await refuse(scope, answer.send, OverloadedError("the server stopped", retry_after=1.0))
            raise
        except Exception as error:  # noqa: BLE001 - the last one to catch it
            if not answer.complete:  # else the sender of the reply has logged it
                log_unexpected(error, answer.request_id)
            if not answer.started:
                await refuse(scope, answer.send, InternalError())


def _is_served(scope: Scope, method: str, route: str, answer: _Answer) -> bool:
    """Return whether the caller was let in, or would be if there were keys."""
    operation = operation_of(method, route)
    return "caller" in scope["state"] or (operation is not None and operation.needs_key and answer.status < 400)


class _Answer:
    """The reply on its way out: completed with headers, and remembered for the log.

    A connection that is closed on unread bytes is reset, and the client would never see the reply. So one that comes
    before the end of the body is the last on its connection:

    1. Its head says `Connection: close`.
    2. All of it is sent, but not its end.
    3. The rest of the body is taken and dropped, within limits.
    4. The reply ends.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self._receive = receive
        self._send = send
        self._is_unread = has_body(scope)
        self.request_id = request_id
        self.status = CLIENT_GONE
        self.started = False
        self.complete = False
        self.code: str | None = None

    async def receive(self) -> Message:
        message = await self._receive()
        self._is_unread = message["type"] == "http.request" and bool(message.get("more_body"))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            message["headers"] = self._completed([*message.get("headers", ())])
        elif self.status >= 400 and self.code is None and message.get("body"):
            self.code = _code_in(message["body"])
        self.complete = message["type"] == "http.response.body" and not message.get("more_body")
        if self.complete and self._is_unread:
            await self._send({**message, "more_body": True})
            await self._take_rest()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _take_rest(self) -> None:
        async def take() -> None:
            taken = 0
            while self._is_unread and taken < LINGER_BYTES:
                taken += len((await self.receive()).get("body", b""))

        with suppress(TimeoutError):
            await within(take(), LINGER_SECONDS)

    def _completed(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        kept = [pair for pair in headers if pair[0].lower() != b"x-request-id"]
        present = {name.lower() for name, _ in kept}
        kept.append((b"x-request-id", self.request_id.encode()))
        if self._is_unread:
            kept.append((b"connection", b"close"))
        return kept + [pair for pair in DEFAULT_HEADERS if pair[0] not in present]


_CODE: Final = re.compile(rb'\A\s*\{\s*"error"\s*:\s*\{\s*"code"\s*:\s*"([a-z_]{1,40})"')


def _code_in(body: bytes) -> str | None:
    found = _CODE.match(body)
    return found[1].decode() if found else None
