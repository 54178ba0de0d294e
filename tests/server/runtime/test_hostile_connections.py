"""A thousand hostile connections without a key: the server stays small, serves the others and keeps its log short."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from benchmarks.hostile_connections import CONNECTIONS, KINDS, Figures, measure, serving

ASKED = 60


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_thousand_strangers_cost_little_memory_and_no_service(tmp_path: Path) -> None:
    def enough(figures: Figures) -> bool:
        return figures.statuses.total() == ASKED

    with serving(tmp_path) as server:
        figures = measure(server, enough)
    assert figures.statuses == Counter({200: ASKED})
    assert 0 < figures.before <= figures.peak < 150
    assert max(figures.lines.values()) <= 100
    assert figures.tracebacks == 0
    assert CONNECTIONS // len(KINDS) > 100  # of each kind
