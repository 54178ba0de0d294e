"""Where a server keeps its keys, by where the memories are."""

from __future__ import annotations

from typing import Any

import pytest

from openmem import InvalidRequestError, server_store_url
from openmem._io.server_store_url import VARIABLE

POSTGRES = "postgresql://app:pw@db/x?sslmode=require"
DATA = "/home/ann/.local/share/openmem"


def place(url: Any = None, *, environ: dict[str, str] | None = None, platform: str = "linux", **given: Any) -> str:
    home = r"C:\Users\ann" if platform == "win32" else "/home/ann"
    return server_store_url(url, environ=environ or {}, platform=platform, home=home, **given)


@pytest.mark.parametrize(
    ("url", "given", "environ", "expected"),
    [
        (None, {}, {}, f"{DATA}/memories.db-server.db"),
        ("notes.db", {}, {}, "notes.db-server.db"),
        ("sqlite:///notes.db", {}, {}, "notes.db-server.db"),
        ("sqlite:////var/my%20notes.db", {}, {}, "/var/my notes.db-server.db"),
        (POSTGRES, {}, {}, POSTGRES),
        (None, {"provider": "sqlite"}, {"OMP_DB_PATH": "n.db"}, "n.db-server.db"),
        (None, {}, {"OMP_URL": "n.db"}, "n.db-server.db"),
        (None, {}, {"OMP_POSTGRES_URL": POSTGRES}, POSTGRES),
        (None, {"provider": "postgres"}, {"OMP_URL": POSTGRES}, POSTGRES),
        ("other.db", {}, {"OMP_URL": POSTGRES}, "other.db-server.db"),
        ("https://memories.example", {}, {}, f"{DATA}/server.db"),
        (None, {"provider": "mem0"}, {"XDG_DATA_HOME": "/data"}, "/data/openmem/server.db"),
        (None, {"base_url": "https://memories.example"}, {}, f"{DATA}/server.db"),
        (POSTGRES, {"store": "keys.db"}, {VARIABLE: "other.db"}, "keys.db"),
        (POSTGRES, {}, {VARIABLE: "keys.db"}, "keys.db"),
        ("notes.db", {"store": POSTGRES}, {}, POSTGRES),
        ("notes.db", {}, {VARIABLE: ""}, "notes.db-server.db"),
    ],
)
def test_place_follows_from_what_is_said(url: Any, given: Any, environ: dict[str, str], expected: str) -> None:
    assert place(url, environ=environ, **given) == expected


def test_windows_has_its_own_folder() -> None:
    assert place(platform="win32") == r"C:\Users\ann\AppData\Local\openmem\memories.db-server.db"
    assert place("http://x", platform="win32") == r"C:\Users\ann\AppData\Local\openmem\server.db"


@pytest.mark.parametrize("given", [{"store": ""}, {"store": "http://x"}, {"url": "ftp://x"}, {"url": " "}])
def test_what_is_no_place_is_refused(given: Any) -> None:
    with pytest.raises(InvalidRequestError):
        place(**given)
