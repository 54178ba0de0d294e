"""Folders of a user, by the rules of the three platforms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from openmem import Memory, server_store_url
from openmem._io.paths import user_cache_dir, user_data_dir

KNOWN = r"C:\Users\ann\AppData\Local"  # elsewhere than on Windows, a folder of this name in the working folder
VARIABLES = ("XDG_DATA_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA")
RULES = {
    "linux": Unix("openmem", appauthor=False),
    "darwin": MacOS("openmem", appauthor=False),
    "win32": Windows("openmem", appauthor=False),
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and what Windows says of it; no variable says anything."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("WIN_PD_OVERRIDE_LOCAL_APPDATA", KNOWN)
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def data(platform: str) -> str:
    return user_data_dir(RULES[platform], platform)


def cache(platform: str) -> str:
    return user_cache_dir(RULES[platform], platform)


@pytest.mark.parametrize(
    ("platform", "in_home", "in_cache"),
    [
        ("linux", ".local/share/openmem", ".cache/openmem"),
        ("darwin", "Library/Application Support/openmem", "Library/Caches/openmem"),
        ("win32", f"{KNOWN}/openmem", f"{KNOWN}/openmem/Cache"),
    ],
)
def test_platform_decides_the_folders(platform: str, in_home: str, in_cache: str, home: Path) -> None:
    assert Path(data(platform)).absolute() == home / in_home
    assert Path(cache(platform)).absolute() == home / in_cache


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_xdg_variables_name_other_folders_unless_they_are_relative(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = data(platform), cache(platform)
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert (data(platform), cache(platform)) == before
    monkeypatch.setenv("XDG_DATA_HOME", "/d")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert (data(platform), cache(platform)) == ("/d/openmem", "/c/openmem")


@pytest.mark.parametrize("name", ["memories.db", "memories.db-server.db", "server.db"])
@pytest.mark.parametrize(
    ("platform", "variable", "earlier", "today"),
    [
        ("darwin", ("XDG_DATA_HOME", "xdg"), "Library/Application Support/openmem", "xdg/openmem"),
        ("win32", ("LOCALAPPDATA", "other"), "other/openmem", f"{KNOWN}/openmem"),
    ],
)
def test_store_of_an_earlier_version_is_found_until_there_is_one_of_today(
    platform: str,
    variable: tuple[str, str],
    earlier: str,
    today: str,
    name: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable[0], str(home / variable[1]))
    (home / earlier).mkdir(parents=True)
    assert Path(data(platform)).absolute() == home / today  # an empty folder is no store
    (home / earlier / name).touch()
    assert Path(data(platform)).absolute() == home / earlier
    (home / today / "Cache").mkdir(parents=True)  # as downloading a model makes it on Windows
    assert Path(data(platform)).absolute() == home / earlier
    (home / today / "memories.db").touch()
    assert Path(data(platform)).absolute() == home / today


@pytest.mark.parametrize(
    ("platform", "variable", "earlier", "today"),
    [
        ("darwin", ("XDG_CACHE_HOME", "xdg"), "Library/Caches/openmem", "xdg/openmem"),
        ("win32", ("LOCALAPPDATA", "other"), "other/openmem/Cache", f"{KNOWN}/openmem/Cache"),
    ],
)
def test_models_of_an_earlier_version_need_not_be_downloaded_again(
    platform: str, variable: tuple[str, str], earlier: str, today: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable[0], str(home / variable[1]))
    (home / earlier / "models").mkdir(parents=True)
    assert Path(cache(platform)).absolute() == home / earlier
    (home / today / "models").mkdir(parents=True)
    assert Path(cache(platform)).absolute() == home / today


def test_keys_of_a_server_are_where_the_memories_are(home: Path) -> None:
    with Memory(embedder="none") as memory:
        memory.add("Ann likes tea", user_id="ann")
        place = memory.health().detail["path"]
    assert server_store_url(environ={}) == f"{place}-server.db"
    assert server_store_url(provider="mem0", environ={}) == os.path.join(os.path.dirname(place), "server.db")
    assert Path(place).is_relative_to(home)
