"""The clients that hostile peers are tried on: what each asks of a server, one line for each."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from openmem import AsyncMemory
from openmem._async.embedders import resolve_embedder
from openmem._embedding.choices import OpenAIEmbedder
from openmem._io.concurrency.call import Deadline
from openmem._io.vendors.blocking_sdk import AsyncBlockingClient
from openmem.providers import Retry

KEY = "sk-secret-4711"
RETRY = Retry(backoff=0.01)
"""As often as always, but not as long: how long the waits are has tests of its own."""
VERBS = (
    "add add_many get update delete delete_all list search context history audit export import reembed "
    "wait_for_ingest health changes scopes tags users"
)
CAPABILITIES: dict[str, Any] = {
    "omp_version": "0.1",
    "provider": "stub",
    "verbs": VERBS.split(),
    "features": {"temporal": True, "supports_supersession": True, "scopes": "native", "idempotency_keys": True},
}


@dataclass(frozen=True)
class Client:
    """One client of ours.

    Attributes:
        name: What it is.
        ask: Asks a server at an address for something, with a timeout in seconds.
        sdk: The module that it needs.
    """

    name: str
    ask: Callable[[str, float | None], Any]
    sdk: str | None = None


def passthrough(url: str, **options: Any) -> AsyncMemory:
    """Return a memory of an OMP server that is not asked for its capabilities."""
    options = {"capabilities": CAPABILITIES, "retry": RETRY, **options}
    return AsyncMemory("passthrough", base_url=url, api_key=KEY, **options)


async def _of_passthrough(url: str, timeout: float | None) -> Any:
    async with passthrough(url, timeout=timeout) as memory:
        return await memory.get("mem_1", user_id="ann")


async def _of_embedder(url: str, timeout: float | None) -> Any:
    embedder = resolve_embedder(OpenAIEmbedder("m", base_url=url, api_key=KEY, retry=RETRY))
    assert embedder is not None
    try:
        return await embedder.embed(["likes tea"], Deadline.after(timeout))
    finally:
        await embedder.aclose()


async def _of_vendor(make: Any, close: Any, settings: Any, timeout: float | None) -> Any:
    # Not by way of AsyncMemory, which would ask first whether an OMP server is there.
    parts = (partial(make, settings), partial(close, settings))
    sdk: AsyncBlockingClient[Any] = AsyncBlockingClient(*parts, 4, "vendor", retry=RETRY)
    try:
        return await sdk.run(lambda backend: backend.entries("ann", {}), Deadline.after(timeout))
    finally:
        await sdk.aclose()


async def _of_supermemory(url: str, timeout: float | None) -> Any:
    from openmem._io.vendors.supermemory import client as vendor

    settings = vendor.SupermemorySettings(api_key=KEY, base_url=url)
    return await _of_vendor(vendor.make, vendor.close, settings, timeout)


async def _of_letta(url: str, timeout: float | None) -> Any:
    from openmem._io.vendors.letta import client as vendor

    settings = vendor.LettaSettings("openai/text-embedding-3-small", api_key=KEY, base_url=url)
    return await _of_vendor(vendor.make, vendor.close, settings, timeout)


async def _of_mem0(url: str, timeout: float | None) -> Any:
    from openmem._io.vendors.mem0 import client as vendor

    settings = vendor.Mem0Settings("hosted", api_key=KEY, host=url)
    return await _of_vendor(vendor.make, vendor.close, settings, timeout)


CLIENTS = [
    Client("passthrough", _of_passthrough),
    Client("openai", _of_embedder),
    Client("supermemory", _of_supermemory, "supermemory"),
    Client("letta", _of_letta, "letta_client"),
    Client("mem0", _of_mem0, "mem0"),
]


def _param(client: Client, *values: Any, id: str, long: bool = False) -> Any:
    missing = client.sdk is not None and importlib.util.find_spec(client.sdk) is None
    marks: list[Any] = [pytest.mark.skip(reason=f"{client.sdk} is not installed")] if missing else []
    return pytest.param(client, *values, id=id, marks=[*marks, pytest.mark.long] if long else marks)


def on_each(names: str, rows: dict[str, Any]) -> pytest.MarkDecorator:
    """Try every row on every client.

    An SDK of a vendor is one and the same in both forms, so half of the rows after the first meet it in this form and
    the others in the other one; the long run has them all in both.

    Args:
        names: The arguments that a row gives.
        rows: One value, or a tuple of as many as there are names, by its label.
    """
    params = []
    for row, (label, given) in enumerate(rows.items()):
        values = given if " " in names else (given,)
        for place, client in enumerate(CLIENTS):
            elsewhere = bool((row + place + ("._sync." in __name__)) % 2)
            long = client.sdk is not None and row > 0 and elsewhere
            params.append(_param(client, *values, id=f"{client.name}-{label}", long=long))
    return pytest.mark.parametrize(("client", *names.split()), params)


ALL = pytest.mark.parametrize("client", [_param(client, id=client.name) for client in CLIENTS])
