"""Makes and closes the client of Letta's SDK."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Final

from openmem._io.letta_items import NAME
from openmem._io.letta_store import LettaStore
from openmem._io.letta_wire import SDK
from openmem.extras import install_extra
from openmem.http_errors import check_service_url

MISSING: Final = f"provider 'letta' needs the module 'letta_client': {install_extra('letta')}"


@dataclass(frozen=True, slots=True)
class LettaSettings:
    """How to come by a client: a ready one, or what to make it from."""

    embedding: str
    client: Any = None
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = field(default=None, repr=False)


def is_installed() -> bool:
    """Return whether the SDK is there, without importing it."""
    return find_spec("letta_client") is not None


def make(settings: LettaSettings) -> LettaStore:
    """Return the backend. This imports the SDK and asks nobody anything."""
    return LettaStore(settings.client or SDK.ask(lambda: _client(settings)), settings.embedding)


def close(settings: LettaSettings, backend: LettaStore) -> None:
    """Close a client that was made here; a ready one belongs to the caller."""
    if settings.client is None:
        backend.sdk.close()


def _client(settings: LettaSettings) -> Any:
    import letta_client

    named = os.environ.get("LETTA_BASE_URL")
    if settings.base_url is None and named:
        check_service_url(named, "LETTA_BASE_URL")  # the SDK would read it, and log it

    from openmem._io.sdk_http import new_sdk_client

    return letta_client.Letta(
        api_key=settings.api_key, base_url=settings.base_url, max_retries=0, http_client=new_sdk_client(NAME)
    )
