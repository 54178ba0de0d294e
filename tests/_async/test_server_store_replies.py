"""Requests that may be repeated: one seed and one reply for each, for a day, and no longer than the user wants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from openmem import AsyncServerStore, InvalidRequestError
from openmem._io.concurrency.primitives import async_gather
from openmem._model.ids import new_memory_ids
from openmem._model.keys import MAX_REPLY
from openmem._sql.server import replies
from openmem.errors import IdempotencyConflictError
from openmem.server import Remembered, StoredReply
from openmem.types import AuditEntry
from tests.server_stores import written

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
WIDE_LETTERS = [chr(number) for number in range(0x20000, 0x2A000)]  # four bytes each; at random, none can be saved
BODY = "likes blue tea ü".encode()


async def begin(store: AsyncServerStore, key: str = "k", now: datetime = NOW, **given: Any) -> Remembered:
    values = {"caller": "c", "fingerprint": "f", "user_id": "ann", **given}
    return await store.begin_reply(idempotency_key=key, now=now, **values)


async def answer(store: AsyncServerStore, key: str = "k", body: bytes = BODY, *memory_ids: str) -> None:
    await store.end_reply("c", key, 201, {"ETag": '"1"'}, body, memory_ids=memory_ids)


async def test_repeated_request_gets_the_seed_and_the_reply_of_the_first(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        first = await begin(store)
        assert (first.seed.at, first.reply) == (NOW, None)
        assert await begin(store, now=NOW + timedelta(hours=1)) == first  # as after a crash
        await answer(store)
    async with AsyncServerStore(server_store_url_) as store:
        again = await begin(store)
        assert again == Remembered(first.seed, StoredReply(201, {"ETag": '"1"'}, BODY))
        assert BODY.decode() not in repr(again)


async def test_longest_names_fit_into_the_indexes(server_store_url_: str) -> None:
    caller, key, user = ("".join(Random(seed).choices(WIDE_LETTERS, k=256)) for seed in range(3))
    async with AsyncServerStore(server_store_url_) as store:
        first = await begin(store, key, caller=caller, user_id=user)
        assert (await begin(store, key, caller=caller, user_id=user)).seed == first.seed
        await store.enter(user, AuditEntry(timestamp=NOW, action="add", memory_id=key))
        assert [entry.memory_id for entry in await store.entries(user)] == [key]


async def test_requests_at_the_same_moment_get_one_seed(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        found = await async_gather(*[lambda: begin(store)] * 50)
        assert len({(one.seed.at, one.seed.entropy) for one in found}) == 1
        others = [await begin(store, f"key {number}") for number in range(20)]
        assert len({one.seed.entropy for one in [*found, *others]}) == 21


async def test_key_of_another_request_is_a_conflict(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        first = await begin(store)
        for _ in range(2):
            with pytest.raises(IdempotencyConflictError, match="another request") as caught:
                await begin(store, fingerprint="g")
            await answer(store)
        assert (caught.value.http_status, caught.value.code) == (409, "idempotency_conflict")
        assert (await begin(store)).seed == first.seed
        assert (await begin(store, caller="d", fingerprint="g")).reply is None


async def test_request_is_forgotten_after_a_day(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        first = await begin(store)
        await answer(store)
        last = await begin(store, now=NOW + DAY - MOMENT)
        assert (last.seed, last.reply is not None) == (first.seed, True)
        fresh = await begin(store, now=NOW + DAY, fingerprint="g")
        assert (fresh.seed.at, fresh.reply) == (NOW + DAY, None)
        assert fresh.seed.entropy != first.seed.entropy


async def test_only_a_body_that_is_too_large_is_not_kept(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        for key, size, kept in (("a", MAX_REPLY, True), ("b", MAX_REPLY + 1, False), ("c", 0, True)):
            first = await begin(store, key)
            await answer(store, key, b"\x00" * size)
            reply = StoredReply(201, {"ETag": '"1"'}, b"\x00" * size if kept else None)
            assert (await begin(store, key)) == Remembered(first.seed, reply)


async def test_body_about_several_users_is_not_kept(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        first = await begin(store, user_id=None)
        await answer(store)
        assert await begin(store, user_id=None) == Remembered(first.seed, StoredReply(201, {"ETag": '"1"'}, None))
        assert BODY not in written(server_store_url_)


async def test_first_reply_stays(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        await begin(store)
        await answer(store)
        await store.end_reply("c", "k", 500, {}, b"later")
        reply = (await begin(store)).reply
        assert reply is not None
        assert (reply.status, reply.body) == (201, BODY)
        await answer(store, "never begun")
        assert (await begin(store, "never begun")).reply is None


async def test_old_requests_are_forgotten(server_store_url_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "BATCH", 2)
    async with AsyncServerStore(server_store_url_) as store:
        for number in range(5):
            await begin(store, f"old {number}")
            await answer(store, f"old {number}")
        young = await begin(store, "young", NOW + MOMENT)
        assert await store.forget_replies(NOW) == 0
        assert await store.forget_replies(NOW + MOMENT) == 5
        assert await store.forget_replies(NOW + MOMENT) == 0
        assert BODY not in written(server_store_url_)
        assert (await begin(store, "young")).seed == young.seed
        assert (await begin(store, "old 1", NOW + DAY / 2)).seed.at == NOW + DAY / 2


async def test_forgotten_user_leaves_no_trace(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        for key, user_id in (("a", "ann"), ("b", "ann-2"), ("c", "ann")):
            await begin(store, key, user_id=user_id)
        await answer(store, "a", b"<ann's own>" * 20_000)  # more than a page
        await answer(store, "b", b"<other>")
        assert b"<ann's own>" in written(server_store_url_)
        assert await store.forget_replies_of("ann") == 2
        await answer(store, "c", b"<ann's own>")  # it was under way when the user was erased
        assert b"<ann's own>" not in written(server_store_url_)
        assert (await begin(store, "c")).reply is None
        other = (await begin(store, "b", user_id="ann-2")).reply
        assert other is not None
        assert other.body == b"<other>"
        assert await store.forget_replies_of("bob") == 0


async def test_key_of_a_request_that_did_nothing_is_free_again(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        first = await begin(store)
        assert first.is_new
        assert not (await begin(store)).is_new
        await store.release_reply("c", "k", first.seed)
        second = await begin(store, fingerprint="g")
        assert second.is_new
        await store.release_reply("c", "k", first.seed)  # of the request before
        assert (await begin(store, fingerprint="g")).seed == second.seed
        await answer(store)
        await store.release_reply("c", "k", second.seed)  # it is answered
        assert (await begin(store, fingerprint="g")).reply is not None


async def test_reply_is_erased_by_the_id_of_a_memory_and_the_request_stays_known(server_store_url_: str) -> None:
    odd = 'mem "1" \\ ü'
    body = '{"items":[{"id":"mem_2"},{"id":"mem \\"1\\" \\\\ ü","content":"<odd>"}]}'.encode()
    async with AsyncServerStore(server_store_url_) as store:
        first = await begin(store)
        await answer(store, "k", body, "mem_2", odd)
        await begin(store, "other")
        await answer(store, "other", b'{"id":"mem_3","content":"<kept>","x-a":{"id":"mem_2"}}', "mem_3")
        assert await store.erase_replies("mem_2", user_id="bob") == 0
        assert await store.erase_replies("mem_") == 0
        assert await store.erase_replies(odd, user_id="ann") == 1
        assert b"<odd>" not in written(server_store_url_)
        again = await begin(store)
        assert (again.seed, again.reply, again.is_new) == (first.seed, StoredReply(404, {}, None), False)
        assert await store.erase_replies("mem_2") == 0
        kept = (await begin(store, "other")).reply
        assert kept is not None
        assert kept.body is not None
        assert await store.erase_replies("mem_3") == 1


@pytest.mark.parametrize(("user_id", "padding"), [(None, 0), ("ann", MAX_REPLY)], ids=["of several users", "too large"])
async def test_reply_whose_body_is_not_kept_is_erased_by_an_id(
    server_store_url_: str, user_id: str | None, padding: int
) -> None:
    body = b'{"items":[{"id":"mem_1"},{"id":"mem_\\"2\\"","content":"<secret> %s"}]}' % (b"x" * padding)
    async with AsyncServerStore(server_store_url_) as store:
        first = await begin(store, user_id=user_id)
        await answer(store, "k", body, "mem_1", 'mem_"2"')
        assert b"<secret>" not in written(server_store_url_)
        assert await store.erase_replies("mem_") == await store.erase_replies("2") == 0
        assert await store.erase_replies('mem_"2"', user_id="ann") == 1
        again = await begin(store, user_id=user_id)
        assert (again.seed, again.reply) == (first.seed, StoredReply(404, {}, None))


@pytest.mark.parametrize("number", [0, 9_999])
async def test_request_that_was_never_answered_is_found_by_what_its_seed_made(
    server_store_url_: str, number: int
) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        # All of one moment, and one of them about several users.
        seeds = [(await begin(store, str(count), user_id="ann" if count else None)).seed for count in range(3)]
        ids = [new_memory_ids(["ann"] * 10_000, seed.at, seed.entropy)[number] for seed in seeds]
        assert await store.erase_replies(ids[0], user_id="ann") == 1
        assert await store.erase_replies(ids[2]) == 1
        await answer(store, "2")  # it was under way
        found = [(await begin(store, str(count), user_id="ann" if count else None)).reply for count in range(3)]
        assert found == [StoredReply(404, {}, None), None, StoredReply(404, {}, None)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"caller": ""}, "caller must not be blank"),
        ({"caller": None}, "caller must be a string"),
        ({"key": "x" * 257}, "idempotency_key must have at most 256"),
        ({"key": "a\x00b"}, "idempotency_key must not contain"),
        ({"fingerprint": b"f"}, "fingerprint must be a string"),
        ({"user_id": "*"}, "user_id must name one user"),
        ({"now": None}, "now is required"),
        ({"now": datetime(2026, 1, 1)}, "timezone-aware"),
    ],
)
async def test_wrong_request_is_refused(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    async with AsyncServerStore(str(tmp_path / "server.db")) as store:
        with pytest.raises(InvalidRequestError, match=message):
            await begin(store, **given)


@pytest.mark.parametrize(("status", "body"), [(0, b""), ("200", b""), (200, "text"), (200, None)])
async def test_wrong_reply_is_refused_and_the_request_stays_open(tmp_path: Path, status: Any, body: Any) -> None:
    async with AsyncServerStore(str(tmp_path / "server.db")) as store:
        await begin(store)
        with pytest.raises(InvalidRequestError):
            await store.end_reply("c", "k", status, {}, body)
        assert (await begin(store)).reply is None
