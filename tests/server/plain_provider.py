"""A third party's provider: it keeps memories, but no journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from openmem import AuditEntry, Capabilities, ProviderSpec
from openmem._async.providers.sqlite import AsyncSqliteProvider

SPEC = ProviderSpec("plain", "tests.server.plain_provider:AsyncPlainProvider", None)
TALKATIVE = ProviderSpec("talkative", "tests.server.plain_provider:AsyncTalkativeProvider", None)


class AsyncPlainProvider(AsyncSqliteProvider):
    """The embedded store, without its journal."""

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
