"""A receiver of hooks on a loopback socket that checks every signature by itself, as a program of a user's would."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from tests.hostile_peer import Exchange, HostilePeer


class Receiver(HostilePeer):
    """Answers with the statuses that it is given, one after the other; then with 204.

    Attributes:
        got: The bodies of messages whose signatures are right, in the order in which they came.
        forged: How many had a wrong one.
    """

    def __init__(self, *statuses: int) -> None:
        super().__init__(self._answer)
        self.statuses = [*statuses]
        self.secret = ""
        self.got: list[dict[str, Any]] = []
        self.heads: list[dict[str, str]] = []
        self.forged = 0

    def _answer(self, exchange: Exchange) -> None:
        head, _, body = exchange.request.partition(b"\r\n\r\n")
        lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
        headers = {name.lower(): value for name, _, value in lines}
        if is_signed(self.secret, headers, body):
            self.heads.append(headers)
            self.got.append(json.loads(body))
        else:
            self.forged += 1
        status = self.statuses.pop(0) if self.statuses else 204
        exchange.send(b"HTTP/1.1 %d X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n" % status)

    @property
    def actions(self) -> list[str]:
        """The actions of all changes that came."""
        return [change["action"] for message in self.got for change in message["changes"]]

    @property
    def scopes(self) -> list[str | None]:
        """The scopes of all changes that came."""
        return [change.get("scope") for message in self.got for change in message["changes"]]


def is_signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    recent = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return recent and f"v1,{wanted}" in headers["webhook-signature"].split()
