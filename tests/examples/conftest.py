"""The environment of a shell in which `omp` runs."""

from __future__ import annotations

from pathlib import Path

import pytest

import openmem


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, store_url: str) -> None:
    """Let `omp` mean Ann and a store that does not exist yet, and search by words only."""
    monkeypatch.setenv("PYTHONPATH", str(Path(openmem.__file__).parent.parent))
    monkeypatch.setenv("OMP_URL", store_url)
    monkeypatch.setenv("OMP_USER", "ann")
    monkeypatch.setenv("OMP_EMBEDDER", "none")
