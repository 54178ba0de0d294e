"""`/healthz`, `/health/live`, `/health/ready`, `/version` and `/metrics`: for those who run the server."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Response

import openmem
from openmem import AsyncMemory, OMPError
from openmem.errors import ProviderUnavailableError
from openmem.server.middleware import metrics
from openmem.server.middleware.admission import DRAIN_RETRY_SECONDS, Drain
from openmem.server.middleware.errors import OverloadedError
from openmem.server.middleware.metrics import Metrics
from openmem.server.services.timing import Recent, within
from openmem.types import Health

CHECK_SECONDS: Final = 1.0
KEPT_SECONDS: Final = 1.0


class Pulse:
    """Asks the backend how it is, at most once a second."""

    def __init__(self, memory: AsyncMemory, numbers: Metrics | None) -> None:
        self._memory = memory
        self._numbers = numbers
        self._recent: Recent[Health | None] = Recent(self._ask, KEPT_SECONDS)

    async def health(self) -> Health | None:
        """Return what the backend said within the last second, or `None` if it did not answer well."""
        return await self._recent.get()

    async def check(self) -> None:
        """Return if the backend is well.

        Raises:
            ProviderUnavailableError: It is not, or did not answer within a second.
        """
        if await self.health() is None:
            raise ProviderUnavailableError("the memory backend does not answer", retry_after=KEPT_SECONDS)

    async def _ask(self) -> Health | None:
        try:
            found = await within(self._memory.health(timeout=CHECK_SECONDS), CHECK_SECONDS)
        except (OMPError, TimeoutError):
            found = None
        well = found if found is not None and found.ok else None
        if self._numbers:
            self._numbers.show_health(well is not None, well.detail if well else {})
        return well


def operation_routes(memory: AsyncMemory, drain: Drain, numbers: Metrics | None) -> APIRouter:
    """Return the routes. They need no key, and none of them tells more than that the server is there.

    Args:
        memory: What the server serves.
        drain: Whether it is about to stop.
        numbers: What `/metrics` shows; `None` for no such route.
    """
    router = APIRouter(tags=["operation"])
    pulse = Pulse(memory, numbers)
    ok = {"status": "ok"}

    @router.api_route("/healthz", methods=["GET", "HEAD"], summary="Does the memory backend answer?")
    async def healthz() -> dict[str, str]:
        await pulse.check()
        return ok

    @router.api_route("/health/live", methods=["GET", "HEAD"], summary="Is the process there? Asks nobody else.")
    async def live() -> dict[str, str]:
        return ok

    @router.api_route("/health/ready", methods=["GET", "HEAD"], summary="Should this process get requests?")
    async def ready() -> dict[str, str]:
        if drain.draining:
            raise OverloadedError("the server is about to stop", retry_after=DRAIN_RETRY_SECONDS)
        await pulse.check()
        return ok

    @router.api_route("/version", methods=["GET", "HEAD"], summary="Which version of what?")
    async def version() -> dict[str, str]:
        capabilities = await memory.capabilities()
        return {"server": openmem.__version__, "omp_version": capabilities.omp_version}

    if numbers is not None:

        @router.api_route("/metrics", methods=["GET", "HEAD"], response_class=Response, summary="All numbers.")
        async def show_metrics() -> Response:
            await pulse.health()
            return Response(numbers.text(), headers={"content-type": metrics.CONTENT_TYPE})

    return router
