"""The table of routes, and what happens to every request on its way to a handler and back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from starlette.routing import Match, Route

from openmem import OMPError
from openmem.server.callers import ANYBODY
from openmem.server.contract import get_contract
from openmem.server.disconnects import ClientGoneError, Watch
from openmem.server.envelope import MethodNotAllowedError, error_reply, log_unexpected
from openmem.server.exchange import Exchange, request_id_of
from openmem.server.refusals import InternalError
from openmem.server.replies import Reply, Stream
from openmem.server.routes_memories import (
    add_memories,
    add_memory,
    delete_memories,
    delete_memory,
    get_history,
    get_memory,
    update_memory,
    wait_for_memories,
)
from openmem.server.routes_reading import (
    get_audit,
    get_capabilities,
    get_context,
    list_memories,
    reembed,
    search_at_length,
    search_memories,
)
from openmem.server.routes_transfer import export_memories, import_memories

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from openmem.server.service import Effect, Service

Handler = Callable[[Exchange], Awaitable[Reply | Stream]]


Body = Literal["none", "json", "lines"]


@dataclass(frozen=True, slots=True)
class Verb:
    """A method of a path: what answers it, whether it asks for a key, what its body is, and what it does."""

    handler: Handler
    needs_key: bool = True
    body: Body = "none"
    effect: Effect = "none"


# Looked through from the top: first what is asked for most, and a fixed path before one with an id in its place.
ROUTES: Final[Mapping[str, Mapping[str, Verb]]] = {
    "/memories/search": {"GET": Verb(search_memories), "POST": Verb(search_at_length, body="json")},
    "/memories": {
        "GET": Verb(list_memories),
        "POST": Verb(add_memory, body="json", effect="write"),
        "DELETE": Verb(delete_memories, effect="erase"),
    },
    "/context": {"POST": Verb(get_context, body="json")},
    "/capabilities": {"GET": Verb(get_capabilities, needs_key=False)},
    "/openapi.json": {"GET": Verb(get_contract, needs_key=False)},
    "/memories/batch": {"POST": Verb(add_memories, body="json", effect="write")},
    "/memories/wait": {"POST": Verb(wait_for_memories, body="json")},
    "/memories/{id}": {
        "GET": Verb(get_memory),
        "PATCH": Verb(update_memory, body="json", effect="write"),
        "DELETE": Verb(delete_memory, effect="erase"),
    },
    "/memories/{id}/history": {"GET": Verb(get_history)},
    "/audit": {"GET": Verb(get_audit)},
    "/export": {"GET": Verb(export_memories)},
    "/import": {"POST": Verb(import_memories, body="lines")},
    "/reembed": {"POST": Verb(reembed)},
}


def routes_of(service: Service) -> list[Route]:
    """Return the routes of a server."""
    return [EncodedRoute(path, Resource(service, verbs), name=path) for path, verbs in ROUTES.items()]


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
        self._verbs = dict(verbs)
        if "GET" in verbs:
            self._verbs["HEAD"] = verbs["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request_id = request_id_of(scope)
        verb = self._verbs.get(scope["method"])
        if verb is None:
            await _send(error_reply(MethodNotAllowedError(self._verbs), request_id), request_id, send)
            return
        try:
            await self._answer(verb, scope, receive, send, request_id)
        except ClientGoneError:
            return  # and nobody is there to be told

    async def _answer(self, verb: Verb, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        exchange = Exchange(self._service, scope, receive, ANYBODY, request_id)
        try:
            if verb.needs_key:
                callers, headers = self._service.callers, scope["headers"]
                known = callers.recall(headers)
                exchange.caller = await exchange.in_time(callers.identify(headers)) if known is None else known
            if verb.body == "json":
                await exchange.read()
            lasting = await self._service.must_end(verb.effect)
        except OMPError as error:
            await _send(error_reply(error, request_id), request_id, send)
            return
        if verb.body == "lines":
            await _send(await _reply_of(verb, exchange), request_id, send)
            return
        async with Watch(receive, cancels=not lasting) as watch:
            reply = await _reply_of(verb, exchange)
            watch.check()
            await _send(reply, request_id, send)


async def _reply_of(verb: Verb, exchange: Exchange) -> Reply | Stream:
    try:
        return await verb.handler(exchange)
    except OMPError as error:
        return error_reply(error, exchange.request_id)
    except ClientGoneError:
        raise
    except Exception as error:  # noqa: BLE001 - logged, and never shown
        log_unexpected(error, exchange.request_id)
        return error_reply(InternalError(), exchange.request_id)


async def _send(reply: Reply | Stream, request_id: str, send: Send) -> None:
    reply.headers.append((b"x-request-id", request_id.encode("ascii")))
    await reply.send(send)
