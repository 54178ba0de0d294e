"""Hooks of a running server: told by one of its workers, and of the same message again after it was killed."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

from openmem import Memory, ServerStore
from tests.hook_receiver import Receiver
from tests.hostile_peer import Exchange
from tests.server.process import started, until


class Stuck(Receiver):
    """Takes a message and answers none, until it is freed."""

    freed = False

    def _answer(self, exchange: Exchange) -> None:
        if self.freed:
            super()._answer(exchange)
        else:
            self.seen = exchange.request.partition(b"webhook-id: ")[2].partition(b"\r\n")[0].decode()
            exchange.wait()


def hook(store: ServerStore, receiver: Receiver) -> None:
    receiver.secret = store.create_hook(receiver.url, user_id=None).secret


def test_one_of_two_workers_tells_of_each_change_once(tmp_path: Path) -> None:
    url, place = str(tmp_path / "m.db"), str(tmp_path / "m.db-server.db")
    with Receiver() as receiver, ServerStore(place) as store, Memory(url=url, embedder="none") as memory:
        hook(store, receiver)
        with started("--url", url, "--workers", "2", "--allow-private-hooks") as server:
            for number in range(10):
                memory.add(f"{number}", user_id="ann", scope=f"s{number}")
            until(lambda: len(receiver.scopes) >= 10)
            assert server.stop() == 0
            assert "Traceback" not in server.output()
        assert receiver.scopes == [f"s{number}" for number in range(10)]
        # It gave the lease back: another process need not wait for its end.
        assert store.take_hooks("other") is not None


def test_message_on_its_way_when_the_server_is_killed_comes_again(tmp_path: Path) -> None:
    url, place = str(tmp_path / "m.db"), str(tmp_path / "m.db-server.db")
    with Stuck() as receiver, ServerStore(place) as store, Memory(url=url, embedder="none") as memory:
        hook(store, receiver)
        memory.add("a", user_id="ann")
        with started("--url", url, "--allow-private-hooks") as server:
            until(lambda: receiver.requests)
            server.stop(signal.SIGKILL)
        receiver.freed = True
        memory.add("b", user_id="ann")
        later = datetime.now(UTC) + timedelta(minutes=1)
        assert store.take_hooks("other") is None
        for hook_id in store.take_hooks("other", now=later) or ():
            store.deliver_hook(hook_id, memory, holder="other", allow_private=True, now=later)
        assert [message["id"] for message in receiver.got] == [receiver.seen]
        assert receiver.actions == ["add"]


def test_server_sends_nothing_to_a_private_address_unless_it_is_told_to(tmp_path: Path) -> None:
    url, place = str(tmp_path / "m.db"), str(tmp_path / "m.db-server.db")
    with Receiver() as receiver, ServerStore(place) as store, Memory(url=url, embedder="none") as memory:
        hook(store, receiver)
        memory.add("a", user_id="ann")
        with started("--url", url) as server:
            until(lambda: store.list_hooks()[0].failures)
            assert "the host has a private or reserved address" in server.output()
            assert receiver.url not in server.output()
        assert receiver.requests == 0
