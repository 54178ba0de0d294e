"""Room that is kept for deletions: a file beside a database whose disk is almost full.

A deletion writes before it gives anything back, so that on a full disk it could not begin. As long as there is much
room there is no such file.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Final

SIZE: Final = 2 * 1024 * 1024
LOW: Final = 1024 * 1024 * 1024
"""Bytes that are left on the disk when the file is made."""
NEAR_FULL: Final = 128 * 1024
PAUSE_SECONDS: Final = 1.0


class Reserve:
    """The file of one database. Several processes may share it; deleting it takes room from deletions only.

    Args:
        path: The database.
    """

    __slots__ = ("_looked", "_path")

    def __init__(self, path: str) -> None:
        self._path = f"{path}-reserve"
        self._looked = -PAUSE_SECONDS

    def keep(self) -> None:
        """Make the file if the disk is getting full, and remove it if it is not; look once a second at most.

        It takes a quarter of what is left at most. Where it cannot be made, there is none.
        """
        now = time.monotonic()
        if now - self._looked < PAUSE_SECONDS:
            return
        self._looked = now
        left = self._left()
        with suppress(OSError):
            # 1. Much room: there need be no file.
            # 2. Little: a part of it is set aside.
            if left >= LOW:
                os.unlink(self._path)
            else:
                self._make(left // 4)

    def release(self) -> bool:
        """Give the room to a deletion, and return whether there was any; the file is made again later."""
        self._looked = time.monotonic()
        try:
            os.unlink(self._path)
        except OSError:
            return False
        return True

    def restore(self) -> None:
        """Make the file again at once, after little of its room was needed."""
        with suppress(OSError):
            self._make(self._left() - NEAR_FULL)

    def is_full(self) -> bool:
        """Return whether the disk has no room for the files that an open database has beside it."""
        return self._left() < NEAR_FULL

    def _left(self) -> int:
        try:
            disk = os.statvfs(os.path.dirname(self._path) or ".")
        except (OSError, AttributeError):  # it does not exist on Windows
            return LOW
        return disk.f_bavail * disk.f_frsize

    def _make(self, size: int) -> None:
        if size <= 0:
            return
        file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            os.write(file, os.urandom(min(size, SIZE)))  # not zeros, for which some file systems set nothing aside
        except OSError:
            os.unlink(self._path)
            raise
        finally:
            os.close(file)
