"""The time for which an event loop is held: the processor time of its own thread, callback by callback.

Other work on the machine, in other threads of this process too, does not change it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import pytest
from starlette.types import ASGIApp

from openmem._protocol.json_bodies import parse_object
from tests.doubling import set_garbage_aside

TICK = 0.01
MOST_BETWEEN_TICKS = 0.05  # seconds of the loop's processor time: how long another task waits at most for a turn

callback_of: Callable[[asyncio.Handle], object] = attrgetter("_callback")


async def ask(app: ASGIApp, method: str, address: str, body: bytes = b"") -> int:
    path, _, query = address.partition("?")
    kind = b"application/x-ndjson" if path == "/import" else b"application/json"
    headers = [(b"host", b"localhost"), (b"content-type", kind), (b"content-length", b"%d" % len(body))]
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "root_path": "",
        "headers": headers,
    }
    scope |= {"path": path, "raw_path": path.encode(), "query_string": query.encode()}
    parts = [body[start : start + 16_384] for start in range(0, len(body), 16_384)] or [b""]
    status = 0

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.sleep(0)
        if not parts:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    return status


async def longest_wait(app: ASGIApp, request: asyncio.Future[Any]) -> float:
    """Ask for `/health/live` again and again while a request runs; return the most processor time between two ticks.

    The timer is due every `TICK` and gets its turn as soon as the callback that runs then is done, as any other
    request would.
    """
    longest, began = 0.0, time.thread_time()
    while not request.done():
        assert await ask(app, "GET", "/health/live") == 200
        await asyncio.sleep(TICK)
        now = time.thread_time()
        longest, began = max(longest, now - began), now
    return longest


@contextmanager
def longest_callback(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[float, str]]]:
    """Give a list of the processor times of callbacks of the event loop, with what they ran.

    What earlier tests left in memory is set aside: a collection of garbage would walk over it within some callback.
    """
    times: list[tuple[float, str]] = []
    run, here = asyncio.Handle._run, threading.get_ident()

    def timed(handle: asyncio.Handle) -> object:
        if threading.get_ident() != here:  # a loop of another thread, such as that of a server that is asked
            return run(handle)
        began = time.thread_time()
        try:
            return run(handle)
        finally:
            # Not the text of the handle, which shows results: to make it can take longer than the callback did.
            times.append((time.thread_time() - began, getattr(callback_of(handle), "__qualname__", "a task")))

    set_garbage_aside()
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", timed)
        yield times


def parsing_time() -> float:
    """Return the processor time that parsing 1 MiB of JSON takes here."""
    body = ('{"x-a":[' + ",".join(["{}"] * 330_000) + "]}").encode()
    times = []
    for _ in range(3):
        began = time.thread_time()
        parse_object(body)
        times.append(time.thread_time() - began)
    return min(times)
