from __future__ import annotations

import pytest

from openmem._config.paths import user_cache_dir, user_data_dir


@pytest.mark.parametrize(
    ("environ", "platform", "home", "data", "cache"),
    [
        ({}, "linux", "/home/ada", "/home/ada/.local/share/openmem", "/home/ada/.cache/openmem"),
        (
            {"XDG_DATA_HOME": "/d", "XDG_CACHE_HOME": "/c"},
            "linux",
            "/home/ada",
            "/d/openmem",
            "/c/openmem",
        ),
        (
            {"XDG_DATA_HOME": "not/absolute", "XDG_CACHE_HOME": ""},
            "linux",
            "/home/ada",
            "/home/ada/.local/share/openmem",
            "/home/ada/.cache/openmem",
        ),
        (
            {"XDG_DATA_HOME": "/ignored"},
            "darwin",
            "/Users/ada",
            "/Users/ada/Library/Application Support/openmem",
            "/Users/ada/Library/Caches/openmem",
        ),
        (
            {"LOCALAPPDATA": r"C:\Users\ada\AppData\Local"},
            "win32",
            r"C:\Users\ada",
            r"C:\Users\ada\AppData\Local\openmem",
            r"C:\Users\ada\AppData\Local\openmem\Cache",
        ),
        (
            {},
            "win32",
            r"C:\Users\ada",
            r"C:\Users\ada\AppData\Local\openmem",
            r"C:\Users\ada\AppData\Local\openmem\Cache",
        ),
    ],
)
def test_platform_and_environment_decide_the_folders(
    environ: dict[str, str], platform: str, home: str, data: str, cache: str
) -> None:
    assert user_data_dir(environ, platform, home) == data
    assert user_cache_dir(environ, platform, home) == cache
