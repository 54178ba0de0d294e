"""The processes of a Postgres server: found through its data directory, ended, and their traces removed."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]

PAUSE = 0.02


def postmaster(data: Path) -> psutil.Process | None:
    """Return the first process of the server over a data directory, or None if it does not live."""
    try:
        found = psutil.Process(int(_lock_file(data)[0]))
        # After a crash the number may be another process's by now.
        return found if found.name().startswith("postgres") and _lives(found) else None
    except (OSError, IndexError, ValueError, psutil.Error):
        return None


def kill(data: Path) -> None:
    """Kill every process of the server (SIGKILL) and return when all are dead."""
    first = postmaster(data)
    if first is None:
        return
    first.suspend()  # so that no process is born while they are counted
    doomed = [first, *first.children(recursive=True)]
    for process in doomed:
        with contextlib.suppress(psutil.Error):
            process.kill()
    while any(_lives(process) for process in doomed):
        time.sleep(PAUSE)


def end(data: Path, timeout: float) -> None:
    """End the server without writing anything more; kill it after `timeout` seconds."""
    first = postmaster(data)
    if first is None:
        return
    with contextlib.suppress(psutil.Error):
        first.send_signal(signal.SIGQUIT)
        first.resume()
    deadline = time.monotonic() + timeout
    while _lives(first) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    kill(data)


def bury(data: Path) -> None:
    """Remove what a killed server left behind outside its data directory: memory, of which there are few pieces."""
    try:
        segment = int(_lock_file(data)[6].split()[1])
    except (OSError, IndexError, ValueError):
        return  # it ended in an orderly way
    ctypes.CDLL(None).shmctl(segment, 0, None)


def _lock_file(data: Path) -> list[str]:
    return (data / "postmaster.pid").read_text().splitlines()


def _lives(process: psutil.Process) -> bool:
    """Say whether a process runs; one that only waits to be buried does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
