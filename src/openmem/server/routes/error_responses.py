"""Replies to requests that failed, and the log of failures that were not expected."""

from __future__ import annotations

import logging
import traceback

from openmem import OMPError
from openmem._protocol.error_bodies import DEFAULT_HEADERS, error_body, error_headers
from openmem._protocol.request_heads import Headers
from openmem.server.middleware.asgi import new_request_id
from openmem.server.routes.responses import Reply

logger = logging.getLogger("openmem.server")


def error_reply(error: OMPError, request_id: str) -> Reply:
    """Return the answer to a request that failed."""
    return Reply(error.http_status, error_body(error, request_id), error_headers(error))


def error_answer(error: OMPError) -> tuple[int, Headers, bytes, str]:
    """Return the answer to what is no request: status, headers, body, and the id that it got."""
    request_id = new_request_id()
    body = error_body(error, request_id)
    own = [(b"content-length", b"%d" % len(body)), (b"x-request-id", request_id.encode())]
    return error.http_status, [*error_headers(error), *own, *DEFAULT_HEADERS], body, request_id


def log_unexpected(error: BaseException, request_id: str) -> None:
    """Log what failed that should not have, and where: its class and those it came from. Texts may hold contents."""
    parts = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        parts.append(
            f"{type(current).__name__} req={request_id}\n{''.join(traceback.format_tb(current.__traceback__))}"
        )
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    logger.error("unexpected %s", "from ".join(parts))
