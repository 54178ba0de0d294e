"""The batch job as a user runs it: a process of its own, 50,000 memories, bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from openmem import AsyncMemory

JOB = Path(__file__).resolve().parents[2] / "examples" / "batch_ingest.py"
MEGABYTE = 1_000_000

# A small process starts the job and says how much memory that took: the number would otherwise be at least
# as large as the process that runs the tests.
MEASURE = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, *sys.argv[1:]])
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit)
sys.exit(done.returncode)
"""


def run_job(count: int, file: Path) -> int:
    """Run the job and return the most memory it held, in bytes."""
    job = [str(JOB), "--count", str(count), "--url", str(file), "--user", "desk"]
    done = subprocess.run([sys.executable, "-c", MEASURE, *job], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said, peak = done.stdout.splitlines()
    assert said == f"done: {count} memories in the store of desk"
    assert f"{count:,} stored" in done.stderr
    return int(peak)


@pytest.mark.timeout(60)  # five seconds on an idle machine; the work is the test
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the memory of a child this way")
async def test_ten_times_the_memories_take_about_the_same_memory(tmp_path: Path) -> None:
    few = run_job(5_000, tmp_path / "few.db")
    many = run_job(50_000, tmp_path / "many.db")
    # The pages that SQLite caches come on top until that cache is full; all at once would take 200 MB more.
    assert many - few < 80 * MEGABYTE
    async with AsyncMemory(url=str(tmp_path / "many.db"), embedder="none") as memory:
        assert (await memory.health()).detail["memories"] == 50_000
        newest = (await memory.list("desk", limit=1)).items[0]
        assert (newest.key, newest.version) == ("ticket-49999", 1)


async def test_second_run_stores_nothing_twice(tmp_path: Path) -> None:
    for _ in range(2):
        run_job(300, tmp_path / "again.db")
    async with AsyncMemory(url=str(tmp_path / "again.db"), embedder="none") as memory:
        assert (await memory.health()).detail["memories"] == 300
        assert {record.version for record in (await memory.list("desk", limit=300)).items} == {2}
