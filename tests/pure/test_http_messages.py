"""A misspelt name is reported together with the one that was meant."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path
from typing import Any

import pytest

import openmem
from openmem import AsyncMemory, InvalidRequestError, Memory, NotFoundError
from openmem.errors import UnsupportedProviderError

CALLS: list[tuple[str, dict[str, Any], str, str]] = [
    ("add", {"contnt": "tea", "user_id": "ann"}, "contnt", "content"),
    ("add", {"content": "tea", "user": "ann"}, "user", "user_id"),
    ("add", {"content": "tea", "user_id": "ann", "scoope": "a"}, "scoope", "scope"),
    ("add", {"content": "tea", "user_id": "ann", "tgas": []}, "tgas", "tags"),
    ("add_many", {"itmes": []}, "itmes", "items"),
    ("add_many", {"items": [{"contnt": "tea"}], "user_id": "ann"}, "contnt", "content"),
    ("get", {"id": "m", "user": "ann"}, "user", "user_id"),
    ("update", {"id": "m", "contents": "tea"}, "contents", "content"),
    ("update", {"id": "m", "ifversion": 1}, "ifversion", "if_version"),
    ("delete", {"idd": "m"}, "idd", "id"),
    ("delete_all", {"user": "ann"}, "user", "user_id"),
    ("list", {"user_id": "ann", "lmit": 3}, "lmit", "limit"),
    ("iterate", {"user_id": "ann", "lmit": 3}, "lmit", "limit"),
    ("search", {"qury": "tea", "user_id": "ann"}, "qury", "query"),
    ("search", {"query": "tea", "user_id": "ann", "min_scor": 1}, "min_scor", "min_score"),
    ("search", {"query": "tea", "user_id": "ann", "mode": "hybird"}, "mode", "hybrid"),
    ("context", {"query": "tea", "user_id": "ann", "budget": 5}, "budget", "token_budget"),
    ("history", {"id": "m", "userid": "ann"}, "userid", "user_id"),
    ("audit", {"user_id": "ann", "application": "a"}, "application", "app"),
    ("wait_for_ingest", {"id": ["m"], "user_id": "ann"}, "id", "ids"),
    ("export", {"usr_id": "ann"}, "usr_id", "user_id"),
    ("import_", {"line": []}, "line", "lines"),
    ("health", {"time_out": 1}, "time_out", "timeout"),
    ("capabilities", {"timout": 1}, "timout", "timeout"),
    ("reembed", {"progress": print}, "progress", "on_progress"),
    ("transfer", {"target": None, "dryrun": True}, "dryrun", "dry_run"),
    ("for_caller", {"acces": None}, "acces", "access"),
]

PACKAGE = str(Path(openmem.__file__).parent)


@pytest.mark.parametrize(
    ("verb", "given", "wrong", "meant"), CALLS, ids=lambda value: value if type(value) is str else ""
)
def test_misspelt_keyword_is_named_with_the_one_that_was_meant(
    tmp_path: Path, verb: str, given: dict[str, Any], wrong: str, meant: str
) -> None:
    async def call() -> None:
        found = getattr(AsyncMemory(url=str(tmp_path / "b.db"), embedder="none"), verb)(**given)
        await found

    with pytest.raises((TypeError, InvalidRequestError)) as plain:
        getattr(Memory(url=str(tmp_path / "a.db"), embedder="none"), verb)(**given)
    with pytest.raises((TypeError, InvalidRequestError)) as awaited:
        asyncio.run(call())
    for message in (str(plain.value), str(awaited.value)):
        assert wrong in message
        assert f"did you mean {meant!r}?" in message


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"path": "a.db"}, "url="),
        ({"dsn": "postgresql://a/b"}, "url="),
        ({"apikey": "k"}, "api_key="),
        ({"API_KEY": "k"}, "api_key="),
        ({"embeder": "none"}, "embedder="),
        ({"time_out": 1}, "timeout="),
        ({"cache_mbs": 1}, "cache_mb="),
        ({"provider": "postgres", "url": "postgresql://a/b", "pool_maxsize": 5}, "pool_max_size="),
    ],
)
def test_option_that_does_not_exist_is_named_with_the_one_that_does(given: dict[str, Any], meant: str) -> None:
    for kind in (Memory, AsyncMemory):
        with pytest.raises(InvalidRequestError) as caught:
            kind(**given)
        assert f"did you mean {meant!r}?" in caught.value.message


@pytest.mark.parametrize(
    ("name", "meant"), [("postgras", "postgres"), ("sqlite3", "sqlite"), ("supermemery", "supermemory")]
)
def test_provider_that_does_not_exist_is_named_with_the_one_that_does(name: str, meant: str) -> None:
    with pytest.raises(UnsupportedProviderError, match=f"did you mean '{meant}'"):
        Memory(name)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "given",
    [
        {"provider": "nobody"},
        {"provider": "postgres"},
        {"provider": "passthrough"},
        {"provider": "letta"},
        {"provider": ""},
        {"url": "ftp://a/b"},
        {"url": "sqlite://host/a.db"},
        {"url": "a.db", "base_url": "http://a"},
        {"base_url": "file:///a"},
        {"embedder": "unknown:model"},
        {"embedder": object()},
        {"timeout": 0},
        {"timeout": "soon"},
        {"app": "a\nb"},
        {"api_key": ""},
        {"colour": "red"},
        {"synchronous": "never"},
    ],
    ids=lambda given: next(iter(given)),
)
def test_wrong_argument_at_construction_is_a_value_error(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_URL", "OMP_BASE_URL", "OMP_POSTGRES_URL", "LETTA_API_KEY", "OMP_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for kind in (Memory, AsyncMemory):
        with pytest.raises(ValueError) as caught:
            kind(**given)
        assert isinstance(caught.value, InvalidRequestError)


def frames_of(error: BaseException) -> list[str]:
    return [frame.filename for frame in traceback.extract_tb(error.__traceback__)]


def test_traceback_shows_the_callers_line_and_the_one_that_raised(tmp_path: Path) -> None:
    with Memory(url=str(tmp_path / "a.db"), embedder="none") as memory:
        for call in (
            lambda: memory.get("mem_none", user_id="ann"),
            lambda: memory.add(" ", user_id="ann"),
            lambda: memory.list("ann", cursor="junk"),
        ):
            with pytest.raises((NotFoundError, InvalidRequestError)) as caught:
                call()
            frames = [name for name in frames_of(caught.value) if name.startswith(PACKAGE)]
            assert len(frames) <= 2, frames


def test_cause_of_an_error_keeps_its_traceback(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(Exception, match=r".") as caught:
        Memory(url=str(path), embedder="none").list("ann")
    assert len([name for name in frames_of(caught.value) if "openmem" in name]) <= 2
    cause = caught.value.__cause__
    assert cause is not None
    assert cause.__traceback__ is not None
