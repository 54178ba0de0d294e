"""The table of routes, and what happens to every request on its way to a handler and back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.routing import Match, Route

from openmem import OMPError
from openmem._protocol.refusals import InternalError, MethodNotAllowedError
from openmem._protocol.routes import ROUTES, Operation
from openmem.server.middleware.asgi import has_body, request_id_of
from openmem.server.routes import (
    by_key,
    changes,
    memories,
    openapi,
    overview,
    search,
    transfer,
)
from openmem.server.routes.disconnects import ClientGoneError, Watch
from openmem.server.routes.error_responses import error_reply, log_unexpected
from openmem.server.routes.request import RequestContext
from openmem.server.routes.responses import Reply, Stream
from openmem.server.services.authentication import ANONYMOUS

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from openmem.server.services.service import Service

Handler = Callable[[RequestContext], Awaitable[Reply | Stream]]

HANDLERS: Final[Mapping[str, Handler]] = {
    "GET /memories/search": search.search_memories,
    "POST /memories/search": search.search_at_length,
    "GET /memories": search.list_memories,
    "POST /memories": memories.add_memory,
    "DELETE /memories": memories.delete_memories,
    "POST /context": search.get_context,
    "GET /capabilities": search.get_capabilities,
    "GET /openapi.json": openapi.get_contract,
    "POST /memories/batch": memories.add_memories,
    "POST /memories/wait": memories.wait_for_memories,
    "GET /memories/by-key/{key}": by_key.get_memory,
    "PATCH /memories/by-key/{key}": by_key.update_memory,
    "DELETE /memories/by-key/{key}": by_key.delete_memory,
    "GET /memories/by-key/{key}/history": by_key.get_history,
    "GET /memories/{id}": memories.get_memory,
    "PATCH /memories/{id}": memories.update_memory,
    "DELETE /memories/{id}": memories.delete_memory,
    "GET /memories/{id}/history": memories.get_history,
    "GET /scopes": overview.get_scopes,
    "GET /tags": overview.get_tags,
    "GET /users": overview.get_users,
    "GET /audit": search.get_audit,
    "GET /changes": changes.get_changes,
    "GET /export": transfer.export_memories,
    "POST /import": transfer.import_memories,
    "POST /reembed": search.reembed,
}
"""The handler of each method of each path in the table of routes."""


@dataclass(frozen=True, slots=True)
class Verb:
    """A method of a path, and what answers it."""

    operation: Operation
    handler: Handler


def routes_of(service: Service) -> list[Route]:
    """Return the routes of a server."""
    return [
        EncodedRoute(path, Resource(service, _verbs_of(path, methods)), name=path) for path, methods in ROUTES.items()
    ]


def _verbs_of(path: str, methods: Mapping[str, Operation]) -> dict[str, Verb]:
    verbs = {method: Verb(operation, HANDLERS[f"{method} {path}"]) for method, operation in methods.items()}
    return {**verbs, "HEAD": verbs["GET"]} if "GET" in verbs else verbs


class EncodedRoute(Route):
    """A route that looks at the path as it was sent: an id may hold a slash, or be a word that is a route too.

    `/memories/a%2Fb` is the memory `a/b`, and `/memories/%73earch` the memory `search`.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the path before its decoding; of a fixed path, the last word must stand there as it is."""
        raw = scope.get("raw_path")
        if scope["type"] != "http" or raw is None:
            return super().matches(scope)
        if "{" not in self.path:
            plain = raw.endswith(self.path.rpartition("/")[2].encode("ascii"))
            return super().matches(scope) if plain else (Match.NONE, {})
        return super().matches({**scope, "path": raw.decode("latin-1")})


class Resource:
    """One path: hands a request to the handler of its method, and turns every failure into an envelope.

    Args:
        service: What all requests share.
        verbs: The methods of the path.
    """

    def __init__(self, service: Service, verbs: Mapping[str, Verb]) -> None:
        self._service = service
        self._verbs = verbs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request_id = request_id_of(scope)
        verb = self._verbs.get(scope["method"])
        if verb is None:
            await _send(error_reply(MethodNotAllowedError(self._verbs), request_id), request_id, send)
            return
        request = RequestContext(self._service, scope, receive, ANONYMOUS, request_id)
        try:
            await self._handle(verb, request, send)
        except ClientGoneError:
            return  # nothing can be sent any more
        finally:
            await request.close()

    async def _handle(self, verb: Verb, request: RequestContext, send: Send) -> None:
        try:
            lasting = await self._admit(verb.operation, request)
        except OMPError as error:
            await _send(error_reply(error, request.request_id), request.request_id, send)
            return
        await self._answer(verb, request, send, lasting=lasting)

    async def _admit(self, operation: Operation, request: RequestContext) -> bool:
        """Take a request in; return whether it is brought to its end even if its client leaves.

        1. The key is looked at, on the head alone. 2. The body is taken and parsed, but for an import, which takes it
        line by line. 3. The request is admitted.

        Raises:
            OMPError: It is refused.
            ClientGoneError: The client left.
        """
        admission = self._service.admission
        admission.check_open()
        await self._identify(operation, request)
        if operation.body == "json":
            await request.read()
        elif operation.body == "none" and operation.needs_key and has_body(request.scope):
            await request.skip()
        lasting = await self._service.must_end(operation.effect)
        if operation.needs_key:  # else a stranger who does not read the answer would hold it
            admission.acquire()
            request.is_admitted = True
        return lasting

    async def _answer(self, verb: Verb, request: RequestContext, send: Send, *, lasting: bool) -> None:
        if verb.operation.body == "lines":
            request.receive = self._service.admission.released_during(request.receive)
            await _send(await _reply_of(verb, request), request.request_id, send)
            return
        async with Watch(request.receive, cancels=not lasting) as watch:
            reply = await _reply_of(verb, request)
            watch.check()
            await _send(reply, request.request_id, send, head=request.scope["method"] == "HEAD")

    async def _identify(self, operation: Operation, request: RequestContext) -> None:
        request.headers  # noqa: B018 - what is given twice is refused, with or without a key
        if not operation.needs_key:
            return
        callers, headers = self._service.callers, request.scope["headers"]
        known = callers.recall(headers)
        caller = request.caller = await request.in_time(callers.identify(headers)) if known is None else known
        if caller is not ANONYMOUS:
            request.scope.setdefault("state", {})["caller"] = caller.id  # for the middleware: a key that was checked


async def _reply_of(verb: Verb, request: RequestContext) -> Reply | Stream:
    try:
        reply = await verb.handler(request)
        # Here, and not while it is sent: what goes wrong is still answered as an error.
        return await reply.complete() if isinstance(reply, Reply) and request.scope["method"] != "HEAD" else reply
    except OMPError as error:
        return error_reply(error, request.request_id)
    except ClientGoneError:
        raise
    except Exception as error:  # noqa: BLE001 - logged, and never shown
        log_unexpected(error, request.request_id)
        error.__traceback__ = None  # as in `error_body`
        return error_reply(InternalError(), request.request_id)


async def _send(reply: Reply | Stream, request_id: str, send: Send, *, head: bool = False) -> None:
    reply.headers.append((b"x-request-id", request_id.encode("ascii")))
    await reply.send(send, head=head)
