"""A TCP proxy that breaks connections on purpose. It runs in a thread of its own, so any test can use it.

    with TcpProxy("127.0.0.1", port) as proxy:
        connect_to(proxy.port)
        proxy.mode = RESET

A mode is in force when the assignment returns. It holds for the connections that exist and for those to come, unless
it says otherwise; `PASS` ends it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

CHUNK = 65_536
WAITING_CHUNKS = 64


@dataclass(frozen=True)
class Mode:
    """The behaviour of the proxy with connections and bytes."""

    name: str
    latency: float = 0.0
    reply_bytes: int | None = None


PASS = Mode("pass")
# Every connection ends at once with a TCP reset.
RESET = Mode("reset")
# Connections stay open but nothing comes through; bytes in transit arrive after PASS, as after a cut cable.
HALF_OPEN = Mode("half-open")
# New connections are taken and never answered, not even after PASS; existing ones go on.
BLACK_HOLE = Mode("black-hole")
# New connections are refused; existing ones go on.
REFUSE = Mode("refuse")


def latency(seconds: float) -> Mode:
    """Deliver every byte this much later, in both directions."""
    return Mode("latency", latency=seconds)


def cut(reply_bytes: int) -> Mode:
    """Close a connection once this many further bytes of replies went through, at 0 before the first of them."""
    return Mode("cut", reply_bytes=reply_bytes)


class TcpProxy:
    """Listens on a free port of 127.0.0.1 and forwards to `host` and `port`. Use as a context manager.

    Attributes:
        port: Where it listens, also in mode REFUSE.
        accepted: How many connections it has taken so far.
        replied: How many bytes of replies have gone through so far.
    """

    def __init__(self, host: str, port: int) -> None:
        # Bound but deaf: it keeps the port without listening.
        self._claim = socket.socket()
        self._claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._claim.bind(("127.0.0.1", 0))
        self.port = int(self._claim.getsockname()[1])
        self.accepted = 0
        self.replied = 0
        self._target = (host, port)
        self._mode = PASS
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()

    def __enter__(self) -> TcpProxy:
        self._thread.start()
        self._do(self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._claim.close()

    @property
    def mode(self) -> Mode:
        """The current behaviour of the proxy."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._do(lambda: self._switch(mode))

    @property
    def open(self) -> int:
        """The number of connections that it holds now."""
        return len(self._links)

    def reset_connections(self) -> None:
        """Reset the connections that exist; new ones are treated as before."""
        self._do(self._reset)

    def _do(self, step: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run a step in the proxy's thread and wait for its end."""
        asyncio.run_coroutine_threadsafe(step(), self._loop).result(10)

    async def _switch(self, mode: Mode) -> None:
        self._mode = mode
        for link in self._links:
            link.obey(mode)
        if mode is RESET:
            await self._reset()
        if mode is REFUSE:
            self._deafen()
        else:
            await self._listen()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, reuse_port=True)

    def _deafen(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _reset(self) -> None:
        for link in [*self._links]:
            link.abort()
        await self._all_gone()

    async def _end(self) -> None:
        self._deafen()
        await self._reset()

    async def _all_gone(self) -> None:
        await asyncio.gather(*(link.gone.wait() for link in self._links))

    def _count(self, size: int) -> None:
        self.replied += size

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = _Link(reader, writer, self._mode, self._count)
        self._links.add(link)
        try:
            await link.run(*self._target)
        finally:
            self._links.discard(link)
            link.gone.set()


class _Link:
    """One client, and the connection to the server that belongs to it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mode: Mode, count: Callable[[int], None]
    ) -> None:
        self._count = count
        self.gone = asyncio.Event()
        self._client = (reader, writer)
        self._writers = [writer]
        self._flows = asyncio.Event()
        self._over = asyncio.Event()
        self.obey(mode)

    def obey(self, mode: Mode) -> None:
        """Apply a mode to what comes through from now on."""
        self._mode = mode
        self._left = mode.reply_bytes
        if mode is HALF_OPEN:
            self._flows.clear()
        else:
            self._flows.set()

    def abort(self) -> None:
        """End both sides with a TCP reset."""
        for writer in self._writers:
            taken: socket.socket | None = writer.get_extra_info("socket")
            if taken is not None and taken.fileno() >= 0:
                # To linger for no time makes closing a reset.
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self._over.set()

    async def run(self, host: str, port: int) -> None:
        """Forward in both directions until both sides are done, or the link is aborted."""
        forwarding = asyncio.create_task(self._forward(host, port))
        ended = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait([forwarding, ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(forwarding, ended)
            for writer in self._writers:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _forward(self, host: str, port: int) -> None:
        client, to_client = self._client
        pumps: list[asyncio.Task[None]] = []
        try:
            if self._mode is RESET:
                return self.abort()
            if self._mode is BLACK_HOLE:
                await client.read()  # says nothing for as long as the client stays
                return None
            await self._flows.wait()
            server, to_server = await asyncio.open_connection(host, port)
            self._writers.append(to_server)
            pumps.append(asyncio.create_task(self._pump(client, to_server, reply=False)))
            pumps.append(asyncio.create_task(self._pump(server, to_client, reply=True)))
            await asyncio.gather(*pumps)
        except OSError:  # one side is gone, or was never there: the other learns it the same way
            self.abort()
        finally:
            await _cancel(*pumps)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, reply: bool) -> None:
        """Forward one direction to its end."""
        arrived: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING_CHUNKS)
        delivery = asyncio.create_task(self._deliver(arrived, writer, reply=reply))
        try:
            data = b"-"
            while data:
                data = await reader.read(CHUNK)
                await arrived.put((_now() + self._mode.latency, data))
            await delivery
        finally:
            await _cancel(delivery)

    async def _deliver(
        self, arrived: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, *, reply: bool
    ) -> None:
        while True:
            due, data = await arrived.get()
            await asyncio.sleep(due - _now())
            await self._flows.wait()
            if not data:
                return writer.write_eof()
            if reply and self._left is not None:
                data, self._left = data[: self._left], max(0, self._left - len(data))
            if reply:
                self._count(len(data))
            writer.write(data)
            if reply and self._left == 0:
                return self._over.set()
            await writer.drain()


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
