"""However the line to the server breaks: the promised error in bounded time, and the next call works."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from openmem import AsyncMemory, DeadlineExceededError, OMPError
from openmem.errors import ProviderUnavailableError
from openmem.testing import HashEmbedder
from tests.postgres_observer import Observer, until
from tests.promised_errors import SECRET, fails, with_secret
from tests.tcp_proxy import BLACK_HOLE, HALF_OPEN, PASS, REFUSE, RESET, Mode, TcpProxy, cut, latency

AT_ONCE = 1.0
DEADLINE = 0.3
STEP = 9  # bytes
# Past its deadline a call may still try to end on the server what it began there.
SOON_AFTER = DEADLINE + 1.5


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[TcpProxy]:
    """The proxy between the memory and the server."""
    parts = urlsplit(postgres_url)
    with TcpProxy(parts.hostname or "127.0.0.1", parts.port or 5432) as proxy:
        yield proxy


@pytest.fixture
async def memory(postgres_url: str, proxy: TcpProxy, caplog: pytest.LogCaptureFixture) -> AsyncIterator[AsyncMemory]:
    """A memory with a note of ann's, and one connection that is open and at rest."""
    caplog.set_level(logging.DEBUG)
    url = with_secret(postgres_url, port=proxy.port) + "?connect_timeout=1"
    async with AsyncMemory("postgres", url=url, embedder=HashEmbedder(16)) as memory:
        await memory.add(content="likes tea", user_id="ann")
        yield memory
    assert SECRET not in caplog.text
    assert SECRET not in repr(memory)


@pytest.fixture
def observer(postgres_url: str, memory: AsyncMemory) -> Observer:
    """Looks on past the proxy."""
    return Observer(postgres_url)


async def contents(memory: AsyncMemory, user_id: str = "ann") -> list[str]:
    return sorted(record.content for record in (await memory.list(user_id)).items)


async def use(memory: AsyncMemory, **more: Any) -> list[str]:
    """Write something and read it again; return what was found."""
    await memory.add(content="likes coffee", user_id="ann", key="drink", **more)
    return [result.memory.content for result in await memory.search("coffee", "ann", limit=1, **more)]


async def test_slow_line_makes_calls_slow_and_breaks_nothing(memory: AsyncMemory, proxy: TcpProxy) -> None:
    proxy.mode = latency(0.02)
    started = time.monotonic()
    assert await use(memory) == ["likes coffee"]
    assert time.monotonic() - started > 0.08
    with fails(DeadlineExceededError, within=SOON_AFTER):
        await memory.search("tea", "ann", timeout=0.02)
    assert await use(memory) == ["likes coffee"]


async def test_connections_that_were_reset_at_rest_are_not_used(memory: AsyncMemory, proxy: TcpProxy) -> None:
    proxy.reset_connections()
    assert await use(memory) == ["likes coffee"]
    proxy.reset_connections()
    assert await contents(memory) == ["likes coffee", "likes tea"]


@pytest.mark.parametrize("mode", [RESET, REFUSE], ids=lambda mode: mode.name)
async def test_server_that_refuses_is_unavailable_at_once(memory: AsyncMemory, proxy: TcpProxy, mode: Mode) -> None:
    proxy.mode = mode
    proxy.reset_connections()
    for _ in range(3):
        with fails(ProviderUnavailableError, "database server", within=AT_ONCE):
            await memory.search("tea", "ann")
        with fails(ProviderUnavailableError, "database server", within=AT_ONCE):
            await memory.add(content="lost", user_id="ann")
    proxy.mode = PASS
    assert await use(memory) == ["likes coffee"]
    assert await contents(memory) == ["likes coffee", "likes tea"]


async def test_read_whose_connection_is_reset_is_done_on_another(
    memory: AsyncMemory, proxy: TcpProxy, observer: Observer
) -> None:
    with observer.interfere(proxy.reset_connections):
        found = await memory.search("tea", "ann")
    assert [result.memory.content for result in found] == ["likes tea"]
    searches = [entry for entry in await memory.audit("ann") if entry.action == "search"]
    assert len(searches) == 1


async def test_write_whose_connection_is_reset_is_not_done_twice(
    memory: AsyncMemory, proxy: TcpProxy, observer: Observer
) -> None:
    before = proxy.accepted
    with observer.interfere(proxy.reset_connections), fails(ProviderUnavailableError, "lost", within=AT_ONCE):
        await memory.add(content="likes coffee", user_id="ann")
    assert proxy.accepted == before
    until(lambda: not observer.held())  # the server did not know that no client waits for its answer
    assert (await contents(memory)).count("likes coffee") <= 1
    assert await use(memory) == ["likes coffee"]


@pytest.mark.parametrize("mode", [HALF_OPEN, BLACK_HOLE], ids=lambda mode: mode.name)
async def test_silent_line_costs_no_more_than_the_deadline(memory: AsyncMemory, proxy: TcpProxy, mode: Mode) -> None:
    if mode is BLACK_HOLE:
        proxy.reset_connections()  # it is for new ones
    proxy.mode = mode
    with fails(DeadlineExceededError, within=SOON_AFTER):
        await memory.search("tea", "ann", timeout=DEADLINE)
    with fails(DeadlineExceededError, within=SOON_AFTER):
        await memory.add(content="likes milk", user_id="ann", key="milk", timeout=DEADLINE)
    proxy.mode = PASS
    assert await use(memory) == ["likes coffee"]
    # What was under way may have arrived all the same: added again by its key it is there once.
    await memory.add(content="likes milk", user_id="ann", key="milk")
    assert await contents(memory) == ["likes coffee", "likes milk", "likes tea"]


async def test_silent_server_is_unavailable_after_the_time_to_connect(memory: AsyncMemory, proxy: TcpProxy) -> None:
    proxy.reset_connections()
    proxy.mode = BLACK_HOLE
    with fails(ProviderUnavailableError, "did not accept a connection within 1 s", within=1.0 + AT_ONCE):
        await memory.search("tea", "ann")
    proxy.mode = PASS
    assert await use(memory) == ["likes coffee"]


async def cut_write(memory: AsyncMemory, proxy: TcpProxy, reply_bytes: int, **more: Any) -> bool:
    """Add a memory while the replies end after so many bytes; return whether that succeeded."""
    proxy.mode = cut(reply_bytes)
    try:
        await memory.add(content=f"note {reply_bytes}", user_id="bob", **more)
    except OMPError as error:
        with fails(ProviderUnavailableError, "database server", within=AT_ONCE):
            raise error
        return False
    finally:
        proxy.mode = PASS
    return True


async def test_write_that_is_tried_again_is_there_once_wherever_its_reply_was_cut(
    memory: AsyncMemory, proxy: TcpProxy
) -> None:
    await memory.add(content="note", user_id="bob", key="warm")
    sent, expected = 0, ["note"]
    while not await cut_write(memory, proxy, sent, key=f"key {sent}"):
        await memory.add(content=f"note {sent}", user_id="bob", key=f"key {sent}")
        expected.append(f"note {sent}")
        sent += STEP
    assert len(expected) > 10
    assert await contents(memory, "bob") == sorted([*expected, f"note {sent}"])


async def test_write_without_a_key_is_never_doubled_wherever_its_reply_was_cut(
    memory: AsyncMemory, proxy: TcpProxy
) -> None:
    await memory.add(content="note", user_id="bob")
    sent = 0
    while not await cut_write(memory, proxy, sent):
        assert await contents(memory, "bob") == sorted({*await contents(memory, "bob")})
        sent += STEP
    found = await contents(memory, "bob")
    assert found == sorted({*found})
    assert len(found) > 2  # some were stored, and the reply that says so was lost


async def test_read_whose_reply_is_cut_is_unavailable_and_the_next_one_works(
    memory: AsyncMemory, proxy: TcpProxy
) -> None:
    for reply_bytes in (0, 1, 30, 100):
        proxy.mode = cut(reply_bytes)
        with fails(ProviderUnavailableError, "database server", within=AT_ONCE):
            await memory.list("ann")
        proxy.mode = PASS
        assert await contents(memory) == ["likes tea"]
