"""Every verb and every route takes time that grows with what a caller sends, up to its limits and beyond them.

Both tables must be complete: a verb or a route without its line fails.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from openmem import Memory
from openmem._protocol.routes import ROUTES
from openmem.server.runtime.build import build_server
from openmem.server.runtime.settings import ServerSettings
from tests.doubling import Work, assert_linear, of_length

Input = Callable[[Memory, int], Work]

HARD = (
    "a ",
    "ay",
    "\u0300\u0316",
    "\u200d\u0301",
    "👨\u200d👩",
    "did ",
    "1 May 2020 ",
    "<",
    "[INST]",
    "東",
    "'s ",
    "\\u0000",
)
HEADERS = (
    "Authorization",
    "X-API-Key",
    "X-User-Id",
    "X-Request-Id",
    "X-OMP-Timeout",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Content-Type",
    "Accept",
    "Origin",
    "Host",
    "traceparent",
)
VALUES = ("x", " ", '"a",', "W/", "1", ",", ";a=b", "\t", "%41", "-")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(url=tmp_path / "memories.db", embedder="none") as opened:
        opened.add(content="Ann likes tea", user_id="ann", key="first")
        yield opened


def words(count: int) -> str:
    return " ".join(f"w{number:x}" for number in range(count))


def added(memory: Memory, count: int, user_id: str, **fields: Any) -> None:
    items: list[Any] = [{"content": f"tea {n}", **fields} for n in range(count)]
    memory.add_many(items, user_id=user_id)


def on_texts(use: Callable[[Memory, str], object], start: str = "é") -> list[tuple[int, Input]]:
    def of(unit: str) -> Input:
        def prepared(memory: Memory, length: int) -> Work:
            text = of_length(unit, length, start=start)
            return lambda: use(memory, text)

        return prepared

    return [(40_000, of(unit)) for unit in HARD]


def on_count(limit: int, use: Callable[[Memory, int], object]) -> list[tuple[int, Input]]:
    return [(limit, lambda memory, count: lambda: use(memory, count))]


def add(**fields: Callable[[int], Any]) -> Callable[[Memory, int], object]:
    def use(memory: Memory, count: int) -> object:
        return memory.add(
            **({"content": "tea", "user_id": "bob"} | {name: make(count) for name, make in fields.items()})
        )

    return use


def extended(memory: Memory, fields: dict[str, Any]) -> object:
    given: dict[str, Any] = {"content": "tea", "user_id": "bob"}
    return memory.add(**(given | fields))


def lines_of(texts: list[str]) -> list[str]:
    record = {"user_id": "cid", "created_at": "2024-01-01T00:00:00Z"}
    return [json.dumps({"memory": {"id": f"m{n}", "content": text, **record}}) for n, text in enumerate(texts)]


def filled(count: int, use: Callable[[Memory, str], object]) -> list[tuple[int, Input]]:
    """Return work over a user who has so many memories; to store them is not counted."""

    def prepared(memory: Memory, size: int) -> Work:
        user_id = f"user-{size}"
        added(memory, size, user_id, tags=["home"], scope="a/b")
        return lambda: use(memory, user_id)

    return [(count, prepared)]


def moved(memory: Memory, user_id: str) -> object:
    with Memory(url="sqlite:///:memory:", embedder="none") as target:
        return memory.transfer(target, user_id=user_id)


VERBS: dict[str, list[tuple[int, Input]]] = {
    "add": [
        *on_texts(lambda memory, text: memory.add(content=text, user_id="bob")),
        *on_count(20_000, add(content=words)),
        *on_count(40_000, add(user_id=lambda n: "u" * n)),
        *on_count(512, add(scope=lambda n: "a/" * (n // 2 - 1) + "a")),
        *on_count(40_000, add(scope=lambda n: "a/" * n)),
        *on_count(100, add(tags=lambda n: [f"tag {place}" for place in range(n)])),
        *on_count(20_000, add(tags=lambda n: ["t" * n])),
        *on_count(100, add(supersedes=lambda n: [f"m{place}" for place in range(n)])),
        *on_count(40_000, add(key=lambda n: "k" * n)),
        *on_count(40_000, add(valid_from=lambda n: "2" * n)),
        *on_count(2_000, add(source=lambda n: {"ref": "r" * n, "app": "a"})),
        *on_count(200_000, lambda memory, n: extended(memory, {"x-a": "\\u0000" * (n // 6)})),
        *on_count(20_000, lambda memory, n: extended(memory, {"x-a": [{}] * n})),
        *on_count(2_000, lambda memory, n: extended(memory, {f"x-{k}": k for k in range(n)})),
        *on_count(20_000, lambda memory, n: extended(memory, {"x-" + "a" * n: 1})),
    ],
    "add_many": on_count(600, lambda memory, n: added(memory, n, "dan")),
    "get": on_texts(lambda memory, text: memory.get(text)),
    "update": [
        *on_texts(lambda memory, text: memory.update(memory.list("ann").items[0].id, content=text)),
        *on_count(
            100, lambda memory, n: memory.update(memory.list("ann").items[0].id, tags=[f"t{k}" for k in range(n)])
        ),
    ],
    "delete": on_texts(lambda memory, text: memory.delete(text)),
    "delete_all": [
        *filled(600, lambda memory, user_id: memory.delete_all(user_id)),
        *on_texts(lambda memory, text: memory.delete_all("ann", scope=text)),
    ],
    "search": [
        *[(10_000, make) for _, make in on_texts(lambda memory, text: memory.search(text, "ann"))],
        *on_count(100, lambda memory, n: memory.search("tea", "ann", tags=[f"t{k}" for k in range(n)])),
        *filled(600, lambda memory, user_id: memory.search("tea 1", user_id, limit=100)),
    ],
    "context": [
        *[(10_000, make) for _, make in on_texts(lambda memory, text: memory.context(text, "ann"))],
        *filled(100, lambda memory, user_id: memory.context("tea", user_id, token_budget=1_000_000)),
    ],
    "history": on_texts(lambda memory, text: memory.history(text)),
    "audit": on_texts(lambda memory, text: memory.audit("ann", app=text)),
    "scopes": [
        *on_texts(lambda memory, text: memory.scopes("ann", prefix=text)),
        *filled(600, lambda memory, user_id: memory.scopes(user_id, depth=1)),
    ],
    "tags": [
        *on_texts(lambda memory, text: memory.tags("ann", scope=text)),
        *filled(600, lambda memory, user_id: memory.tags(user_id)),
    ],
    "users": [
        *on_texts(lambda memory, text: memory.users(prefix=text)),
        *on_texts(lambda memory, text: memory.users(cursor=text)),
    ],
    "changes": [
        *on_texts(lambda memory, text: memory.changes("ann", cursor=text)),
        *filled(600, lambda memory, user_id: memory.changes(user_id, limit=1_000)),
    ],
    "list": [
        *on_texts(lambda memory, text: memory.list("ann", cursor=text)),
        *filled(600, lambda memory, user_id: memory.list(user_id, scope="a/*", limit=500)),
    ],
    "iterate": filled(600, lambda memory, user_id: sum(1 for _ in memory.iterate(user_id))),
    "export": [
        *on_texts(lambda memory, text: memory.export("ann", cursor=text)),
        *filled(600, lambda memory, user_id: memory.export(user_id, limit=500)),
    ],
    "import_": [
        *on_texts(lambda memory, text: memory.import_(lines_of([text]), conflict="overwrite")),
        *on_texts(lambda memory, text: memory.import_([text])),
        *on_count(400, lambda memory, n: memory.import_(lines_of(["tea"] * n), conflict="duplicate")),
        *on_count(400_000, lambda memory, n: memory.import_([" " * n + lines_of(["tea"])[0]])),
    ],
    "transfer": filled(300, moved),
    "wait_for_ingest": on_count(4_000, lambda memory, n: memory.wait_for_ingest([f"m{k}" for k in range(n)], "ann")),
}
WITHOUT_INPUT = {"capabilities", "health", "reembed", "maintain", "close", "acting", "for_caller"}


def test_every_verb_has_its_line() -> None:
    public = {name for name in dir(Memory) if not name.startswith("_") and callable(getattr(Memory, name))}
    assert public - WITHOUT_INPUT <= set(VERBS), "give the new verb its inputs"


@pytest.mark.parametrize(
    ("verb", "place"), [(verb, place) for verb, inputs in VERBS.items() for place in range(0, len(inputs), 6)]
)
def test_time_of_a_verb_grows_with_its_input(memory: Memory, verb: str, place: int) -> None:
    for limit, make in VERBS[verb][place : place + 6]:
        assert_linear(lambda size, make=make: make(memory, size), limit)  # type: ignore[misc]


def bodies(length: int) -> list[bytes]:
    """Return bodies of a length: kinds of JSON that parsers and checks could take long over."""
    return [
        b'{"content":"' + b"tea " * (length // 4) + b'"}',
        b'{"query":"' + b"\\u0300\\u0316" * (length // 12) + b'"}',
        b'{"x-a":[' + b"{}," * (length // 3) + b"{}]}",
        b"{" + b",".join(b'"x-%x":0' % n for n in range(length // 10)) + b"}",
        b"[" * length,
        b" " * length,
        b'{"x-a":' + b"9" * length + b"}",
        b'{"items":[' + b",".join([b'{"content":"tea"}'] * (length // 18)) + b"]}",
        b'{"ids":[' + b",".join(b'"%x"' % n for n in range(length // 8)) + b"]}",
        b"\n" * length,
    ]


class Caller:
    """Sends requests to the whole server in this process."""

    def __init__(self, folder: Path) -> None:
        self._app = build_server(ServerSettings(url=f"sqlite:///{folder / 'served.db'}", embedder="none"))
        self._runner = asyncio.Runner()
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://127.0.0.1:8080")
        self._runner.run(self._start())

    async def _start(self) -> None:
        self._told: asyncio.Queue[Any] = asyncio.Queue()
        self._heard: asyncio.Queue[Any] = asyncio.Queue()
        lifespan = self._app({"type": "lifespan", "state": {}}, self._told.get, self._heard.put)
        self._task = asyncio.ensure_future(lifespan)
        await self._told.put({"type": "lifespan.startup"})
        assert (await self._heard.get())["type"] == "lifespan.startup.complete"
        stored = await self._client.post("/memories", json={"content": "Ann likes tea", "user_id": "ann"})
        self.known = str(stored.json()["id"])

    async def _stop(self) -> None:
        await self._client.aclose()
        await self._told.put({"type": "lifespan.shutdown"})
        await self._task

    def __call__(self, method: str, path: str, **given: Any) -> Work:
        request = self._client.build_request(method, path, **given)

        async def send() -> None:
            await self._client.send(request)

        return lambda: self._runner.run(send())

    def close(self) -> None:
        """Stop the server."""
        self._runner.run(self._stop())
        self._runner.close()


PARAMETERS = (
    "user_id",
    "q",
    "query",
    "scope",
    "tags",
    "cursor",
    "limit",
    "as_of",
    "since",
    "app",
    "min_score",
    "unknown",
)
EVERY_ROUTE = [(method, path) for path, verbs in ROUTES.items() for method in verbs]


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """One server for all: what is sent is refused, so that nothing gathers in it."""
    made = Caller(tmp_path_factory.mktemp("caller"))
    yield made
    made.close()


def repeated(value: str) -> Callable[[int], str]:
    return lambda length: "x" + of_length(value, length - 2, start="") + "x"


@pytest.mark.parametrize(("method", "path"), EVERY_ROUTE)
def test_time_of_a_route_grows_with_headers_and_address(caller: Caller, method: str, path: str) -> None:
    plain = path.replace("{id}", caller.known)

    def with_header(name: str, text: Callable[[int], str]) -> Callable[[int], Work]:
        return lambda length: caller(method, plain, headers={name: text(length)})

    def with_parameter(name: str, text: Callable[[int], str]) -> Callable[[int], Work]:
        return lambda length: caller(method, plain, params={name: text(length)})

    for value in VALUES if path in ("/memories", "/memories/{id}") else VALUES[:3]:
        for name in HEADERS:
            assert_linear(with_header(name, repeated(value)), 15_000)
        for name in PARAMETERS:
            assert_linear(with_parameter(name, repeated(value)), 15_000)
        if "{id}" in path:
            made = repeated(quote(value))
            assert_linear(lambda n, made=made: caller(method, path.replace("{id}", made(n))), 15_000)  # type: ignore[misc]


@pytest.mark.parametrize("kind", range(len(bodies(100))))
@pytest.mark.parametrize(("method", "path"), [one for one in EVERY_ROUTE if ROUTES[one[1]][one[0]].body != "none"])
def test_time_of_a_route_grows_with_its_body(caller: Caller, method: str, path: str, kind: int) -> None:
    plain = path.replace("{id}", caller.known)
    headers = {"Content-Type": "application/json" if ROUTES[path][method].body == "json" else "application/x-ndjson"}
    assert_linear(lambda n: caller(method, plain, content=bodies(n)[kind], headers=headers), 400_000)
