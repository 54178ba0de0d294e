"""Stores of all kinds to move between, each empty and of its own: the embedded ones, Postgres, and services."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from openmem import Memory
from openmem.testing import HashEmbedder
from openmem.testing.postgres import PostgresServer
from tests.openai_stub import OpenAIStub
from tests.running_server import host
from tests.vendor import letta, mem0_hosted, mem0_oss, supermemory

PROVIDERS = ("sqlite", "postgres", "mem0", "supermemory", "letta")
NEEDED = {
    "mem0": ("mem0", mem0_oss.NEEDED),
    "mem0 hosted": ("mem0", mem0_oss.NEEDED),
    "supermemory": ("supermemory", supermemory.NEEDED),
    "letta": ("letta_client", letta.NEEDED),
}


@dataclass
class StubStore:
    """One store.

    Attributes:
        provider: Its kind.
        place: What `omp copy` calls it.
        options: What `Memory` takes besides.
        key: Its key.
        service: The stand-in for the service, if there is one.
    """

    provider: str
    place: str
    options: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    service: Any = None

    def settings(self) -> dict[str, Any]:
        """Return what `Memory` takes."""
        if self.service is not None:
            return {"provider": self.provider, "base_url": self.service.url, "api_key": self.key}
        if self.options:
            return {"provider": self.provider, **self.options}
        return {"url": self.place, "embedder": "none"}

    def open(self) -> Memory:
        """Return the memory."""
        return Memory(**self.settings())

    def arguments(self, end: str, folder: Path) -> list[str]:
        """Return the options of `omp copy` for this store as one of the ends."""
        if not self.options:
            return [f"--{end}", self.place]
        file = folder / f"{end}.json"
        file.write_text(json.dumps(self.options))
        return [f"--{end}", self.place, f"--{end}-options", str(file)]

    def check(self) -> None:
        """Check that no request and no reply broke the contract of the service."""
        broken = [] if self.service is None else self.service.broken
        assert not broken, broken


class HashedOpenAI(OpenAIStub):
    """A web server that gives `HashEmbedder`'s vectors."""

    _embedder = HashEmbedder()

    def answer(self, body: Any) -> bytes:
        """Return the vectors of some texts."""
        vectors = self._embedder.embed(body["input"])
        items = [{"index": at, "embedding": vector, "object": "embedding"} for at, vector in enumerate(vectors)]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return json.dumps({"object": "list", "data": items, "model": "hash", "usage": usage}).encode()


@contextmanager
def stub_store(provider: str, folder: Path, postgres: Callable[[], PostgresServer]) -> Iterator[StubStore]:
    """A new store; the test is skipped where the SDK is absent.

    Args:
        provider: Its kind.
        folder: An empty folder.
        postgres: Returns a running Postgres.
    """
    if provider in NEEDED:
        module, reason = NEEDED[provider]
        pytest.importorskip(module, reason=reason)
    folder.mkdir(parents=True, exist_ok=True)
    with _MAKERS[provider](folder, postgres) as made:
        yield made
        made.check()


@contextmanager
def _sqlite(folder: Path, postgres: Callable[[], PostgresServer]) -> Iterator[StubStore]:
    yield StubStore("sqlite", str(folder / "memories.db"))


@contextmanager
def _postgres(folder: Path, postgres: Callable[[], PostgresServer]) -> Iterator[StubStore]:
    server = postgres()
    url = server.new_database()
    yield StubStore("postgres", url)
    server.drop_database(url)


@contextmanager
def _mem0(folder: Path, postgres: Callable[[], PostgresServer]) -> Iterator[StubStore]:
    os.environ["MEM0_DIR"] = str(folder / "mem0")
    # It waits for the disk twice for each memory: where there is a disk in memory, that is taken.
    quick = "/dev/shm" if os.access("/dev/shm", os.W_OK) else folder
    with HashedOpenAI() as stub, TemporaryDirectory(dir=quick) as name:
        folder = Path(name)
        config = mem0_oss.qdrant_config(folder)
        config["vector_store"]["config"]["on_disk"] = True
        config["history_db_path"] = str(folder / "history.db")
        config["embedder"]["config"] |= {"openai_base_url": stub.url, "model": "hash"}
        yield StubStore("mem0", "mem0", {"mode": "oss", "config": config})


@contextmanager
def _passthrough(folder: Path, postgres: Callable[[], PostgresServer]) -> Iterator[StubStore]:
    served = host().serve("sqlite", str(folder / "served.db"))
    try:
        yield StubStore("passthrough", served.url)
    finally:
        served.close()


@contextmanager
def _mem0_hosted(folder: Path, postgres: Callable[[], PostgresServer]) -> Iterator[StubStore]:
    yield from _served("mem0", mem0_hosted.Mem0Service(), mem0_hosted.KEY)


@contextmanager
def _supermemory(folder: Path, postgres: Callable[[], PostgresServer]) -> Iterator[StubStore]:
    yield from _served("supermemory", supermemory.SupermemoryService(), supermemory.KEY)


@contextmanager
def _letta(folder: Path, postgres: Callable[[], PostgresServer]) -> Iterator[StubStore]:
    service = letta.LettaService()
    service.dimensions = 4  # openmem drops the vectors; tests of letta have them in full
    yield from _served("letta", service, letta.KEY)


def _served(provider: str, service: Any, key: str) -> Iterator[StubStore]:
    try:
        yield StubStore(provider, f"{provider}+{service.url}", key=key, service=service)
    finally:
        service.close()


_MAKERS: dict[str, Callable[[Path, Callable[[], PostgresServer]], AbstractContextManager[StubStore]]] = {
    "sqlite": _sqlite,
    "postgres": _postgres,
    "passthrough": _passthrough,
    "mem0": _mem0,
    "mem0 hosted": _mem0_hosted,
    "supermemory": _supermemory,
    "letta": _letta,
}
