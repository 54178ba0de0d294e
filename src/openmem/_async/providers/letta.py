"""Letta's archives, self-hosted or in the cloud: one archive for each user, one passage for each memory."""

from __future__ import annotations

from typing import ClassVar, cast

from openmem._async.embedders import AsyncEmbedder
from openmem._async.providers.emulated import AsyncEmulatedProvider
from openmem._config.registry import built_in_options
from openmem._config.settings import Settings
from openmem._emulation.backend import Backend
from openmem._io.vendors.letta import client as clients
from openmem._io.vendors.letta.store import LettaStore


class AsyncLettaProvider(AsyncEmulatedProvider):
    """Memories in Letta.

    Options:
        embedding: The handle of the model that a new archive makes vectors with ("openai/text-embedding-3-small").
        client: A ready `letta_client.Letta` instead; it stays the caller's, who closes it.
        workers: How many calls may run at once (8).
    """

    name: ClassVar[str] = "letta"
    takes_base_url: ClassVar[bool] = True
    options: ClassVar[frozenset[str]] = built_in_options("letta")
    native: ClassVar[tuple[str, ...]] = (
        "add",
        "add_many",
        "delete",
        "search",
        "export",
        "health",
        "user_id",
        "get without user_id",
    )
    emulated: ClassVar[tuple[str, ...]] = (
        "get",
        "update",
        "delete_all",
        "list",
        "context",
        "import",
        "wait_for_ingest",
        "score",
        "scope",
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
        clients.close(self._access, cast(LettaStore, backend))

    def features(self) -> dict[str, object]:
        """Return the feature flags. A score is 1 / rank: Letta gives an order and no scores."""
        return {**super().features(), "scores": "rank", "verbatim": True}
