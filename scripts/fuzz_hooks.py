"""What schemathesis is told about this server: lines of JSON, and the rules that no schema can state.

Loaded by `scripts/fuzz_server.py` through `SCHEMATHESIS_HOOKS`.
"""

from __future__ import annotations

import json
import re
from typing import Any

import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

# A request may follow every schema and still break one of these; the message says which.
RULES = re.compile(
    r"must not be blank|must not contain|is not allowed|must not start or end with|is required: user_id"
    r"|must be later than|must lie between the years|must be ISO 8601|must be timezone-aware|cursor"
    r"|scope|two different users|supersede|must be percent-encoded|must be UTF-8|line \d+|as_of"
    r"|nested too deeply|no valid HTTP request|must be a whole number, not float|If-Match must be"
)

UNKNOWN_HEADER = "in header - object with unexpected properties"


@schemathesis.serializer("application/x-ndjson")
def lines_of_json(ctx: Any, value: Any) -> bytes:
    """Send what was made for a text as lines; anything else as one line of JSON."""
    if isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="surrogatepass")


@schemathesis.check
def refused_for_a_reason(ctx: Any, response: Any, case: Any) -> bool | None:
    """Accept a request that follows the schemas, unless the answer names a rule that they cannot state."""
    if response.status_code == 400 and RULES.search(_message_of(response)):
        return None
    return positive_data_acceptance(ctx, response, case)


@schemathesis.check
def refused_if_wrong(ctx: Any, response: Any, case: Any) -> bool | None:
    """Refuse a request that breaks a schema; that HTTP lets everybody add headers is no such thing."""
    try:
        return negative_data_rejection(ctx, response, case)
    except Failure as failure:
        if UNKNOWN_HEADER in failure.message:
            return None
        raise


@schemathesis.hook
def map_headers(ctx: Any, headers: Any) -> Any:
    """Let verbs run: the smallest number there is would end each of them before it began."""
    if isinstance(headers, dict) and str(headers.get("X-OMP-Timeout")) == "5e-324":
        return {**headers, "X-OMP-Timeout": "25"}
    return headers


def _message_of(response: Any) -> str:
    try:
        return str(json.loads(response.content)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return ""
