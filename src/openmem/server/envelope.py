"""Every failure as the error envelope of the protocol: `{"error": {code, message, type, …}}`."""

from __future__ import annotations

import json
import logging
import math
import traceback
from collections.abc import Iterable

from openmem import InvalidRequestError, NotFoundError, OMPError, RateLimitedError
from openmem.server.replies import Reply, json_reply

logger = logging.getLogger("openmem.server")

RETRY_AFTER_UNAVAILABLE = 1.0


class MethodNotAllowedError(InvalidRequestError):
    """The path is there, the method is not; `allowed` says which are."""

    code, http_status = "method_not_allowed", 405

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = tuple(allowed)
        super().__init__(f"this path answers {', '.join(self.allowed)} only")


def unknown_route() -> NotFoundError:
    """Return the error for a path that the server does not know."""
    return NotFoundError("there is no such route")


def error_reply(error: OMPError, request_id: str) -> Reply:
    """Return the envelope of an error, with the headers that belong to its status."""
    error.request_id = request_id
    text = json.dumps(error.to_envelope(), allow_nan=False, default=str, separators=(",", ":"))
    reply = json_reply(text.encode(), error.http_status)
    if error.http_status == 401:
        reply.with_header("www-authenticate", "Bearer")
    if isinstance(error, MethodNotAllowedError):
        reply.with_header("allow", ", ".join(error.allowed))
    pause = _pause(error)
    return reply if pause is None else reply.with_header("retry-after", str(math.ceil(pause)))


def log_unexpected(error: BaseException, request_id: str) -> None:
    """Log where something failed that should not have. The message may hold content, so it is left out."""
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("unexpected %s req=%s\n%s", type(error).__name__, request_id, where)


def _pause(error: OMPError) -> float | None:
    if error.retry_after is not None and math.isfinite(error.retry_after):
        return max(0.0, error.retry_after)
    if isinstance(error, RateLimitedError) or error.http_status == 503:
        return RETRY_AFTER_UNAVAILABLE
    return None
