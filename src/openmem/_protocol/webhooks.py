"""Messages to hooks: their bodies, ids and signatures (Standard Webhooks), and when to try again. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from openmem._model.hooks import secret_key
from openmem.types import Change

MAX_ATTEMPTS: Final = 10
"""Attempts after which a message is given up, about 15 hours after the first."""
MAX_BODY: Final = 1_048_576
"""Bytes of changes in a message; a single change may be larger."""

_FIRST_PAUSE: Final = 5.0
_FACTOR: Final = 4.0
_LONGEST_PAUSE: Final = 4 * 3600.0

Verdict = Literal["taken", "gone", "failed"]


def change_name(change: Change) -> str:
    """Return what tells a change from all others, and nothing of it: the same whenever it is read."""
    at = "" if change.timestamp is None else change.timestamp.isoformat()
    parts = (change.user_id, change.action, change.memory_id, change.scope, change.version, at)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def message_id(hook_id: str, first: str, last: str) -> str:
    """Return the id of the message whose first and last changes have these names: the same for each attempt."""
    return "msg_" + hashlib.sha256(f"{hook_id}\n{first}\n{last}".encode()).hexdigest()[:32]


def change_text(change: Mapping[str, Any], memory: Mapping[str, Any] | None, *, content: bool) -> str:
    """Return a change as JSON; with `content`, the memory is in it, `null` if there is none any more."""
    whole = {**change, "memory": memory} if content and change.get("memory_id") is not None else change
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def message_body(id_: str, changes: Iterable[str], *, missed: bool = False, test: bool = False) -> bytes:
    """Return the body of a message.

    Args:
        id_: Its id.
        changes: The changes, each as JSON.
        missed: Changes before these were removed from the feed before they were sent.
        test: It was sent by hand and tells of nothing.
    """
    flags = "".join(f',"{name}":true' for name, is_set in (("missed", missed), ("test", test)) if is_set)
    return f'{{"id":{json.dumps(id_)},"changes":[{",".join(changes)}]{flags}}}'.encode()


def signature(secret: str, id_: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a message: `v1,` and the Base64 of HMAC-SHA256 over id, time and body."""
    digest = hmac.digest(secret_key(secret), f"{id_}.{timestamp}.".encode() + body, "sha256")
    return "v1," + base64.b64encode(digest).decode()


def message_headers(secret: str, id_: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers of a message that is sent at a time."""
    timestamp = str(int(at.timestamp()))
    return {
        "Content-Type": "application/json",
        "User-Agent": "openmem-webhooks",
        "webhook-id": id_,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature(secret, id_, timestamp, body),
    }


def pause_after(failures: int, chance: float) -> timedelta:
    """Return how long to wait after so many failures in a row.

    Args:
        failures: From 1 on.
        chance: A random number from 0 to 1: the pause is shortened by up to a quarter, so that hooks that failed
            together are not tried together.
    """
    longest = min(_FIRST_PAUSE * _FACTOR ** min(failures - 1, 32), _LONGEST_PAUSE)
    return timedelta(seconds=longest * (1 - chance / 4))


def verdict_of(status: int | None) -> Verdict:
    """Return what a status says: 2xx is a success, 410 that the receiver wants no more; `None` is no answer."""
    if status is None:
        return "failed"
    if 200 <= status < 300:
        return "taken"
    return "gone" if status == 410 else "failed"
