"""`/healthz`, `/health/live`, `/health/ready`, `/version` and `/metrics`: for operators."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import openmem
from openmem import AsyncMemory, OMPError
from openmem._protocol.refusals import OverloadedError
from openmem.errors import ProviderUnavailableError
from openmem.server.middleware.admission import DRAIN_RETRY_SECONDS, Drain
from openmem.server.middleware.metrics import CONTENT_TYPE, Metrics
from openmem.server.services.timing import TtlCache, within
from openmem.types import Health

CHECK_SECONDS: Final = 1.0
KEPT_SECONDS: Final = 1.0


class HealthCheck:
    """Asks the backend how it is, at most once a second."""

    def __init__(self, memory: AsyncMemory, numbers: Metrics | None) -> None:
        self._memory = memory
        self._numbers = numbers
        self._recent: TtlCache[Health | None] = TtlCache(self._ask, KEPT_SECONDS)

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


def operation_routes(memory: AsyncMemory, drain: Drain, numbers: Metrics | None) -> list[Route]:
    """Return the routes. They need no key, and none of them tells more than that the server is there.

    Args:
        memory: What the server serves.
        drain: Whether it is about to stop.
        numbers: What `/metrics` shows; `None` for no such route.
    """
    check = HealthCheck(memory, numbers)

    async def healthz(request: Request) -> Response:
        await check.check()
        return _ok()

    async def live(request: Request) -> Response:
        return _ok()

    async def ready(request: Request) -> Response:
        if drain.draining:
            raise OverloadedError("the server is about to stop", retry_after=DRAIN_RETRY_SECONDS)
        await check.check()
        return _ok()

    async def version(request: Request) -> Response:
        capabilities = await memory.capabilities()
        return JSONResponse({"server": openmem.__version__, "omp_version": capabilities.omp_version})

    async def show_metrics(request: Request) -> Response:
        assert numbers is not None
        await check.health()
        return Response(numbers.text(), headers={"content-type": CONTENT_TYPE})

    answers = {"/healthz": healthz, "/health/live": live, "/health/ready": ready, "/version": version}
    if numbers is not None:
        answers["/metrics"] = show_metrics
    return [Route(path, answer) for path, answer in answers.items()]


def _ok() -> Response:
    return JSONResponse({"status": "ok"})
