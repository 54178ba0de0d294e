"""Endpoints that take so many tokens of a text and so many texts at once: nothing that is stored waits for them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, InvalidRequestError
from openmem._embedding.choices import OpenAIEmbedder

DIM = 8
TEXTS = {
    "chinese": "记忆" * 4_000,
    "japanese": "おぼえる" * 2_000,
    "korean": "기억하다" * 2_000,
    "tamil": "நினைவு" * 1_500,
    "emoji": "👩‍🚀🫠" * 1_600,
    "ascii noise": "x9$ " * 2_000,
    "english": "likes tea " * 3_000,
}


class Endpoint:
    """`POST /embeddings` as OpenAI describes it, with limits: a byte is a token, so no model counts more.

    Attributes:
        most_tokens: Tokens of one text.
        most_texts: Texts of one request.
        most_tokens_at_once: Tokens of one request.
        refusal: Status of a refusal, and what it says.
        sizes: How many texts each request had.
    """

    def __init__(self) -> None:
        self.most_tokens, self.most_texts, self.most_tokens_at_once = 8_192, 2_048, 300_000
        self.refusal = (400, "This model's maximum context length is 8192 tokens")
        self.sizes: list[int] = []
        self.wrong: list[str] = []
        handler = type("Handler", (_Handler,), {"endpoint": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, body: Any) -> tuple[int, Any]:
        """Return status and body."""
        texts = body.get("input")
        fitting = isinstance(texts, list) and texts and all(isinstance(text, str) and text for text in texts)
        if not fitting or set(body) - {"model", "input", "encoding_format", "dimensions", "user"}:
            self.wrong.append(json.dumps(body)[:200])
            return 400, {"error": {"message": "'$.input' is invalid", "type": "invalid_request_error", "code": None}}
        self.sizes.append(len(texts))
        tokens = [len(text.encode()) for text in texts]
        if max(tokens) > self.most_tokens or len(texts) > self.most_texts or sum(tokens) > self.most_tokens_at_once:
            status, message = self.refusal
            error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
            return status, {"error": error}
        data = [{"object": "embedding", "index": i, "embedding": vector_of(text)} for i, text in enumerate(texts)]
        return 200, {"object": "list", "data": data, "model": body["model"], "usage": {"prompt_tokens": sum(tokens)}}


def vector_of(text: str) -> list[float]:
    return [byte / 16.0 - 8.0 for byte in hashlib.sha256(text.encode()).digest()[:DIM]]


class _Handler(BaseHTTPRequestHandler):
    endpoint: Endpoint
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the body would wait for word of the head, 40 ms in each request

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status, reply = self.endpoint.answer(body)
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()
    assert endpoint.wrong == []


def connect(path: Path, endpoint: Endpoint, **options: Any) -> AsyncMemory:
    embedder = OpenAIEmbedder("m", base_url=endpoint.url, api_key="k", **options)
    return AsyncMemory(url=str(path / "m.db"), embedder=embedder)


def is_cut(record: Any) -> bool:
    own = (record.model_extra or {}).get("x-openmem") or {}
    return own.get("embedding_truncated") is True


@pytest.mark.parametrize("name", TEXTS)
async def test_text_of_any_script_fits_at_the_first_request(endpoint: Endpoint, tmp_path: Path, name: str) -> None:
    async with connect(tmp_path, endpoint) as memory:
        record = await memory.add(content=TEXTS[name], user_id="ann")
        assert endpoint.sizes == [1]
        assert record.content == TEXTS[name]
        assert is_cut(record) == (len(TEXTS[name].encode()) > 8_000)
        assert is_cut(await memory.get(record.id)) == is_cut(record)
        assert not is_cut(await memory.add(content="likes tea", user_id="ann"))


REFUSALS = [
    (400, "This model's maximum context length is 512 tokens, however you requested more"),
    (413, "Payload Too Large"),
    (422, "Input validation error: `inputs` must have less than 512 tokens"),
    (400, "Range of input length should be [1, 512]"),
    (400, "batch size is invalid, it should not be larger than 10"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=range(len(REFUSALS)))
async def test_smaller_limits_are_found_out_and_no_text_stops_the_others(
    endpoint: Endpoint, tmp_path: Path, refusal: tuple[int, str]
) -> None:
    endpoint.most_tokens, endpoint.most_texts, endpoint.refusal = 512, 10, refusal
    items: list[Any] = [{"content": f"likes tea {number}", "user_id": "ann"} for number in range(60)]
    items[7]["content"] = TEXTS["tamil"]
    async with connect(tmp_path, endpoint) as memory:
        records = await memory.add_many(items)
        assert [record.content for record in records] == [item["content"] for item in items]
        assert [position for position, record in enumerate(records) if is_cut(record)] == [7]
        found = await memory.search("likes tea 59", "ann", mode="vector", limit=1)
        assert found[0].memory.id == records[59].id
        endpoint.sizes.clear()
        await memory.add_many(items[8:28])
        assert len(endpoint.sizes) <= 5, "how many it takes is remembered"


async def test_request_of_too_many_tokens_is_parted(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.most_tokens_at_once = 2_000
    async with connect(tmp_path, endpoint) as memory:
        await memory.add_many([{"content": f"{number} likes tea " * 50, "user_id": "ann"} for number in range(20)])
        assert len(await memory.search("tea", "ann", mode="vector", limit=50)) == 20


async def test_import_and_reembed_go_through(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.most_tokens = 512
    path = tmp_path / "words"
    path.mkdir()
    async with AsyncMemory(url=str(path / "m.db"), embedder="none") as words:
        for text in TEXTS.values():
            await words.add(content=text, user_id="ann")
        lines = (await words.export()).lines
    async with connect(path, endpoint) as memory:
        report = await memory.reembed()
        assert (report.done, report.total) == (len(TEXTS), len(TEXTS))
    async with connect(tmp_path, endpoint) as memory:
        assert (await memory.import_(lines)).imported == len(TEXTS)
        records = (await memory.list("ann")).items
        assert sum(map(is_cut, records)) == len(TEXTS)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else str(tmp_path / "m.db")


def connect_to(url: str, endpoint: Endpoint, model: str = "m") -> AsyncMemory:
    return AsyncMemory(url=url, embedder=OpenAIEmbedder(model, base_url=endpoint.url, api_key="k"))


async def test_update_sets_and_clears_the_mark(endpoint: Endpoint, url: str) -> None:
    async with connect_to(url, endpoint) as memory:
        record = await memory.add(content="likes tea", user_id="ann", extra={"x-a": 1, "x-openmem": {"id": "old"}})
        for content in (TEXTS["tamil"], TEXTS["korean"], "likes tea", TEXTS["emoji"], "likes coffee"):
            changed = await memory.update(record.id, content=content)
            assert is_cut(changed) == (len(content) > 20)
            assert await memory.get(record.id) == changed
            assert (changed.model_extra or {})["x-a"] == 1
            assert (changed.model_extra or {})["x-openmem"]["id"] == "old"
        plain = await memory.add(content=TEXTS["tamil"], user_id="ann")
        assert is_cut(await memory.update(plain.id, tags=["drink"]))
        assert (await memory.update(plain.id, content="likes tea")).model_extra == {}
        again = await memory.add(content=TEXTS["tamil"], user_id="ann", key="k")
        assert is_cut(again)
        assert not is_cut(await memory.add(content="likes tea", user_id="ann", key="k"))


async def test_update_without_an_embedder_clears_the_mark(endpoint: Endpoint, url: str) -> None:
    async with connect_to(url, endpoint) as memory:
        record = await memory.add(content=TEXTS["tamil"], user_id="ann")
    async with AsyncMemory(url=url, embedder="none") as words:
        assert not is_cut(await words.update(record.id, content=TEXTS["korean"]))


async def test_reembed_sets_and_clears_the_mark(endpoint: Endpoint, url: str) -> None:
    own = {"x-a": 10**15, "x-openmem": {"id": "old"}}
    contents = [*TEXTS.values(), "likes tea"]
    async with AsyncMemory(url=url, embedder="none") as words:
        for content in contents:
            await words.add(content=content, user_id="ann")
            await words.add(content=content, user_id="bob", extra=own)
        before = {(one.user_id, one.content): one for user in ("ann", "bob") for one in await words.list(user)}
    for model, most in (("m", 512), ("wide", 100_000), ("narrow", 512)):
        endpoint.most_tokens = most
        embedder = OpenAIEmbedder(model, base_url=endpoint.url, api_key="k", max_text_tokens=most, max_text_chars=most)
        async with AsyncMemory(url=url, embedder=embedder) as memory:
            assert (await memory.reembed()).done == 2 * len(contents)
            for user in ("ann", "bob"):
                for record in await memory.list(user):
                    assert is_cut(record) == (len(record.content.encode()) > most), (model, record.content[:9])
                    former = before[user, record.content]
                    assert (record.version, record.updated_at) == (former.version, former.updated_at)
                    rest = {name: value for name, value in (record.model_extra or {}).items() if name != "x-openmem"}
                    assert rest == ({"x-a": 10**15} if user == "bob" else {})
                    if user == "bob":
                        assert (record.model_extra or {})["x-openmem"]["id"] == "old"
                    elif not is_cut(record):
                        assert record.model_extra == {}


@pytest.mark.parametrize("way", ["cut at the source", "cut at the target"])
async def test_transfer_says_of_the_new_vector_whether_the_text_was_cut(
    endpoint: Endpoint, url: str, tmp_path: Path, way: str
) -> None:
    cutting = connect_to(str(tmp_path / "cut.db") if way == "cut at the source" else url, endpoint)
    words = AsyncMemory(url=url if way == "cut at the source" else str(tmp_path / "words.db"), embedder="none")
    source, target = (cutting, words) if way == "cut at the source" else (words, cutting)
    async with source, target:
        record = await source.add(content=TEXTS["tamil"], user_id="ann")
        assert is_cut(record) == (source is cutting)
        report = await source.transfer(target)
        assert report.complete
        moved = await target.get(record.id)
        assert is_cut(moved) == (target is cutting)
        assert (moved.model_extra or {})["x-openmem"]["id"] == record.id
        assert (await source.transfer(target)).complete


async def test_refusal_for_another_reason_is_raised_at_once(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.most_tokens, endpoint.refusal = 1, (400, "the model `m` does not exist")
    async with connect(tmp_path, endpoint) as memory:
        with pytest.raises(InvalidRequestError, match="does not exist"):
            await memory.add_many([{"content": f"likes tea {number}", "user_id": "ann"} for number in range(60)])
        assert len(endpoint.sizes) == 1


async def test_short_text_that_is_refused_is_not_cut_to_nothing(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.most_tokens = 1
    async with connect(tmp_path, endpoint) as memory:
        with pytest.raises(InvalidRequestError):
            await memory.add(content=TEXTS["english"], user_id="ann")
        assert len(endpoint.sizes) <= 8
