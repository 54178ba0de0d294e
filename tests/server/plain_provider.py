"""A third party's provider: it keeps memories, but no audit log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from openmem._async.providers.sqlite import AsyncSqliteProvider
from openmem.errors import ProviderUnavailableError
from openmem.providers import ProviderSpec
from openmem.types import AuditEntry, Capabilities, Health

SPEC = ProviderSpec("plain", "tests.server.plain_provider:AsyncPlainProvider", None)
COLD = ProviderSpec("cold", "tests.server.plain_provider:AsyncColdProvider", None)
TALKATIVE = ProviderSpec("talkative", "tests.server.plain_provider:AsyncTalkativeProvider", None)


class AsyncPlainProvider(AsyncSqliteProvider):
    """The embedded store, without its audit log."""

    name: ClassVar[str] = "plain"

    async def capabilities(self, call: Any) -> Capabilities:
        said = await super().capabilities(call)
        features = said.features.model_copy(update={"supports_audit": False})
        return said.model_copy(
            update={"provider": self.name, "features": features, "verbs": [v for v in said.verbs if v != "audit"]}
        )

    async def audit(self, query: Any, call: Any) -> Sequence[AuditEntry]:
        raise self.cannot("audit")


class AsyncTalkativeProvider(AsyncPlainProvider):
    """Names all that it can do in one list, as providers did before the list of the protocol was closed."""

    name: ClassVar[str] = "talkative"

    async def capabilities(self, call: Any) -> Capabilities:
        said = await super().capabilities(call)
        return said.model_copy(update={"verbs": ["add", "dream"]})


class AsyncColdProvider(AsyncPlainProvider):
    """One that needs longer than a health check allows, the first time it is asked: it loads and connects."""

    name: ClassVar[str] = "cold"
    _is_warm = False

    async def health(self, call: Any) -> Health:
        left = call.deadline.remaining()
        if not self._is_warm and left is not None and left < 5:
            raise ProviderUnavailableError("still loading")
        self._is_warm = True
        return await super().health(call)
