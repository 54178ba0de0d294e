"""The outermost layer: every request gets an id, a line in the log and an answer, whatever happens inside."""

from __future__ import annotations

import logging
import re
import secrets
import traceback
from typing import Final

from openmem import OMPError
from openmem.server.asgi import ASGIApp, Message, Receive, Scope, Send, header, method_of, route_of
from openmem.server.metrics import Metrics
from openmem.server.refusals import InternalError, refuse
from openmem.server.waiting import clock

access_log: Final = logging.getLogger("openmem.server.access")
log: Final = logging.getLogger("openmem.server")

CLIENT_GONE: Final = 499  # never sent: nobody is there to read it

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._\-]{1,64}")
_DEFAULTS: Final = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


def request_id_from(value: bytes | None) -> str:
    """Return the id that a client gave its request if it is a proper one, or a new one."""
    return value.decode() if value is not None and _REQUEST_ID.fullmatch(value) else secrets.token_hex(16)


def write_access(method: str, route: str, status: int, seconds: float, request_id: str) -> None:
    """Write the line of a request. It tells nothing of users, queries, contents, ids or keys."""
    milliseconds = round(seconds * 1000)
    access_log.info("%s %s %d %dms req=%s", method, route, status, milliseconds, request_id)


class Edge:
    """Gives ids, default headers, the access line, the metrics, and an envelope for what nobody caught."""

    def __init__(self, app: ASGIApp, metrics: Metrics | None = None) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_from(header(scope, b"x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id)
        started = clock()
        if self._metrics:
            self._metrics.begin()
        try:
            await self._answered(scope, receive, answer)
        finally:
            method, route, seconds = method_of(scope), route_of(scope), clock() - started
            write_access(method, route, answer.status, seconds, request_id)
            if self._metrics:
                self._metrics.end(method, route, answer.status, seconds, answer.code)

    async def _answered(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            await self._app(scope, receive, answer.send)
        except OMPError as error:
            if not answer.started:
                await refuse(scope, receive, answer.send, error)
        except Exception as error:  # noqa: BLE001 - the last one to catch it
            if not answer.complete:  # whoever sent a whole reply has logged it
                log.error("unhandled %s req=%s", described(error), answer.request_id)
            if not answer.started:
                await refuse(scope, receive, answer.send, InternalError())


class _Answer:
    """The reply on its way out: completed with headers, and remembered for the log."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = CLIENT_GONE
        self.started = False
        self.complete = False
        self.code: str | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            message["headers"] = self._completed([*message.get("headers", ())])
        elif self.status >= 400 and self.code is None and message.get("body"):
            self.code = _code_in(message["body"])
        self.complete = message["type"] == "http.response.body" and not message.get("more_body")
        await self._send(message)

    def _completed(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        kept = [pair for pair in headers if pair[0].lower() != b"x-request-id"]
        present = {name.lower() for name, _ in kept}
        kept.append((b"x-request-id", self.request_id.encode()))
        return kept + [pair for pair in _DEFAULTS if pair[0] not in present]


_CODE: Final = re.compile(rb'\A\s*\{\s*"error"\s*:\s*\{\s*"code"\s*:\s*"([a-z_]{1,40})"')


def _code_in(body: bytes) -> str | None:
    found = _CODE.match(body)
    return found[1].decode() if found else None


def described(error: BaseException) -> str:
    """Return the class of an exception, those it came from, and where; not its text, which may hold contents."""
    parts = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        frames = traceback.extract_tb(current.__traceback__)
        where = "".join(f"\n    {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
        parts.append(f"{type(current).__name__}{where}")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\n  from ".join(parts)
