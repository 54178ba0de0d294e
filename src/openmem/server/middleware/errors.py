"""Refusing a request in the middleware."""

from __future__ import annotations

from starlette.types import Scope, Send

from openmem import OMPError
from openmem.server.middleware.asgi import request_id_of
from openmem.server.routes.error_responses import error_reply


async def refuse(scope: Scope, send: Send, error: OMPError) -> None:
    """Answer with an error instead of running a verb."""
    await error_reply(error, request_id_of(scope)).send(send)
