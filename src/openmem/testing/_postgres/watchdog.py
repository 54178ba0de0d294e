"""The process that outlives the users of a server: it waits until the last is gone, ends the server, and tidies up.

Run with the folder of the server as its argument. It returns as soon as the watch has begun; the watch itself goes on
in the background.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
from pathlib import Path

from openmem.testing._postgres import process as postgres_process


def main(home: Path) -> None:
    """Watch over the server in `home`, unless another watchdog does."""
    guard = os.open(home / "watchdog", os.O_RDWR | os.O_CREAT, 0o600)
    users = os.open(home / "users", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if os.fork():
        return
    os.setsid()  # a Ctrl-C in the terminal is for the tests
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    fcntl.flock(users, fcntl.LOCK_EX)  # waits for as long as any process uses the server
    data = home / "pg" / "data"
    postgres_process.end(data, timeout=10.0)
    postgres_process.bury(data)
    # Away in one step: a process that comes now makes a folder of its own.
    grave = home.with_name(f"{home.name}.{os.getpid()}")
    home.rename(grave)
    shutil.rmtree(grave, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
