"""Servers that many tests share: every test has users of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import httpx
import pytest

from tests.server.running import Place, RouteOptions, running, running_with_store


@pytest.fixture(scope="session")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server without keys, on the embedded store."""
    with running(f"sqlite:///{tmp_path_factory.mktemp('open') / 'memories.db'}") as client:
        yield client


@pytest.fixture(scope="session")
def keyed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server that asks for keys, on the embedded store."""
    folder = tmp_path_factory.mktemp("keyed")
    options = RouteOptions(open_without_keys=False)
    with running_with_store(
        f"sqlite:///{folder / 'memories.db'}", f"sqlite:///{folder / 'server.db'}", options=options
    ) as place:
        yield place


@pytest.fixture
def user() -> str:
    """A user whom no other test has."""
    return f"user-{secrets.token_hex(6)}"
