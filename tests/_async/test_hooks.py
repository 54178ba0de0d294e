"""Hooks: told of each change in order and at least once, whatever a receiver does, by the holder of the lease only."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, AsyncServerStore, InvalidRequestError, MemoryItem, NotFoundError
from openmem._protocol.webhooks import MAX_ATTEMPTS
from openmem.server import NewHook
from openmem.types import UTC
from tests.hook_receiver import Receiver
from tests.hostile_peer import Exchange, HostilePeer

HOLDER = "one"
HOUR = timedelta(hours=5)


class World:
    """Memories, a store and a hook, and a clock that the test moves."""

    def __init__(self, memory: AsyncMemory, store: AsyncServerStore) -> None:
        self.memory, self.store = memory, store
        self.now = datetime.now(UTC)

    async def hook(self, receiver: HostilePeer, **given: Any) -> NewHook:
        made = await self.store.create_hook(f"{receiver.url}/x?y=1", **{"user_id": "ann", **given})
        self.now = made.info.created_at
        if isinstance(receiver, Receiver):
            receiver.secret = made.secret
        return made

    async def deliver(self, holder: str = HOLDER, **given: Any) -> list[str]:
        """Deliver until there is nothing to do at once; return the troubles."""
        troubles = []
        for id in await self.store.take_hooks(holder, now=self.now) or ():
            more = True
            while more:
                more, trouble = await self.store.deliver_hook(
                    id, self.memory, holder=holder, now=self.now, **{"allow_private": True, **given}
                )
                troubles += [trouble] if trouble else []
        return troubles


@pytest.fixture
def memory_path(tmp_path: Path) -> str:
    return str(tmp_path / "memories.db")


@contextmanager
def looked_up(*answers: list[str]) -> Iterator[list[str]]:
    """Have the system answer look-ups of one name with these addresses, one answer after the other."""
    asked: list[str] = []
    own, left = socket.getaddrinfo, [*answers]

    def look_up(host: Any, *args: Any, **more: Any) -> Any:
        if host != "hooks.example":
            return own(host, *args, **more)
        asked.append(host)
        return [found for address in left.pop(0) for found in own(address, *args, **more)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        yield asked


async def test_hook_is_told_of_each_change_once_in_order(server_store_url_: str, memory_path: str) -> None:
    async with (
        AsyncServerStore(server_store_url_) as store,
        AsyncMemory(url=memory_path, embedder="none", app="bot") as memory,
    ):
        world = World(memory, store)
        await memory.add("before the hook", user_id="ann")
        with Receiver() as receiver:
            made = await world.hook(receiver)
            tea = await memory.add("tea", user_id="ann", scope="food")
            await memory.update(tea.id, content="green tea", user_id="ann")
            await memory.add("not hers", user_id="bob")
            assert await world.deliver() == []
            await memory.delete(tea.id, user_id="ann")
            assert await world.deliver() == await world.deliver() == []
            assert (receiver.actions, receiver.forged) == (["add", "update", "delete"], 0)
            assert [len(message["changes"]) for message in receiver.got] == [2, 1]
            assert {change["memory_id"] for message in receiver.got for change in message["changes"]} == {tea.id}
            assert all("content" not in change and "memory" not in change for change in receiver.got[0]["changes"])
            assert [head["webhook-id"] for head in receiver.heads] == [one["id"] for one in receiver.got]
            assert (await store.list_hooks())[0].failures == 0
            await store.remove_hook(made.info.id)
            await memory.add("after the hook", user_id="ann")
            await world.deliver()
            assert len(receiver.got) == 2
        with pytest.raises(NotFoundError):
            await store.remove_hook(made.info.id)


async def test_filters_and_content_hold(memory_path: str, tmp_path: Path) -> None:
    async with (
        AsyncServerStore(str(tmp_path / "s.db")) as store,
        AsyncMemory(url=memory_path, embedder="none") as memory,
    ):
        world = World(memory, store)
        with Receiver() as receiver:
            await world.hook(receiver, user_id=None, scope="food/*", events=["add", "delete_all"], content=True)
            tea = await memory.add("tea", user_id="ann", scope="food")
            moved = await memory.add("secret", user_id="ann", scope="food/x")
            gone = await memory.add("gone", user_id="bob", scope="food/y")
            await memory.add("other", user_id="ann", scope="work")
            await memory.add("none", user_id="ann")
            await memory.update(tea.id, content="green tea", user_id="ann")
            await memory.update(moved.id, scope="private", user_id="ann")
            await memory.delete(gone.id, user_id="bob")
            await memory.delete_all(user_id="bob", scope="work")
            await memory.delete_all(user_id="bob")
            await world.deliver()
            changes = [change for message in receiver.got for change in message["changes"]]
            contents = {one["memory_id"]: (one["memory"] or {}).get("content") for one in changes if "memory" in one}
            assert contents.get(tea.id) == "green tea"
            assert contents[moved.id] is None
            assert [one.get("scope") for one in changes if one["action"] == "delete_all"] == [None]
            assert {one["action"] for one in changes} == {"add", "delete_all"}


async def test_failed_message_is_tried_again_as_it_was_and_nothing_overtakes_it(
    server_store_url_: str, memory_path: str
) -> None:
    async with AsyncServerStore(server_store_url_) as store, AsyncMemory(url=memory_path, embedder="none") as memory:
        world = World(memory, store)
        with Receiver(500, 302) as receiver:
            await world.hook(receiver)
            await memory.add("a", user_id="ann")
            assert await world.deliver() == ["the receiver answered 500"]
            # So many that the index takes them in, with which cursors of earlier changes differ.
            await memory.add_many([{"content": f"{number}"} for number in range(70)], user_id="ann")
            await memory.search("69", user_id="ann")
            assert await world.deliver() == []  # it is too early
            world.now += timedelta(seconds=6)
            assert await world.deliver() == ["the receiver answered 302"]
            [info] = await store.list_hooks()
            assert (info.failures, info.last_error) == (2, "the receiver answered 302")
            world.now += HOUR
            assert await world.deliver() == []
            assert receiver.requests == 4
            ids = [message["id"] for message in receiver.got]
            assert ids[0] == ids[1] == ids[2] != ids[3]
            assert [len(message["changes"]) for message in receiver.got] == [1, 1, 1, 70]
            [info] = await store.list_hooks()
            assert (info.failures, info.last_error) == (0, None)


async def test_message_that_was_taken_before_a_crash_comes_again_with_its_id(
    server_store_url_: str, memory_path: str
) -> None:
    """The place in the feed moves only after a success: a process that ends in between sends the same message."""
    async with AsyncServerStore(server_store_url_) as store, AsyncMemory(url=memory_path, embedder="none") as memory:
        world = World(memory, store)
        with Receiver() as receiver:
            await world.hook(receiver, user_id=None)
            await memory.add("a", user_id="ann")

            class Killed(BaseException):
                pass

            def die(make: Any, *args: Any, **more: Any) -> Any:
                if make.__name__ == "taken":
                    raise Killed
                return write(make, *args, **more)

            write = store._write
            store._write = die  # type: ignore[method-assign]
            with pytest.raises(Killed):
                await world.deliver()
            store._write = write  # type: ignore[method-assign]
            await memory.add("b", user_id="ann")
            world.now += timedelta(minutes=2)
            await world.deliver("two")
            assert receiver.got[0] == receiver.got[1]
            assert receiver.actions == ["add"] * 3


async def test_message_is_given_up_and_can_be_sent_again(server_store_url_: str, memory_path: str) -> None:
    async with AsyncServerStore(server_store_url_) as store, AsyncMemory(url=memory_path, embedder="none") as memory:
        world = World(memory, store)
        with Receiver(*[503] * (MAX_ATTEMPTS + 1)) as receiver:
            made = await world.hook(receiver)
            lost = await memory.add("lost", user_id="ann")
            for _ in range(MAX_ATTEMPTS):
                await world.deliver()
                world.now += HOUR
            [letter] = await store.dead_letters(made.info.id)
            assert (letter.changes, letter.attempts, letter.waiting) == (1, MAX_ATTEMPTS, False)
            assert letter.error == "the receiver answered 503"
            assert (await store.list_hooks())[0].dead_letters == 1
            assert await store.dead_letters("hook_000000000000") == []
            assert await store.retry_dead_letters(ids=["msg_unknown"]) == 0
            assert await store.retry_dead_letters(made.info.id) == 1
            await world.deliver()
            assert [(one.attempts, one.waiting) for one in await store.dead_letters()] == [(MAX_ATTEMPTS + 1, False)]
            assert await store.retry_dead_letters(ids=[letter.id]) == 1
            await world.deliver()
            assert await store.dead_letters() == []
            assert len({message["id"] for message in receiver.got}) == 1
            assert receiver.got[-1]["changes"][0]["memory_id"] == lost.id
            await memory.add("next", user_id="ann")
            await world.deliver()
            assert len(receiver.got) == MAX_ATTEMPTS + 3


async def test_receiver_that_is_gone_disables_its_hook_until_it_is_enabled(memory_path: str, tmp_path: Path) -> None:
    async with (
        AsyncServerStore(str(tmp_path / "s.db")) as store,
        AsyncMemory(url=memory_path, embedder="none") as memory,
    ):
        world = World(memory, store)
        with Receiver(410) as receiver:
            made = await world.hook(receiver)
            await memory.add("a", user_id="ann")
            assert await world.deliver() == ["disabled: the receiver answered 410"]
            world.now += HOUR
            await memory.add("b", user_id="ann")
            await world.deliver()
            assert receiver.requests == 1
            assert (await store.list_hooks())[0].state == "disabled"
            await store.enable_hook(made.info.id, now=world.now)
            await world.deliver()
            assert receiver.got[1]["id"] == receiver.got[0]["id"]
            assert receiver.actions == ["add"] * 3


async def test_one_process_delivers_and_another_takes_over_when_it_is_gone(
    server_store_url_: str, memory_path: str
) -> None:
    async with (
        AsyncServerStore(server_store_url_) as store,
        AsyncServerStore(server_store_url_) as other,
        AsyncMemory(url=memory_path, embedder="none") as memory,
    ):
        one, two = World(memory, store), World(memory, other)
        assert await store.take_hooks(HOLDER) is None  # there are no hooks
        with Receiver() as receiver:
            made = await one.hook(receiver)
            two.now = one.now
            await memory.add("a", user_id="ann")
            assert await store.take_hooks(HOLDER, now=one.now) == [made.info.id]
            assert await other.take_hooks("two", now=one.now) is None
            # Even if it tried, nothing is sent by who does not hold the lease.
            await other.deliver_hook(made.info.id, memory, holder="two", allow_private=True, now=one.now)
            assert receiver.requests == 0
            assert await one.deliver() == []
            await memory.add("b", user_id="ann")
            two.now += timedelta(seconds=46)
            assert await two.deliver("two") == []
            await store.deliver_hook(made.info.id, memory, holder=HOLDER, allow_private=True, now=two.now)
            assert receiver.actions == ["add", "add"]
            await other.release_hooks("two")
            assert await store.take_hooks(HOLDER, now=two.now) == [made.info.id]


async def test_changes_that_were_removed_before_they_were_sent_are_told_of(memory_path: str, tmp_path: Path) -> None:
    """Another store in the place of the old one: the cursor is ahead of it."""
    async with AsyncServerStore(str(tmp_path / "s.db")) as store:
        with Receiver() as receiver:
            async with AsyncMemory(url=memory_path, embedder="none") as memory:
                world = World(memory, store)
                await world.hook(receiver)
                for number in range(3):
                    await memory.add(f"{number}", user_id="ann")
                await world.deliver()
            async with AsyncMemory(url=str(tmp_path / "restored.db"), embedder="none") as memory:
                world.memory = memory
                await memory.add("restored", user_id="ann")
                assert await world.deliver() == ["changes were removed before they were sent"]
                await memory.add("later", user_id="ann")
                await world.deliver()
        assert [message.get("missed") for message in receiver.got] == [None, True, None]


async def test_earlier_changes_come_on_request_in_messages_of_a_bounded_size(memory_path: str, tmp_path: Path) -> None:
    async with (
        AsyncServerStore(str(tmp_path / "s.db")) as store,
        AsyncMemory(url=memory_path, embedder="none") as memory,
    ):
        world = World(memory, store)
        await memory.add_many([{"content": f"{number}", "scope": "small"} for number in range(120)], user_id="ann")
        large: list[MemoryItem] = [{"content": f"{number}" + "x" * 30_000, "scope": "large"} for number in range(60)]
        await memory.add_many(large, user_id="ann")
        with Receiver() as receiver:
            await world.hook(receiver, from_start=True, content=True)
            await world.deliver()
            assert [len(message["changes"]) for message in receiver.got] == [100, 54, 26]
            assert all(len(json.dumps(message)) < 1_100_000 for message in receiver.got)
            assert receiver.scopes == ["small"] * 120 + ["large"] * 60


def hangs(exchange: Exchange) -> None:
    exchange.wait()


def closes(exchange: Exchange) -> None:
    pass


def floods(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    for _ in range(100):
        exchange.send(b"x" * 1_000_000)
        exchange._peer.ticks += 1


def informs(exchange: Exchange) -> None:
    exchange.drip(b"HTTP/1.1 103 Early Hints\r\n\r\n" for _ in range(2_000))


def babbles(exchange: Exchange) -> None:
    exchange.send(b"no http at all\r\n\r\n")


@pytest.mark.parametrize(
    ("script", "trouble"),
    [
        (hangs, "no reply within 0.3 seconds"),
        (informs, "no reply within 0.3 seconds"),
        (closes, "the reply was no HTTP, or the connection was closed before it"),
        (babbles, "the reply was no HTTP, or the connection was closed before it"),
        (floods, None),
    ],
)
async def test_hostile_receiver_costs_an_attempt_and_no_more(
    script: Any, trouble: str | None, memory_path: str, tmp_path: Path
) -> None:
    async with (
        AsyncServerStore(str(tmp_path / "s.db")) as store,
        AsyncMemory(url=memory_path, embedder="none") as memory,
    ):
        world = World(memory, store)
        with HostilePeer(script) as peer:
            await world.hook(peer)
            await memory.add("a", user_id="ann")
            assert await world.deliver(timeout=0.3 if script in (hangs, informs) else 10) == (
                [trouble] if trouble else []
            )
            assert peer.ticks < 60  # it left long before all was sent
        assert (await store.list_hooks())[0].last_error == trouble


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433"])
async def test_nothing_is_sent_to_a_private_address(host: str, tmp_path: Path) -> None:
    async with AsyncServerStore(str(tmp_path / "s.db")) as store:
        with Receiver() as receiver:
            made = await store.create_hook(f"http://{host}:{receiver.port}/", user_id="ann")
            answer = await store.test_hook(made.info.id, timeout=2)
            assert answer.trouble in (
                "the host has a private or reserved address, to which nothing is sent",
                "no connection",  # a system without IPv6 finds no address for it
            )
            assert (answer.status, receiver.requests) == (None, 0)


def answers_without_tls(exchange: Exchange) -> None:
    exchange._connection.recv(65_536)
    exchange.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def test_trouble_of_tls_is_told_from_a_closed_port(tmp_path: Path) -> None:
    async with AsyncServerStore(str(tmp_path / "s.db")) as store:
        with HostilePeer(answers_without_tls, reads=False, scheme="https") as peer:
            made = await store.create_hook(peer.url, user_id="ann")
            answer = await store.test_hook(made.info.id, allow_private=True)
            assert answer.trouble == "the TLS handshake failed, or the certificate is not to be trusted"
        assert (await store.test_hook(made.info.id, allow_private=True)).trouble == "no connection"


async def test_name_with_one_private_address_among_others_is_refused(tmp_path: Path) -> None:
    async with AsyncServerStore(str(tmp_path / "s.db")) as store:
        with Receiver() as receiver, looked_up(["1.1.1.1", "127.0.0.1"]):
            made = await store.create_hook(f"http://hooks.example:{receiver.port}/", user_id="ann")
            answer = await store.test_hook(made.info.id, timeout=2)
            assert "private" in (answer.trouble or "")
            assert receiver.requests == 0


async def test_name_is_looked_up_once_and_the_checked_address_is_connected_to(tmp_path: Path) -> None:
    """A name that points elsewhere a moment later, to reach what the check would have refused."""
    async with AsyncServerStore(str(tmp_path / "s.db")) as store:
        with Receiver() as receiver, looked_up(["127.0.0.1"], ["127.0.0.9"]) as asked:
            made = await store.create_hook(f"http://hooks.example:{receiver.port}/", user_id="ann")
            receiver.secret = made.secret
            answer = await store.test_hook(made.info.id, allow_private=True)
            assert (answer.status, answer.trouble) == (204, None)
            assert asked == ["hooks.example"]
            assert receiver.heads[0]["host"] == f"hooks.example:{receiver.port}"
            assert receiver.got[0]["test"] is True


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"url": "ftp://example.com/"}, "https:// or http://"),
        ({"url": "https://ann:pw@example.com/"}, "no user"),
        ({"url": "https://example.com/#x"}, "fragment"),
        ({"url": "https://exämple.com/"}, "ASCII"),
        ({"url": "https:///x"}, "host"),
        ({"url": "https://example.com/" + "x" * 3_000}, "url"),
        ({"events": ["delet"]}, "events"),
        ({"events": "add"}, "events"),
        ({"scope": "a//b"}, "scope"),
        ({"user_id": ""}, "user_id"),
        ({"content": 1}, "content"),
    ],
)
async def test_wrong_hook_is_refused_and_nothing_is_stored(given: dict[str, Any], reason: str, tmp_path: Path) -> None:
    async with AsyncServerStore(str(tmp_path / "s.db")) as store:
        wanted: dict[str, Any] = {"url": "https://example.com/", "user_id": "ann", **given}
        with pytest.raises(InvalidRequestError, match=reason):
            await store.create_hook(wanted.pop("url"), **wanted)
        assert await store.list_hooks() == []


async def test_store_holds_a_hundred_hooks_at_most(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        for number in range(100):
            await store.create_hook(f"https://example.com/{number}", user_id=None)
        with pytest.raises(InvalidRequestError, match="100 hooks"):
            await store.create_hook("https://example.com/", user_id=None)
        assert len(await store.list_hooks()) == 100
