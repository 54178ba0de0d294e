"""An import of large lines leaves the event loop to others."""

from __future__ import annotations

import json
import time
from pathlib import Path

from openmem import AsyncMemory
from tests.doubling import set_garbage_aside

LINES = 40


async def test_lines_are_parsed_and_checked_away_from_the_loop(tmp_path: Path) -> None:
    """Processor time of the loop's own thread, as a share of all: a loaded machine changes neither."""
    record = {"user_id": "ann", "content": "x", "created_at": "2026-01-01T00:00:00Z", "x-a": [{}] * 33_000}
    lines = [json.dumps({"memory": {"id": f"i-{number}", **record}}) for number in range(LINES)]
    async with AsyncMemory(url=str(tmp_path / "m.db"), embedder="none") as memory:
        await memory.import_([lines.pop()])
        set_garbage_aside()
        loop, everything = time.thread_time(), time.process_time()
        assert (await memory.import_(lines)).imported == LINES - 1
        loop, everything = time.thread_time() - loop, time.process_time() - everything
        assert loop < everything / 4
        loop, everything = time.thread_time(), time.process_time()
        assert len((await memory.export("ann")).lines) == LINES + 1
        loop, everything = time.thread_time() - loop, time.process_time() - everything
        assert loop < everything / 4
