"""Folders for files of a user, by platformdirs.

Earlier versions had rules of their own, which differ from it in two cases:

1. On macOS they did not look at `XDG_DATA_HOME` and `XDG_CACHE_HOME`.
2. On Windows they asked the variable `LOCALAPPDATA`, not Windows.

There, what an earlier version left is used as long as today's folder holds nothing of the kind.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from platformdirs.api import PlatformDirsABC

APP: Final = "openmem"
STORES: Final = ("memories.db", "memories.db-server.db", "server.db")
MODELS: Final = ("models",)
_LIBRARY: Final = {"data": "Application Support", "cache": "Caches"}


def user_data_dir(dirs: PlatformDirsABC | None = None, platform: str = sys.platform) -> str:
    """Return the folder for data that must be kept, such as the embedded store.

    Args:
        dirs: The rules; those of this platform unless given.
        platform: The value of `sys.platform` that goes with them.

    Returns:
        An absolute path. The folder may not exist yet.
    """
    return _chosen((dirs or _dirs()).user_data_dir, _earlier("data", platform), STORES)


def user_cache_dir(dirs: PlatformDirsABC | None = None, platform: str = sys.platform) -> str:
    """Return the folder for data that can be had again, such as downloaded models.

    Args:
        dirs: The rules; those of this platform unless given.
        platform: The value of `sys.platform` that goes with them.

    Returns:
        An absolute path. The folder may not exist yet.
    """
    return _chosen((dirs or _dirs()).user_cache_dir, _earlier("cache", platform), MODELS)


def _dirs() -> PlatformDirsABC:
    import platformdirs  # here: an instance that was given a file needs none of it

    return platformdirs.PlatformDirs(APP, appauthor=False)


def _earlier(kind: str, platform: str) -> str | None:
    """Return the folder of earlier versions, where their rules were other ones."""
    home = os.path.expanduser("~")
    if platform == "darwin":
        return os.path.join(home, "Library", _LIBRARY[kind], APP)
    if platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
        return os.path.join(local, APP, "Cache") if kind == "cache" else os.path.join(local, APP)
    return None


def _chosen(today: str, earlier: str | None, names: tuple[str, ...]) -> str:
    if earlier is None or earlier == today or _holds(today, names) or not _holds(earlier, names):
        return today
    return earlier


def _holds(folder: str, names: tuple[str, ...]) -> bool:
    return any(os.path.lexists(os.path.join(folder, name)) for name in names)
