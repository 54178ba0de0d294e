"""supermemory: texts are kept as documents in a namespace for each user, and can be found once it has taken them in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, cast

from openmem._async.embedders import AsyncEmbedder
from openmem._async.providers.emulated import AsyncEmulatedProvider
from openmem._config.registry import built_in_options
from openmem._config.settings import Settings
from openmem._emulation.backend import Backend
from openmem._io.concurrency.call import Call
from openmem._io.vendors.supermemory import client as clients
from openmem._io.vendors.supermemory.store import PAGE, SupermemoryStore
from openmem.types import Status

FEW: Final = 8
"""Documents that are looked at one by one: for more, a list of them is quicker."""


class AsyncSupermemoryProvider(AsyncEmulatedProvider):
    """Memories in supermemory.

    Options:
        client: A ready `supermemory.Supermemory` instead of `api_key`; it stays the caller's, who closes it.
        task_type: "superrag" indexes texts as they are; "memory" has a language model derive memories from them, too.
        dreaming: When those are derived: "dynamic" or "instant".
        workers: How many calls may run at once (8).
    """

    name: ClassVar[str] = "supermemory"
    takes_base_url: ClassVar[bool] = True
    options: ClassVar[frozenset[str]] = built_in_options("supermemory")
    native: ClassVar[tuple[str, ...]] = (
        "add",
        "add_many",
        "get",
        "update",
        "delete",
        "search",
        "wait_for_ingest",
        "health",
        "user_id",
        "exact scope",
        "score",
    )
    emulated: ClassVar[tuple[str, ...]] = (
        "delete_all",
        "list",
        "context",
        "export",
        "import",
        "get without user_id",
        "scope/*",
        "tags",
        "since",
        "until",
        "valid_from",
        "valid_to",
        "as_of",
        "supersedes",
        "where",
        "key",
        "cursor",
    )

    def __init__(self, settings: Settings, embedder: AsyncEmbedder | None) -> None:
        super().__init__(settings, embedder)
        self._access = clients.access_of(settings)

    def make_backend(self) -> Backend:
        """Make the client of the SDK, or take the ready one."""
        return clients.make(self._access)

    def dispose(self, backend: Backend) -> None:
        """Close the client, unless it is the caller's."""
        clients.close(self._access, _store(backend))

    def features(self) -> dict[str, object]:
        """Return the feature flags; what is stored can be found later."""
        return {
            **super().features(),
            "async_ingestion": True,
            "status_field": True,
            "auto_chunking": True,
            "verbatim": True,
            "task_type": self._access.task_type,
        }

    async def unready(self, ids: Sequence[str], user_id: str, call: Call) -> Sequence[str]:
        """Return which memories are not indexed yet, or have others derived from them: many are looked up in lists."""
        states: dict[str, Status] = {}
        if len(ids) > FEW:
            for found in await self._spread(
                ids, PAGE, lambda backend, part, task: _store(backend).listed_states(part, user_id), call
            ):
                states |= found
        rest = [id_ for id_ in ids if id_ not in states]
        for found in await self._spread(
            rest, 1, lambda backend, part, task: {part[0]: _store(backend).state(part[0], user_id)}, call
        ):
            states |= found
        return [id_ for id_ in ids if states[id_] != "done"]


def _store(backend: Backend) -> SupermemoryStore:
    return cast(SupermemoryStore, backend)
