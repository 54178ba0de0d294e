"""Refusing a request so that the refusal reaches a client that is still sending."""

from __future__ import annotations

from typing import Final

from starlette.types import Receive, Scope, Send

from openmem import OMPError
from openmem.server.middleware.asgi import header, request_id_of
from openmem.server.routes.error_responses import error_reply
from openmem.server.services.timing import within

LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 8 * 1024 * 1024


async def refuse(scope: Scope, receive: Receive, send: Send, error: OMPError) -> None:
    """Answer with an error instead of running a verb.

    The reply is complete before the rest of the body is taken and dropped: a connection that is closed on unread
    bytes is reset, and the client would never see the reply.
    """
    reply = error_reply(error, request_id_of(scope))
    body = reply.body or b""
    headers = [*reply.headers, (b"content-length", b"%d" % len(body))]
    unread = has_body(scope)
    if unread:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": unread})
    if unread:
        await take_rest(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def has_body(scope: Scope) -> bool:
    """Return whether a request announces a body."""
    return header(scope, b"content-length") not in (None, b"0") or header(scope, b"transfer-encoding") is not None


async def take_rest(receive: Receive) -> None:
    """Take and drop what is left of a body, within limits."""

    async def take() -> None:
        taken = 0
        while taken < LINGER_BYTES:
            message = await receive()
            taken += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body"):
                return

    try:
        await within(take(), LINGER_SECONDS)
    except TimeoutError:
        return
