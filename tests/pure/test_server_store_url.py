"""The address of a server's own store, by the address of the memories."""

from __future__ import annotations

from typing import Any

import pytest

from openmem import InvalidRequestError, server_store_url
from openmem._io.server_store_url import VARIABLE

POSTGRES = "postgresql://app:pw@db/x?sslmode=require"
DATA = "/data/openmem"


@pytest.fixture(autouse=True)
def data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")


def place(url: Any = None, *, environ: dict[str, str] | None = None, **given: Any) -> str:
    return server_store_url(url, environ=environ or {}, **given)


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
        (None, {"provider": "mem0"}, {}, f"{DATA}/server.db"),
        (None, {"base_url": "https://memories.example"}, {}, f"{DATA}/server.db"),
        (POSTGRES, {"store": "keys.db"}, {VARIABLE: "other.db"}, "keys.db"),
        (POSTGRES, {}, {VARIABLE: "keys.db"}, "keys.db"),
        ("notes.db", {"store": POSTGRES}, {}, POSTGRES),
        ("notes.db", {}, {VARIABLE: ""}, "notes.db-server.db"),
    ],
)
def test_place_follows_from_what_is_said(url: Any, given: Any, environ: dict[str, str], expected: str) -> None:
    assert place(url, environ=environ, **given) == expected


def test_variables_are_those_of_the_process_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "keys.db")
    assert server_store_url("notes.db") == "keys.db"


@pytest.mark.parametrize("given", [{"platform": "win32"}, {"home": "/home/ann"}])
def test_platform_and_home_are_deprecated_and_count_for_nothing(given: Any) -> None:
    with pytest.warns(DeprecationWarning, match="count for nothing"):
        assert place("http://x", **given) == f"{DATA}/server.db"


@pytest.mark.parametrize("given", [{"store": ""}, {"store": "http://x"}, {"url": "ftp://x"}, {"url": " "}])
def test_text_that_is_no_address_is_refused(given: Any) -> None:
    with pytest.raises(InvalidRequestError):
        place(**given)
