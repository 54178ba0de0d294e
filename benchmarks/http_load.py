"""Load over HTTP/1.1: each client keeps one connection and sends its next request when the last one was answered.

Written on bare sockets, since an HTTP library in the same process would cost more than the servers that are measured.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.measure import Timing

_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request; a body makes it a POST."""

    path: str
    body: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """The result of a load: seconds of each request, and of all of them together."""

    timing: Timing
    seconds: float

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return len(self.timing.samples) / self.seconds

    def tail(self) -> float:
        """Return the seconds within which 99 of 100 requests were answered."""
        ordered = sorted(self.timing.samples)
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]


async def send_load(port: int, headers: Mapping[str, str], clients: int, count: int, ask: Callable[[int], Ask]) -> Load:
    """Send `count` requests from some clients at once.

    Args:
        port: Where the server listens on 127.0.0.1.
        headers: Sent with every request.
        clients: How many connections.
        count: How many requests in all.
        ask: Makes the request of a number.

    Raises:
        RuntimeError: The server answered with an error.
    """
    numbers = iter(range(count))
    samples: list[float] = []
    start = time.perf_counter()
    await asyncio.gather(*(_client(port, headers, numbers, ask, samples) for _ in range(clients)))
    return Load(Timing(tuple(samples)), time.perf_counter() - start)


async def _client(
    port: int, headers: Mapping[str, str], numbers: object, ask: Callable[[int], Ask], samples: list[float]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for number in numbers:  # type: ignore[attr-defined]
            message = encode(ask(number), headers)
            start = time.perf_counter()
            writer.write(message)
            await _answer(reader)
            samples.append(time.perf_counter() - start)
    finally:
        writer.close()
        await writer.wait_closed()


def encode(ask: Ask, headers: Mapping[str, str]) -> bytes:
    """Return a request as it goes over the wire."""
    body = b"" if ask.body is None else json.dumps(ask.body).encode()
    lines = [f"{'GET' if ask.body is None else 'POST'} {ask.path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if ask.body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + _END + body


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(_END)
    lines = head.decode("latin-1").lower().split("\r\n")
    length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
    body = await reader.readexactly(length)
    if not lines[0].startswith("http/1.1 2"):
        raise RuntimeError(f"the server answered {lines[0]}: {body[:200]!r}")
