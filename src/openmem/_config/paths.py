"""Where files of a user belong on each platform. Pure: environment, platform and home are arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath, PurePosixPath, PureWindowsPath

APP = "openmem"


def user_data_dir(environ: Mapping[str, str], platform: str, home: str) -> str:
    """Return the folder for data that must be kept, such as the embedded store.

    Args:
        environ: The environment variables.
        platform: The value of `sys.platform`.
        home: The user's home folder.

    Returns:
        An absolute path. The folder may not exist yet.
    """
    if platform == "win32":
        return str(_windows_local(environ, home) / APP)
    if platform == "darwin":
        return str(PurePosixPath(home) / "Library" / "Application Support" / APP)
    return str(_xdg(environ, "XDG_DATA_HOME", PurePosixPath(home) / ".local" / "share") / APP)


def user_cache_dir(environ: Mapping[str, str], platform: str, home: str) -> str:
    """Return the folder for data that can be had again, such as downloaded models.

    Args:
        environ: The environment variables.
        platform: The value of `sys.platform`.
        home: The user's home folder.

    Returns:
        An absolute path. The folder may not exist yet.
    """
    if platform == "win32":
        return str(_windows_local(environ, home) / APP / "Cache")
    if platform == "darwin":
        return str(PurePosixPath(home) / "Library" / "Caches" / APP)
    return str(_xdg(environ, "XDG_CACHE_HOME", PurePosixPath(home) / ".cache") / APP)


def _windows_local(environ: Mapping[str, str], home: str) -> PurePath:
    given = environ.get("LOCALAPPDATA")
    return PureWindowsPath(given) if given else PureWindowsPath(home) / "AppData" / "Local"


def _xdg(environ: Mapping[str, str], name: str, default: PurePosixPath) -> PurePath:
    # The XDG specification says to ignore a relative path.
    given = PurePosixPath(environ.get(name, ""))
    return given if given.is_absolute() else default
