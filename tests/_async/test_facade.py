"""Construction of a client: which provider, which file, which embedder; what it shows and what errors carry."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, InvalidRequestError, NotFoundError, OMPError, ProviderError, UnsupportedCapabilityError
from openmem.errors import UnsupportedProviderError
from openmem.providers import ProviderName
from openmem.testing import HashEmbedder
from openmem.types import ImportReport

SECRET = "sk-4711-secret"


async def file_of(memory: AsyncMemory) -> Path:
    """Return the file in which the client keeps what it is given, and close it."""
    await memory.add(content="likes tea", user_id="ann")
    health = await memory.health()
    await memory.close()
    path = Path(health.detail["path"])
    assert path.exists()
    return path.resolve()


# --- which provider, which file ---


async def test_nothing_given_is_one_file_in_the_users_data_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = await file_of(AsyncMemory(embedder="none"))
    assert path == tmp_path / "data" / "openmem" / "memories.db"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert await file_of(AsyncMemory("sqlite", embedder="none")) == path


@pytest.mark.parametrize("form", ["{path}", "sqlite:///{path}", "SQLite:///{path}"])
async def test_url_is_a_path_or_names_the_embedded_store(store_path: Path, form: str) -> None:
    url = form.format(path=store_path)
    assert await file_of(AsyncMemory(url=url, embedder="none")) == store_path
    assert await file_of(AsyncMemory("sqlite", url=url, embedder="none")) == store_path
    assert await file_of(AsyncMemory(url=store_path, embedder="none")) == store_path


async def test_relative_path_and_escaped_characters_are_understood(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert await file_of(AsyncMemory(url="notes.db", embedder="none")) == tmp_path / "notes.db"
    assert await file_of(AsyncMemory(url="sqlite:///notes.db", embedder="none")) == tmp_path / "notes.db"
    assert await file_of(AsyncMemory(url="sqlite:///my%20notes.db", embedder="none")) == tmp_path / "my notes.db"
    assert await file_of(AsyncMemory(url="50% 🍵.db", embedder="none")) == tmp_path / "50% 🍵.db"


@pytest.mark.parametrize(
    "variables",
    [
        {"OMP_URL": "sqlite:///{path}"},
        {"OMP_URL": "{path}"},
        {"OMP_DB_PATH": "{path}"},
        {"OMP_PROVIDER": "sqlite", "OMP_DB_PATH": "{path}"},
        {"OMP_PROVIDER": "sqlite", "OMP_URL": "sqlite:///{path}"},
        {"OMP_PROVIDER": "sqlite", "OMP_URL": "postgresql://host/db", "OMP_DB_PATH": "{path}"},
        {"OMP_URL": "sqlite:///{path}", "OMP_DB_PATH": "elsewhere.db", "OMP_BASE_URL": "http://host"},
        {"OMP_PROVIDER": "", "OMP_URL": "", "OMP_DB_PATH": "{path}"},
    ],
)
async def test_environment_names_the_file(
    monkeypatch: pytest.MonkeyPatch, store_path: Path, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(path=store_path))
    assert await file_of(AsyncMemory(embedder="none")) == store_path


async def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch, store_path: Path) -> None:
    monkeypatch.setenv("OMP_PROVIDER", "no-such-provider")
    monkeypatch.setenv("OMP_URL", "http://nowhere.invalid")
    monkeypatch.setenv("OMP_EMBEDDER", "no-such-embedder")
    assert await file_of(AsyncMemory(url=str(store_path), embedder="none")) == store_path
    monkeypatch.setenv("OMP_DB_PATH", str(store_path))
    assert await file_of(AsyncMemory("sqlite", embedder="none")) == store_path


@pytest.mark.parametrize(
    ("given", "variables", "provider"),
    [
        ({"provider": "mem0"}, {}, "mem0"),
        ({"url": "postgresql://u:p@host/db"}, {}, "postgres"),
        ({"url": "https://memory.example"}, {}, "passthrough"),
        ({"base_url": "https://memory.example"}, {}, "passthrough"),
        ({"provider": "letta", "base_url": "https://memory.example"}, {}, "passthrough"),
        ({}, {"OMP_PROVIDER": "supermemory"}, "supermemory"),
        ({}, {"OMP_URL": "postgres://u:p@host/db"}, "postgres"),
        ({}, {"OMP_POSTGRES_URL": "postgresql://u:p@host/db"}, "postgres"),
        ({}, {"OMP_BASE_URL": "https://memory.example"}, "passthrough"),
    ],
)
def test_address_and_environment_choose_the_provider(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], variables: dict[str, str], provider: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    try:
        shown = repr(AsyncMemory(**given, embedder="none"))
    except InvalidRequestError as error:  # its extra is not installed
        shown = error.message
    assert repr(provider) in shown
    assert "u:p" not in shown


def test_unknown_provider_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(UnsupportedProviderError, match=r"there is no provider 'sqlight'; installed are: .*sqlite"):
        AsyncMemory(ProviderName("sqlight"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"provider": 7}, "provider"),
        ({"provider": " "}, "provider"),
        ({"url": ""}, "url"),
        ({"url": 7}, "url"),
        ({"url": b"notes.db"}, "url"),
        ({"url": ":memory:"}, "url"),
        ({"url": "sqlite://"}, "url"),
        ({"url": "sqlite:///"}, "url"),
        ({"url": "sqlite:///:memory:"}, "url"),
        ({"url": "sqlite://host/notes.db"}, "url"),
        ({"url": "sqlite:///notes.db?mode=ro"}, "url"),
        ({"url": "nul\0.db"}, "url"),
        ({"url": "mysql://u:p@host/db"}, "url: the scheme 'mysql' is unknown"),
        ({"provider": "sqlite", "url": "postgresql://u:p@host/db"}, "url"),
        ({"base_url": ""}, "base_url"),
        ({"api_key": 7}, "api_key"),
        ({"app": ""}, "app"),
        ({"app": "a\nb"}, "app"),
        ({"app": 7}, "app"),
        ({"app": "x" * 101}, "app"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": "1"}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"colour": "green"}, "no option 'colour'; it knows: audit_days, cache_mb, synchronous, versions"),
        ({"synchronous": "off"}, "synchronous"),
        ({"synchronous": ["full"]}, "synchronous"),
        ({"cache_mb": 0}, "cache_mb"),
        ({"cache_mb": True}, "cache_mb"),
        ({"cache_mb": "10"}, "cache_mb"),
        ({"embedder": "word2vec"}, "embedder 'word2vec' is not known"),
        ({"embedder": ""}, "embedder"),
        ({"embedder": 7}, "embedder int lacks dim, model, embed"),
        ({"embedder": HashEmbedder}, "give an instance"),
        ({"embedder": "openai:"}, "embedder"),
        ({"embedder": "openai:small"}, "OPENAI_API_KEY"),
    ],
)
def test_wrong_argument_is_refused_at_construction(
    monkeypatch: pytest.MonkeyPatch, store_url: str, given: dict[str, Any], message: str
) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InvalidRequestError) as caught:
        AsyncMemory(**{"url": store_url, "embedder": "none", "api_key": SECRET} | given)
    assert message in caught.value.message
    assert not [secret for secret in (SECRET, "u:p") if secret in caught.value.message]


# --- the embedder ---


async def test_embedder_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, store_url: str) -> None:
    monkeypatch.setenv("OMP_EMBEDDER", "none")
    async with AsyncMemory(url=store_url) as memory:
        features = (await memory.capabilities()).features
        assert (features.vector_search, features.keyword_search) == (False, True)
    monkeypatch.setenv("OMP_EMBEDDER", "no-such-embedder")
    with pytest.raises(InvalidRequestError, match="no-such-embedder"):
        AsyncMemory(url=store_url)


async def test_capabilities_tell_whether_there_is_an_embedder(store_url: str) -> None:
    async with AsyncMemory(url=store_url, embedder=HashEmbedder()) as memory:
        said = await memory.capabilities()
        assert (said.provider, said.features.vector_search) == ("sqlite", True)
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        assert (await memory.capabilities()).features.vector_search is False
        with pytest.raises(UnsupportedCapabilityError, match="vector"):
            await memory.search("tea", "ann", mode="vector")
        with pytest.raises(UnsupportedCapabilityError, match="reembed needs an embedder: give embedder="):
            await memory.reembed()


@pytest.mark.parametrize("verb", ["add", "add_many", "update", "search", "import_"])
async def test_embedder_that_fails_is_a_provider_error_and_nothing_is_stored(store_url: str, verb: str) -> None:
    class Broken(HashEmbedder):
        def embed(self, texts: Any) -> Any:
            if any("boom" in text for text in texts):
                raise ValueError(SECRET)
            return super().embed(texts)

    async with AsyncMemory(url=store_url, embedder=Broken()) as memory:
        record = await memory.add(content="likes tea", user_id="ann")
        line = (await memory.export("ann")).lines[1].replace("likes tea", "boom").replace(record.id, "mem_2")
        calls: dict[str, Any] = {
            "add": lambda: memory.add(content="boom", user_id="ann"),
            "add_many": lambda: memory.add_many([{"content": "fine"}, {"content": "boom"}], user_id="ann"),
            "update": lambda: memory.update(record.id, content="boom"),
            "search": lambda: memory.search("boom", "ann"),
            "import_": lambda: memory.import_([line]),
        }
        with pytest.raises(ProviderError, match=r"failed: ValueError$") as caught:
            await calls[verb]()
        assert isinstance(caught.value.__cause__, ValueError)
        assert (await memory.list("ann")).items == [record]


async def test_import_tells_what_was_done_after_each_batch(store_url: str) -> None:
    def line(number: int) -> str:
        record = {"id": f"m{number}", "content": "likes tea", "user_id": "ann", "created_at": "2026-01-01T00:00:00Z"}
        return json.dumps({"memory": record})

    seen: list[ImportReport] = []
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        await memory.import_([line(0)])
        report = await memory.import_((line(number) for number in range(700)), on_progress=seen.append)
        assert seen == [ImportReport(imported=499, skipped=1), ImportReport(imported=699, skipped=1)]
        assert report == seen[-1]
        with pytest.raises(InvalidRequestError, match="on_progress"):
            await memory.import_([], on_progress="yes")  # type: ignore[arg-type]


# --- what it shows ---


async def test_app_is_the_identity_in_the_audit_log(store_url: str) -> None:
    for app in ("cli", None):
        async with AsyncMemory(url=store_url, embedder="none", app=app) as memory:
            record = await memory.add(content="likes tea", user_id="ann")
            await memory.search("tea", "ann")
            entries = await memory.audit("ann", limit=2)
            assert [(entry.app, entry.action) for entry in entries] == [(app, "search"), (app, "add")]
            assert entries[1].memory_id == record.id
    async with AsyncMemory(url=store_url, embedder="none", app="other") as memory:
        assert len(await memory.audit("ann", app="cli")) == 2
        assert await memory.audit("ann", app="other") == []


async def test_each_call_has_a_request_id_of_its_own(store_url: str) -> None:
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        await memory.add_many([{"content": "likes tea"}, {"content": "likes milk"}], user_id="ann")
        await memory.search("tea", "ann")
        search, *added = await memory.audit("ann")
        assert search.request_id
        assert search.request_id != added[0].request_id == added[1].request_id


async def test_errors_carry_the_provider_and_the_request_and_can_be_pickled(store_url: str) -> None:
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        seen = []
        for _ in range(2):
            with pytest.raises(NotFoundError) as caught:
                await memory.get("mem_missing")
            seen.append(caught.value)
            copy = pickle.loads(pickle.dumps(caught.value))
            assert (type(copy), copy.to_envelope()) == (NotFoundError, caught.value.to_envelope())
        assert {error.provider for error in seen} == {"sqlite"}
        assert len({error.request_id for error in seen} - {None}) == 2
        assert isinstance(seen[0], OMPError)


async def test_repr_tells_provider_and_state_and_no_secret(store_url: str) -> None:
    memory = AsyncMemory(url=store_url, embedder="none", api_key=SECRET, app="cli")
    seen = [repr(memory)]
    await memory.add(content="likes tea", user_id="ann")
    seen.append(repr(memory))
    await memory.close()
    seen.append(repr(memory))
    name = type(memory).__name__
    assert seen == [f"<{name} provider='sqlite' {state}>" for state in ("unused", "open", "closed")]
