"""What the settings say to serve: the memories, and the server's own store."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

from openmem import AsyncMemory, AsyncServerStore, ProviderName, server_store_url
from openmem.server.config import ServerSettings

APP: Final = "omp-server"


def make_memory(settings: ServerSettings) -> AsyncMemory:
    """Return the memory that is served, not opened yet."""
    given = {"schema": settings.schema, "pool_max_size": settings.pool_size}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return AsyncMemory(
        None if settings.provider is None else ProviderName(settings.provider),
        url=settings.url,
        base_url=settings.base_url,
        api_key=settings.api_key,
        embedder=settings.embedder,
        app=APP,
        timeout=settings.request_timeout,
        **options,
    )


def make_store(settings: ServerSettings) -> AsyncServerStore:
    """Return the server's own store, not opened yet."""
    url = server_store_url(
        settings.url,
        store=settings.store,
        provider=settings.provider,
        base_url=settings.base_url,
        environ=os.environ,
        platform=sys.platform,
        home=str(Path.home()),
    )
    return AsyncServerStore(url)
