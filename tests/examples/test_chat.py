"""The chat example over a real client library and a local service that speaks the chat API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, InternalServerError

from examples import chat
from openmem import AsyncMemory, Memory

ROOT = Path(__file__).resolve().parent.parent.parent


class Service(ThreadingHTTPServer):
    """Answers every chat with how many words it was sent; `asked` holds the bodies."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[Any] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body)
        message = {"role": "assistant", "content": f"answer {len(self.server.asked)}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        reply = {"id": "c1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}
        text = json.dumps(reply).encode()
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[Service]:
    service = Service()
    thread = threading.Thread(target=service.serve_forever)
    thread.start()
    try:
        yield service
    finally:
        service.shutdown()
        thread.join()
        service.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as one:
        yield one


async def test_words_of_a_user_are_in_the_next_prompt_of_that_user_only(service: Service, tmp_path: Path) -> None:
    memory = AsyncMemory(url=str(tmp_path / "a.db"), embedder="none")
    async with memory, AsyncOpenAI(base_url=service.url, api_key="k", max_retries=0) as model:
        assert await chat.answer(model, "m", memory, "ann", "I drink green tea") == "answer 1"
        await chat.answer(model, "m", memory, "ann", "Which tea do I drink?")
        await chat.answer(model, "m", memory, "bob", "Which tea do I drink?")
        (first, second, other) = [asked["messages"] for asked in service.asked]
        assert "I drink green tea" not in first[0]["content"]
        assert "I drink green tea" in second[0]["content"]
        assert "I drink green tea" not in other[0]["content"]
        record = (await memory.list("ann"))[-1]
        assert record.source is not None
        assert (record.source.model_extra, record.scope) == ({"model": "m"}, "chat")


async def test_request_that_fails_leaves_no_memory(service: Service, tmp_path: Path) -> None:
    service.status = 500
    memory = AsyncMemory(url=str(tmp_path / "a.db"), embedder="none")
    async with memory, AsyncOpenAI(base_url=service.url, api_key="k", max_retries=0) as model:
        with pytest.raises(InternalServerError):
            await chat.answer(model, "m", memory, "ann", "I drink green tea")
        assert not await memory.list("ann")


@pytest.mark.timeout(60)  # it starts an interpreter, which loads the client library
def test_program_answers_line_by_line(service: Service, tmp_path: Path) -> None:
    url = str(tmp_path / "a.db")
    environ = {
        **os.environ,
        "OPENAI_BASE_URL": service.url,
        "OPENAI_API_KEY": "k",
        "OMP_URL": url,
        "OMP_EMBEDDER": "none",
    }
    done = subprocess.run(
        [sys.executable, "-m", "examples.chat", "--user", "ann"],
        input="I drink green tea\nWhich tea?\n\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environ,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "answer 1\nanswer 2\n", "")
    with Memory(url=url, embedder="none") as memory:
        assert [record.content for record in memory.list("ann")] == ["Which tea?", "I drink green tea"]
