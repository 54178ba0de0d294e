"""A process answers only when its backend has loaded: the first word of its health is true."""

from __future__ import annotations

from pathlib import Path

import pytest

from openmem import AsyncMemory
from openmem._config.registry import BUILT_IN
from openmem.providers import ProviderName
from openmem.server import create_app
from openmem.server.middleware.admission import Drain
from openmem.server.routes.health import operation_routes
from openmem.server.runtime.build import wrap
from openmem.server.runtime.settings import ServerSettings
from openmem.server.services.stores import make_store
from tests.server.plain_provider import COLD
from tests.server.running import client_of, serving


@pytest.mark.parametrize("path", ["/healthz", "/health/ready"])
def test_first_answer_about_health_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setitem(BUILT_IN, COLD.name, COLD)
    settings = ServerSettings(url=str(tmp_path / "m.db"))
    memory = AsyncMemory(ProviderName(COLD.name), url=f"sqlite:///{tmp_path / 'm.db'}", embedder="none")
    store = make_store(settings)
    app = create_app(memory, store=store, settings=settings)
    app.router.routes.extend(operation_routes(memory, Drain(), None))
    with serving(wrap(app, settings, store, None)) as address, client_of(address) as client:
        assert client.get(path).status_code == 200
