"""Notices that the client has gone away, and stops what need not be brought to its end."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import Receive

GRACE: Final = 0.2
"""Seconds before the connection is watched: most verbs are done by then, and a watch costs a task."""


class ClientGoneError(Exception):
    """The client closed the connection, and can be sent no answer."""


class Watch:
    """Cancels what runs in its block when the client disconnects, which then ends in `ClientGoneError`.

    Args:
        receive: Where the messages of the connection come from; what is left of the body is dropped.
        cancels: Whether it does. If not, `check` says what happened.
    """

    __slots__ = ("_cancels", "_gone", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, receive: Receive, *, cancels: bool = True) -> None:
        self._receive = receive
        self._cancels = cancels
        self._gone = False
        self._watcher: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raise `ClientGoneError` if the client has left."""
        if self._gone:
            raise ClientGoneError

    async def __aenter__(self) -> Watch:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._timer = asyncio.get_running_loop().call_later(GRACE, self._start)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        # 1. The verb was quicker than the grace: there was no watch.
        if self._watcher is None:
            return
        self._watcher.cancel()
        # 2. The client is still there, or the verb was to end without it.
        if not self._gone or not self._cancels:
            return
        # 3. The client has left, and the block was cancelled for that. A cancellation from elsewhere goes on.
        if exc_type is None:  # the cancellation came too late: it still waits for the next await
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        if self._task.uncancel() == 0 and (exc_type is None or exc_type is asyncio.CancelledError):
            raise ClientGoneError from exc_value

    def _start(self) -> None:
        self._watcher = asyncio.ensure_future(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._cancels:
            self._task.cancel()
