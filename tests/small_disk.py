"""A disk that is soon full: a file system of some megabytes in memory."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str = "2m") -> Iterator[Path]:
    """Mount a disk of two megabytes, or of another size, or skip the test."""
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if not mount or not umount or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a full disk needs the right to mount a small one")
    try:
        yield folder
    finally:
        subprocess.run([umount, "-l", str(folder)], check=True)


def fill_up(folder: Path) -> None:
    """Take all that is left of a disk, to the last byte."""
    with (folder / "ballast").open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    assert os.statvfs(folder).f_bavail == 0
