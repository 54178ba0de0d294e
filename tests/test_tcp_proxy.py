"""The proxy that breaks connections: each of its modes, seen from a client and from the server behind it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.tcp_proxy import BLACK_HOLE, HALF_OPEN, PASS, REFUSE, RESET, TcpProxy, cut, latency

BRIEFLY = 0.15
LONG = 5.0


class EchoServer:
    """Sends back what it gets, and counts it."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> EchoServer:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(LONG)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._echo, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    self.received += data
                    connection.sendall(data)
            except OSError:
                pass
        self.ended.set()


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    with EchoServer() as server:
        yield server


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", echo.port) as proxy:
        yield proxy


def connect(proxy: TcpProxy, timeout: float = LONG) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout)


def connect_and_listen(proxy: TcpProxy) -> bytes:
    """Connect and read; a reset can arrive in either step."""
    with connect(proxy) as client:
        return client.recv(1)


def receive(client: socket.socket, count: int) -> bytes:
    """Return `count` bytes, or fewer if the other side closes before."""
    data = b""
    while len(data) < count and (part := client.recv(count - len(data))):
        data += part
    return data


def ask(client: socket.socket, data: bytes = b"hello") -> bytes:
    client.sendall(data)
    return receive(client, len(data))


def is_silent(client: socket.socket) -> bool:
    client.settimeout(BRIEFLY)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(LONG)
    return False


def test_passing_forwards_a_large_message_both_ways_unchanged(proxy: TcpProxy) -> None:
    data = bytes(range(256)) * 8_000
    with connect(proxy) as client:
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        assert receive(client, len(data)) == data
        sender.join()
    assert proxy.accepted == 1


def test_client_that_ends_its_side_still_gets_the_whole_reply(proxy: TcpProxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        assert receive(client, 100) == b"last words"


def test_client_that_leaves_ends_the_connection_to_the_server(proxy: TcpProxy, echo: EchoServer) -> None:
    with connect(proxy) as client:
        assert ask(client) == b"hello"
        assert proxy.open == 1
    assert echo.ended.wait(LONG)


def test_latency_delays_the_request_and_the_reply(proxy: TcpProxy) -> None:
    with connect(proxy) as client:
        proxy.mode = latency(0.1)
        begin = time.monotonic()
        assert ask(client) == b"hello"
        assert 0.2 <= time.monotonic() - begin < 2


def test_latency_does_not_add_up_over_the_parts_of_a_message(proxy: TcpProxy) -> None:
    proxy.mode = latency(0.2)
    with connect(proxy) as client:
        begin = time.monotonic()
        for _ in range(20):
            client.sendall(b"x" * 1000)
        assert receive(client, 20_000) == b"x" * 20_000
        assert time.monotonic() - begin < 2


def test_reset_ends_an_existing_connection_with_a_reset(proxy: TcpProxy, echo: EchoServer) -> None:
    with connect(proxy) as client:
        assert ask(client) == b"hello"
        proxy.mode = RESET
        assert proxy.open == 0
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert echo.ended.wait(LONG)


def test_reset_ends_a_new_connection_without_asking_the_server(proxy: TcpProxy, echo: EchoServer) -> None:
    proxy.mode = RESET
    with pytest.raises(ConnectionResetError):
        connect_and_listen(proxy)
    assert proxy.accepted == 1
    assert not echo.received


def test_reset_connections_spares_those_to_come(proxy: TcpProxy) -> None:
    with connect(proxy) as first:
        assert ask(first) == b"hello"
        proxy.reset_connections()
        with pytest.raises(ConnectionResetError):
            first.recv(1)
    with connect(proxy) as second:
        assert ask(second) == b"hello"


def test_half_open_keeps_the_connection_and_delivers_nothing_until_it_heals(proxy: TcpProxy, echo: EchoServer) -> None:
    with connect(proxy) as client:
        assert ask(client, b"before") == b"before"
        proxy.mode = HALF_OPEN
        client.sendall(b"during")
        assert is_silent(client)
        assert echo.received == b"before"
        proxy.mode = PASS
        assert receive(client, 6) == b"during"


def test_half_open_takes_a_new_connection_and_stays_silent(proxy: TcpProxy, echo: EchoServer) -> None:
    proxy.mode = HALF_OPEN
    with connect(proxy) as client:
        client.sendall(b"hello")
        assert is_silent(client)
    assert not echo.received


def test_black_hole_swallows_new_connections_and_spares_existing_ones(proxy: TcpProxy) -> None:
    with connect(proxy) as existing:
        assert ask(existing) == b"hello"
        proxy.mode = BLACK_HOLE
        with connect(proxy) as client:
            client.sendall(b"hello")
            assert is_silent(client)
            proxy.mode = PASS
            assert is_silent(client)
        assert ask(existing) == b"hello"


def test_refuse_turns_new_connections_away_and_spares_existing_ones(proxy: TcpProxy) -> None:
    with connect(proxy) as existing:
        assert ask(existing) == b"hello"
        proxy.mode = REFUSE
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        assert ask(existing) == b"hello"
        proxy.mode = PASS
        with connect(proxy) as client:
            assert ask(client) == b"hello"


@pytest.mark.parametrize("count", [1, 3, 4])
def test_cut_ends_the_connection_in_the_middle_of_a_reply(proxy: TcpProxy, count: int) -> None:
    with connect(proxy) as client:
        assert ask(client) == b"hello"
        proxy.mode = cut(count)
        assert ask(client, b"world") == b"world"[:count]
        assert client.recv(1) == b""


def test_cut_at_zero_loses_the_reply_to_a_request_that_was_carried_out(proxy: TcpProxy, echo: EchoServer) -> None:
    proxy.mode = cut(0)
    with connect(proxy) as client:
        assert ask(client) == b""
    assert echo.received == b"hello"


def test_cut_counts_from_zero_for_every_connection(proxy: TcpProxy) -> None:
    proxy.mode = cut(7)
    for _ in range(2):
        with connect(proxy) as client:
            assert ask(client) == b"hello"
            assert ask(client) == b"he"


def test_server_that_is_not_there_resets_the_client() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        with TcpProxy("127.0.0.1", deaf.getsockname()[1]) as proxy, pytest.raises(ConnectionResetError):
            connect_and_listen(proxy)


def test_end_of_the_proxy_ends_its_connections_and_its_port(echo: EchoServer) -> None:
    with TcpProxy("127.0.0.1", echo.port) as proxy:
        client = connect(proxy)
        assert ask(client) == b"hello"
    with client, pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)


async def test_mode_can_be_switched_within_an_event_loop(proxy: TcpProxy) -> None:
    proxy.mode = REFUSE
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
