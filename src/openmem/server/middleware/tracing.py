"""Spans of OpenTelemetry, where it is installed: one of the request, and one of the verb inside it.

Names and attributes follow the conventions for HTTP and for GenAI memory. Users, scopes, ids, queries and contents are
never part of a span.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openmem._protocol.request_heads import Headers
from openmem.server.middleware.asgi import method_of, route_of, verb_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span

# The conventions for GenAI memory, in development: no package has constants for them. The verbs that they do not name
# have only the span of the request.
OPERATIONS: Final[Mapping[str, str]] = {
    "add": "create_memory",
    "add_many": "create_memory",
    "import": "upsert_memory",
    "update": "update_memory",
    "delete": "delete_memory",
    "delete_all": "delete_memory",
    "search": "search_memory",
    "context": "search_memory",
}
OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
MAX_TRACE_HEADER: Final = 512
"""Bytes of a header that takes part in tracing; the W3C asks for as many of a `tracestate`."""
ERROR_TYPE: Final = "error.type"
UNANSWERED: Final = "_OTHER"  # an exception, or a client that left
# Providers that are a vendor's service; a database is none in the sense of the conventions.
_SERVICES: Final = frozenset({"mem0", "supermemory", "letta"})


def traced(app: ASGIApp, provider: str) -> ASGIApp:
    """Return the application with spans around its requests, or itself if OpenTelemetry is not installed."""
    return Tracing(app, provider) if find_spec("opentelemetry") is not None else app


class Tracing:
    """Starts the spans of a request, below that of the caller if it sent a `traceparent`.

    As long as no one collects spans, there are none.
    """

    def __init__(self, app: ASGIApp, provider: str) -> None:
        from opentelemetry import propagate, trace

        import openmem

        self._app = app
        self._extract = propagate.extract
        self._kinds = trace.SpanKind
        self._failed = trace.Status(trace.StatusCode.ERROR)
        self._tracer = trace.get_tracer("openmem.server", openmem.__version__)
        self._provider = provider

        def idle() -> bool:
            # A tracer that was had before there was a provider stands in for that of the provider to come.
            waits = isinstance(self._tracer, trace.ProxyTracer)
            return waits and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)

        self._idle = idle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._idle():
            await self._app(scope, receive, send)
            return
        method, route = method_of(scope), route_of(scope)
        carrier = carrier_of(scope["headers"])
        with self._tracer.start_as_current_span(
            method if method != "OTHER" else "HTTP",
            context=self._extract(carrier),
            kind=self._kinds.SERVER,
            attributes={"http.request.method": method if method != "OTHER" else "_OTHER"},
            record_exception=False,
            set_status_on_exception=False,  # it would write down the text of the exception
        ) as span:
            outcome = _Outcome(send)
            try:
                await self._inside(scope, receive, outcome, verb_of(method, route))
            finally:
                self._finish(span, method, route_of(scope), outcome.status)

    async def _inside(self, scope: Scope, receive: Receive, outcome: _Outcome, verb: str | None) -> None:
        operation = OPERATIONS.get(verb or "")
        if operation is None:
            await self._app(scope, receive, outcome.send)
            return
        attributes = {OPERATION_NAME: operation}
        if self._provider in _SERVICES:
            attributes[PROVIDER_NAME] = self._provider
        with self._tracer.start_as_current_span(
            operation,
            kind=self._kinds.INTERNAL,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                await self._app(scope, receive, outcome.send)
            finally:
                if not 0 < outcome.status < 400:
                    span.set_attribute(ERROR_TYPE, str(outcome.status or UNANSWERED))
                    span.set_status(self._failed)

    def _finish(self, span: Span, method: str, route: str, status: int) -> None:
        attributes: dict[str, Any] = {"http.route": route}
        if status:
            attributes["http.response.status_code"] = status
        if status >= 500 or not status:
            attributes[ERROR_TYPE] = str(status or UNANSWERED)
            span.set_status(self._failed)
        span.set_attributes(attributes)
        span.update_name(f"{method} {route}")


def carrier_of(headers: Headers) -> dict[str, str]:
    """Return what a propagator may read: headers that are not too long, and no baggage.

    Nothing here needs baggage, whose parser takes time that grows with the square of its length and logs what it cannot
    read.
    """
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in headers
        if len(value) <= MAX_TRACE_HEADER and name != b"baggage"
    }


class _Outcome:
    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)
