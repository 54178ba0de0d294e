"""The stores that the settings name: the memories, and the server's own."""

from __future__ import annotations

from typing import Any, Final

from openmem import AsyncMemory, AsyncServerStore, server_store_url
from openmem.providers import ProviderName
from openmem.server.runtime.settings import ServerSettings

APP: Final = "omp-server"
KEEPING: Final = (None, "sqlite", "postgres")
"""Providers that keep an audit log of their own."""


def make_memory(settings: ServerSettings) -> AsyncMemory:
    """Return the memory that is served, not opened yet."""
    given: dict[str, Any] = {
        "schema": settings.schema_name,
        "pool_max_size": settings.pool_size,
        "versions": settings.versions,
    }
    # A service keeps no audit log that we could shorten: then it is that of the server alone.
    is_service = settings.base_url is not None or (settings.url or "").lower().startswith(("http://", "https://"))
    if settings.provider in KEEPING and not is_service:
        given["audit_days"] = settings.audit_days
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
    url = server_store_url(settings.url, store=settings.store, provider=settings.provider, base_url=settings.base_url)
    return AsyncServerStore(url)
