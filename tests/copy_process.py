"""A move with the command itself: `omp copy` as a process, killed on the way, and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.shell import start


def copy_killed_twice(args: Sequence[str], notes: Path, environment: Mapping[str, str], total: int) -> dict[str, int]:
    """Copy with a file of notes, kill it twice on the way, let it end, and return its report.

    Args:
        args: What follows `omp copy`.
        notes: The file of notes, which does not exist yet.
        environment: Further variables.
        total: How many memories there are.
    """
    command = [*start(), "copy", *args, "--state", str(notes)]
    everything = {**os.environ, **environment}
    done = 0
    for stop in (total // 5, total * 3 // 5):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=everything) as process:
            try:
                done = wait_for(notes, stop, process)
            finally:
                process.kill()
        assert process.returncode == -signal.SIGKILL
        assert stop <= done < total
    ended = subprocess.run([*command, "--json"], capture_output=True, text=True, env=everything)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert not notes.exists()
    report: dict[str, int] = json.loads(ended.stdout)
    # What came before the last page that was noted was not even looked at again in the target.
    assert report["imported"] + report["skipped"] <= total - done
    return report


def done_of(notes: Path) -> int:
    """Return how many memories a file of notes counts, 0 if there is none yet."""
    try:
        return int(json.loads(notes.read_bytes())["progress"]["done"])
    except FileNotFoundError:
        return 0


def wait_for(notes: Path, stop: int, process: subprocess.Popen[bytes]) -> int:
    """Wait until the notes of a running copy count so many memories; the test's own time limit ends it.

    Returns:
        How many they count.
    """
    while (done := done_of(notes)) < stop:
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        time.sleep(0.01)
    return done
