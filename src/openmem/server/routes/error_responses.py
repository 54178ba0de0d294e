"""Every failure as the error envelope of the protocol, `{"error": {code, message, type, …}}`: the only encoder."""

from __future__ import annotations

import json
import logging
import math
import traceback
from collections.abc import Iterable
from typing import Final

from openmem import InvalidRequestError, NotFoundError, OMPError
from openmem.errors import RateLimitedError
from openmem.server.middleware.asgi import Headers, new_request_id
from openmem.server.routes.responses import Reply

logger = logging.getLogger("openmem.server")

RETRY_AFTER_UNAVAILABLE: Final = 1.0
MAX_RETRY_AFTER: Final = 86_400
"""Seconds that a client is told to wait at most."""
DEFAULT_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""What every answer carries unless it says otherwise."""


class MethodNotAllowedError(InvalidRequestError):
    """The path is there, the method is not; `allowed` says which are."""

    code, http_status = "method_not_allowed", 405

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = tuple(allowed)
        super().__init__(f"this path answers {', '.join(self.allowed)} only")


def unknown_route() -> NotFoundError:
    """Return the error for a path that the server does not know."""
    return NotFoundError("there is no such route")


def error_body(error: OMPError, request_id: str) -> bytes:
    """Return the envelope of an error, which takes over the id of the request."""
    error.request_id = request_id
    # What ran in a thread holds its error, whose frames hold it in turn, and the request with all that was made of it:
    # the collector would come to it much later, if ever. No one asks for the frames of what is sent as an answer.
    error.__traceback__ = None
    text = json.dumps(error.to_envelope(), allow_nan=False, default=str, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")  # a lone surrogate becomes what JSON writes for it


def error_headers(error: OMPError) -> Headers:
    """Return the headers that belong to the envelope of an error, without its length."""
    headers = [(b"content-type", b"application/json")]
    if error.http_status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowedError):
        headers.append((b"allow", ", ".join(error.allowed).encode("latin-1", "replace")))
    pause = _pause(error)
    if pause is not None:
        headers.append((b"retry-after", b"%d" % pause))
    return headers


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


def _pause(error: OMPError) -> int | None:
    """Return whole seconds, from 1 to a day, if the client should wait."""
    if error.retry_after is not None and math.isfinite(error.retry_after):
        return math.ceil(min(max(1.0, error.retry_after), MAX_RETRY_AFTER))
    if isinstance(error, RateLimitedError) or error.http_status == 503:
        return math.ceil(RETRY_AFTER_UNAVAILABLE)
    return None
