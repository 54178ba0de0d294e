"""How much the server takes on at once, and that it takes on nothing more once it was told to stop."""

from __future__ import annotations

from typing import Final

from openmem.server.asgi import OPERATIONS, ASGIApp, Receive, Scope, Send
from openmem.server.refusals import OverloadedError, refuse

RETRY_SECONDS: Final = 1.0
DRAIN_RETRY_SECONDS: Final = 5.0


class Drain:
    """Whether this process is about to stop. Set from a signal handler, read by everybody."""

    def __init__(self) -> None:
        self.draining = False

    def begin(self) -> None:
        """From now on nothing new is taken on."""
        self.draining = True


class Gate:
    """Refuses requests above a number that run at once, and all of them while draining.

    Args:
        app: Whom the others go to.
        concurrency: How many may run at once.
        drain: Whether the process is about to stop.
    """

    def __init__(self, app: ASGIApp, concurrency: int, drain: Drain) -> None:
        self._app = app
        self._concurrency = concurrency
        self._drain = drain
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPERATIONS:
            await self._app(scope, receive, send)
        elif self._drain.draining:
            error = OverloadedError("the server is about to stop", retry_after=DRAIN_RETRY_SECONDS)
            await refuse(scope, receive, send, error)
        elif self._running >= self._concurrency:
            error = OverloadedError("the server has too many requests at once", retry_after=RETRY_SECONDS)
            await refuse(scope, receive, send, error)
        else:
            await self._admit(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running -= 1
