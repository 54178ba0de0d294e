"""Recurring work beside answering: writing down the use of keys, forgetting old replies and entries."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final

from openmem import OMPError
from openmem.server.services.service import Service

logger = logging.getLogger("openmem.server")

FLUSH_EVERY: Final = 10.0
FORGET_EVERY: Final = 360
"""Flushes between two times of forgetting old replies."""
KEPT: Final = timedelta(hours=24)


class Maintenance:
    """Writes down when keys were used and forgets old replies and entries, as long as its block lasts.

    At its end it writes down once more.
    """

    def __init__(self, service: Service, audit_days: float | None = None) -> None:
        self._service = service
        self._audit = None if audit_days is None else timedelta(days=audit_days)

    async def __aenter__(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._flush()

    async def _run(self) -> None:
        round_number = 0
        while True:
            if round_number % FORGET_EVERY == 0:
                await self._forget()
            await asyncio.sleep(FLUSH_EVERY)
            await self._flush()
            round_number += 1

    async def _flush(self) -> None:
        await _or_warn("the use of keys could not be written down", self._service.callers.flush())

    async def _forget(self) -> None:
        store = self._service.store
        if store is None:
            return
        now = datetime.now(UTC)
        await _or_warn("old replies could not be forgotten", store.forget_replies(now - KEPT))
        if self._audit is not None:
            await _or_warn("old entries of the audit log could not be removed", store.forget_entries(now - self._audit))


async def _or_warn(trouble: str, work: Awaitable[object]) -> None:
    try:
        await work
    except OMPError as error:
        logger.warning("%s: %s", trouble, error.code)
