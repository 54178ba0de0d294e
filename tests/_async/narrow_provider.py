"""A provider that can hold less than others: no validity, no supersession, ten characters, no users with blanks."""

from __future__ import annotations

from typing import ClassVar

from openmem._async.providers.sqlite import AsyncSqliteProvider
from openmem._config.registry import ProviderSpec
from openmem._io.concurrency.call import Call
from openmem.errors import InvalidRequestError
from openmem.types import Capabilities

SPEC = ProviderSpec(
    "narrow", "tests._async.narrow_provider:AsyncNarrowProvider", "tests._sync.narrow_provider:NarrowProvider"
)


class AsyncNarrowProvider(AsyncSqliteProvider):
    """The embedded provider, made narrow."""

    name: ClassVar[str] = "narrow"

    def check_user(self, user_id: str) -> None:
        if " " in user_id:
            raise InvalidRequestError("no blank in a user, please")

    async def capabilities(self, call: Call) -> Capabilities:
        said = await super().capabilities(call)
        narrow = {"temporal": False, "supports_supersession": False, "max_content_length": 10}
        return said.model_copy(update={"features": said.features.model_copy(update=narrow)})
