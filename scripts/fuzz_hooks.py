"""Hooks that tell schemathesis about this server: lines of JSON, and the rules that no schema can state.

Loaded by `scripts/fuzz_server.py` through `SCHEMATHESIS_HOOKS`. What a rule let pass is counted, by rule, in the file
that `FUZZ_EXCUSES` names.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

# A request may follow every schema and still be refused with one of these messages, whole: what it breaks is a relation
# between two members, depends on who asks or on the store, or is inside of what the schemas leave open.
REFUSALS = {
    "nobody is named": r"user_id is required: (user_id must be a non-empty string|a key names a memory of one user)",
    "terms without a key": r"if_(absent|version) needs a key, which says what is meant",
    "terms that exclude each other": r"if_absent and if_version exclude each other: give one of them",
    "terms given twice": r"give if_(absent|version) or If-(None-)?Match, not both: they are the same",
    "metadata given twice": r"metadata and metadata_patch exclude each other",
    "two users are named": r"the request names two different users",
    "times in the wrong order": r"valid_to must be later than valid_from",
    "time outside the calendar once it is in UTC": r".* must lie between the years 1 and 9999 in UTC",
    "cursor that no server made": r"malformed cursor",
    "line of an import, whose schema is that of a text": r"line \d+: .*",
    "value of an own member that holds NUL": r"(source: )?['\"].* must not contain NUL or lone surrogates",
}
_REFUSALS = {name: re.compile(rf"(items\[\d+\]: )?({pattern})", re.DOTALL) for name, pattern in REFUSALS.items()}

VERSIONS = re.compile(r'\*|(W/)?"[!#-~]*"')
UNKNOWN_HEADER = "in header - object with unexpected properties"
USERS = ("ann", "bob", "eve")
PAGED = ("/memories", "/export")
LATE = 0.001  # clocks differ by as much

_excused: Counter[str] = Counter()


@schemathesis.serializer("application/x-ndjson")
def lines_of_json(ctx: Any, value: Any) -> bytes:
    """Send what was made for a text as lines; anything else as one line of JSON."""
    if isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="surrogatepass")


@schemathesis.hook
def before_call(ctx: Any, case: Any, kwargs: Any) -> None:
    """Let verbs run where everything is as it must be: one of few users, time enough, small pages."""
    dice = zlib.crc32(repr((case.body, case.query)).encode(errors="replace"))
    _give_time(case, dice)
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    if case.meta.phase.name.value in ("fuzzing", "stateful"):
        _name_one_user(case, dice)


def _give_time(case: Any, dice: int) -> None:
    seconds = _patience(case)
    if seconds is not None and 0 < seconds < 1 and dice % 8:
        case.headers["X-OMP-Timeout"] = "25"


def _name_one_user(case: Any, dice: int) -> None:
    user = USERS[dice // 8 % len(USERS)]
    if "{key}" in case.operation.path and (case.query or {}).get("user_id") is None and dice % 8:
        case.query = {**(case.query or {}), "user_id": user}
    if "{id}" in case.operation.path or "{key}" in case.operation.path:
        if (case.query or {}).get("user_id") is not None and dice % 8:
            for name in [name for name in case.headers or {} if name.lower() == "x-user-id"]:
                del case.headers[name]
    elif isinstance(case.body, dict) and case.body.get("user_id") is None and dice % 8:
        case.body["user_id"] = user
    elif case.operation.method == "get" and any(p.name == "user_id" for p in case.operation.query):
        query = case.query or {}
        if query.get("user_id") is None and dice % 8:
            query = {**query, "user_id": user}
        if case.operation.path in PAGED and query.get("cursor") is None and dice % 2:
            query = {**query, "limit": 1 + dice % 3}
        case.query = query


@schemathesis.check
def refused_for_a_reason(ctx: Any, response: Any, case: Any) -> bool | None:
    """Accept a request that follows the schemas, unless the answer has a reason that they cannot state."""
    reason = _reason(response, case)
    if reason is None:
        return positive_data_acceptance(ctx, response, case)
    if case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE:
        _excused[f"{response.status_code} {reason}"] += 1
    return None


@schemathesis.check
def refused_if_wrong(ctx: Any, response: Any, case: Any) -> bool | None:
    """Refuse a request that breaks a schema; that HTTP lets any client add headers is no such thing."""
    if response.status_code == 504 and _is_late(response, case):
        return None  # looked at too late to be refused
    try:
        return negative_data_rejection(ctx, response, case)
    except Failure as failure:
        if UNKNOWN_HEADER in failure.message:
            return None
        raise


@schemathesis.check
def late_only_if_told(ctx: Any, response: Any, case: Any) -> bool | None:
    """Say that time is up only if the client gave less time than the request took."""
    if response.status_code == 504 and not _is_late(response, case):
        raise Failure(
            operation=case.operation.label,
            title="Time was not up",
            message=f"504 after {response.elapsed:.4f} s, and the client waits for {_patience(case)} s",
        )
    return None


def _reason(response: Any, case: Any) -> str | None:
    if response.status_code == 400:
        message = _message_of(response)
        if message.startswith("If-Match must be") and not VERSIONS.fullmatch(str(_header(case, "If-Match"))):
            return "If-Match that schemathesis takes for valid against the pattern"
        return next((name for name, pattern in _REFUSALS.items() if pattern.fullmatch(message)), None)
    if response.status_code == 404 and "was deleted since" in _message_of(response):
        return "repetition of what was deleted since" if _header(case, "Idempotency-Key") is not None else None
    name, holds = STATUSES.get(response.status_code, ("", _never))
    return name if holds(response, case) else None


def _never(response: Any, case: Any) -> bool:
    return False


def _has(name: str) -> Callable[[Any, Any], bool]:
    return lambda response, case: _header(case, name) is not None


def _names_an_id(response: Any, case: Any) -> bool:
    named = isinstance(case.body, dict) and bool(case.body.get("ids"))
    return "{id}" in case.operation.path or "{key}" in case.operation.path or named


def _has_terms(header: str, member: str) -> Callable[[Any, Any], bool]:
    """Return whether a header, or a memory in the body, says what may be there for it to be stored."""

    def holds(response: Any, case: Any) -> bool:
        body = case.body if isinstance(case.body, dict) else {}
        items = body.get("items")
        memories = [body, *(items if isinstance(items, list) else [])]
        return _header(case, header) is not None or any(isinstance(one, dict) and one.get(member) for one in memories)

    return holds


def _needs_an_embedder(response: Any, case: Any) -> bool:
    asked = {**(case.query or {}), **(case.body if isinstance(case.body, dict) else {})}
    return case.operation.path == "/reembed" or asked.get("mode") == "vector"


def _is_late(response: Any, case: Any) -> bool:
    seconds = _patience(case)
    return seconds is not None and response.elapsed + LATE >= seconds


# Statuses other than success that a request may get though it follows every schema, and what it must be like.
STATUSES: dict[int, tuple[str, Callable[[Any, Any], bool]]] = {
    304: ("the version is known", _has("If-None-Match")),
    404: ("an id of no memory of the user", _names_an_id),
    405: ("nothing to embed with", _needs_an_embedder),
    409: (
        "key of another request, or of a memory that is there",
        lambda *seen: _has("Idempotency-Key")(*seen) or _has_terms("If-None-Match", "if_absent")(*seen),
    ),
    412: ("another version", _has_terms("If-Match", "if_version")),
    504: ("the client waits less long", _is_late),
}


def _header(case: Any, name: str) -> Any:
    return next((value for key, value in (case.headers or {}).items() if key.lower() == name.lower()), None)


def _patience(case: Any) -> float | None:
    try:
        return float(_header(case, "X-OMP-Timeout"))
    except (TypeError, ValueError):
        return None


def _message_of(response: Any) -> str:
    try:
        return str(json.loads(response.content)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return ""


@atexit.register
def _write_excuses() -> None:
    path = os.environ.get("FUZZ_EXCUSES")
    if path:
        Path(path).write_text(json.dumps(_excused), encoding="utf-8")
