"""A server that several processes share. It starts for the first of them and ends with the last, however that ends.

Every process that uses the server holds a shared lock on the file `users` (its seat). The system drops the lock when
the process ends, also by SIGKILL, so no count is kept. A watchdog, a small process of its own, waits until it can
lock that file alone; then it stops the server and removes the folder.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

from openmem.testing._postgres.cluster import Cluster
from openmem.testing._postgres.install import PostgresUnavailable, check_owner
from openmem.testing._postgres.process import PAUSE


def take_seat(cluster: Cluster, timeout: float) -> int:
    """Join the users of a server, start it if it does not run, and return the seat: closing that file leaves.

    Args:
        cluster: The server. Processes that name the same home share it.
        timeout: How long starting may take, in seconds.

    Raises:
        PostgresUnavailable: The server does not start, or other processes keep it busy for too long.
    """
    deadline = in_seconds(timeout)
    while True:
        try:
            _make(cluster.home)
            gate = _lock(cluster.home / "gate", fcntl.LOCK_EX, deadline)
        except FileNotFoundError:  # a watchdog has just removed the folder
            continue
        try:
            seat = _sit(cluster, gate, deadline)
        finally:
            os.close(gate)
        if seat is not None:
            return seat
        time.sleep(PAUSE)


def in_seconds(timeout: float) -> float:
    """Return a moment of the clock `time.monotonic`."""
    return time.monotonic() + timeout


def wait_until_gone(home: Path, timeout: float) -> None:
    """Return when the watchdog has stopped the server and removed its folder, or the time is up."""
    deadline = in_seconds(timeout)
    while any(home.parent.glob(f"{home.name}*")) and time.monotonic() < deadline:  # it is renamed, then removed
        time.sleep(PAUSE)


def _sit(cluster: Cluster, gate: int, deadline: float) -> int | None:
    """Do what only one process at a time may do. None: the folder was removed meanwhile, so begin again."""
    try:
        seat = _open(cluster.home / "users")
    except FileNotFoundError:
        return None
    try:
        if _is(gate, cluster.home / "gate") and _settle(cluster, seat, deadline):
            cluster.ensure_running(deadline)
            return seat
    except BaseException:
        os.close(seat)
        raise
    os.close(seat)
    return None


def _settle(cluster: Cluster, seat: int, deadline: float) -> bool:
    watched = _watched(cluster.home)
    if _try_lock(seat, fcntl.LOCK_EX):
        if watched:
            return False  # the last user left a moment ago: let the watchdog clean up
        cluster.wipe()  # it has no owner: its users and its watchdog were killed
    _wait_lock(seat, fcntl.LOCK_SH, deadline)
    if not _is(seat, cluster.home / "users"):
        return False
    if not watched:
        # Before the server, so that nothing stays behind if this process is killed now.
        _start_watchdog(cluster.home)
    return True


def _make(home: Path) -> None:
    try:
        home.mkdir(mode=0o711)  # the account of the server passes through, and sees nothing
    except FileExistsError:
        check_owner(home)


def _start_watchdog(home: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "openmem.testing._postgres.watchdog", home],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        timeout=30,
    )


def _watched(home: Path) -> bool:
    guard = _open(home / "watchdog")
    try:
        return not _try_lock(guard, fcntl.LOCK_EX)
    finally:
        os.close(guard)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(path: Path, kind: int, deadline: float) -> int:
    handle = _open(path)
    try:
        _wait_lock(handle, kind, deadline)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _wait_lock(handle: int, kind: int, deadline: float) -> None:
    while not _try_lock(handle, kind):
        if time.monotonic() > deadline:
            raise PostgresUnavailable("another process has been starting or stopping this server for too long")
        time.sleep(PAUSE)


def _try_lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(handle: int, path: Path) -> bool:
    """Say whether an open file is still the one under its name."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
