"""The delivery of changes to hooks, beside answering.

Of several workers and servers with one store, one delivers: it holds a lease there, and the others look now and then
whether it still does. Each hook is a task of its own, so that a slow receiver holds up no other.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from types import TracebackType
from typing import Final

from openmem import AsyncMemory, AsyncServerStore, OMPError

logger = logging.getLogger("openmem.server")

POLL_SECONDS: Final = 1.0
"""The pause between two looks at the feed."""
IDLE_SECONDS: Final = 5.0
"""The same where there are no hooks, or another process delivers."""
AT_ONCE: Final = 8
STEPS_IN_TURN: Final = 50
"""Messages of a hook before others have their turn."""


class Webhooks:
    """Delivers changes to hooks, as long as its block lasts.

    Args:
        memory: The memories whose feed hooks are told of.
        store: The server's store, which holds the hooks.
        allow_private: Whether messages may go to private addresses.
        poll: Seconds between two looks at the feed.
    """

    def __init__(
        self,
        memory: AsyncMemory,
        store: AsyncServerStore,
        *,
        allow_private: bool = False,
        poll: float = POLL_SECONDS,
    ) -> None:
        self._memory, self._store = memory, store
        self._allow_private, self._poll = allow_private, poll
        self._holder = secrets.token_hex(16)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._leads = False

    async def __aenter__(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tasks = [self._task, *self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._leads:
            with suppress(OMPError):  # then it ends by itself
                await self._store.release_hooks(self._holder)

    async def _run(self) -> None:
        while True:
            try:
                await self._look()
            except OMPError as error:
                logger.warning("hooks could not be read: %s", error.code)
            await asyncio.sleep(self._poll if self._leads else max(self._poll, IDLE_SECONDS))

    async def _look(self) -> None:
        """Begin to deliver to each hook that may have something to send, and is not at it already."""
        due = await self._store.take_hooks(self._holder)
        self._leads = due is not None
        for hook_id in due or ():
            if hook_id not in self._running:
                self._running[hook_id] = asyncio.ensure_future(self._deliver(hook_id))

    async def _deliver(self, hook_id: str) -> None:
        try:
            async with self._places:
                for _ in range(STEPS_IN_TURN):
                    result = await self._store.deliver_hook(
                        hook_id, self._memory, holder=self._holder, allow_private=self._allow_private
                    )
                    if result.trouble is not None:
                        logger.warning("%s: %s", hook_id, result.trouble)
                    if not result.more:
                        return
        except OMPError as error:
            logger.warning("%s: the delivery failed: %s", hook_id, error.code)
        except Exception as error:  # noqa: BLE001 - one hook must not end the others
            logger.error("%s: the delivery failed: %s", hook_id, type(error).__name__)
        finally:
            self._running.pop(hook_id, None)
