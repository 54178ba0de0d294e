"""Rate counters that are exact, and an audit log that keeps every entry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncServerStore, InvalidRequestError
from openmem._io.concurrency.primitives import async_gather
from openmem.types import Action, AuditEntry

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
SECOND = timedelta(seconds=1)
ACTIONS: list[Action] = ["add", "search", "get", "update", "delete"]


async def test_never_more_than_the_limit_go_on(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as one, AsyncServerStore(server_store_url_) as two:
        takers = [lambda store=store: store.take("c", 20, NOW) for store in [one, two] * 25]
        waits = await async_gather(*takers)
        assert sorted(waits) == [0.0] * 20 + [60.0] * 30


async def test_window_begins_with_the_first_request_and_lasts_a_minute(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        assert [await store.take("c", 2, NOW + number * SECOND) for number in range(4)] == [0.0, 0.0, 58.0, 57.0]
        assert await store.take("c", 2, NOW + 59.5 * SECOND) == 0.5
        assert await store.take("d", 2, NOW + 59.5 * SECOND) == 0.0
        later = [await store.take("c", 2, NOW + 60 * SECOND) for _ in range(3)]
        assert later == [0.0, 0.0, 60.0]


async def test_limit_may_change_within_a_window(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        assert [await store.take("c", 1, NOW) for _ in range(3)] == [0.0, 60.0, 60.0]
        assert await store.take("c", 10, NOW) == 0.0
        assert await store.take("c", 1, NOW) == 60.0


async def test_clock_that_was_wrong_locks_no_caller_out(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        assert await store.take("c", 1, NOW + timedelta(hours=5)) == 0.0
        assert await store.take("c", 1, NOW) == 0.0
        assert await store.take("c", 1, NOW - SECOND) == 61.0  # a clock that is a second behind


async def test_idle_callers_are_forgotten(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        await store.take("idle", 1, NOW)
        await store.take("busy", 1, NOW + SECOND)
        await store.forget_replies(NOW + SECOND)
        assert [await store.take(caller, 1, NOW + SECOND) for caller in ("idle", "busy")] == [0.0, 60.0]


@pytest.mark.parametrize(("caller", "limit", "now"), [("", 1, NOW), ("c", 0, NOW), ("c", True, NOW), ("c", 1, None)])
async def test_wrong_rate_is_refused(tmp_path: Path, caller: str, limit: Any, now: Any) -> None:
    async with AsyncServerStore(str(tmp_path / "server.db")) as store:
        with pytest.raises(InvalidRequestError):
            await store.take(caller, limit, now)


# --- the audit log ---


def entry(number: int, **given: Any) -> AuditEntry:
    values: dict[str, Any] = {
        "timestamp": NOW + number // 2 * SECOND,  # two of them at the same time
        "app": "even" if number % 2 == 0 else "odd",
        "action": ACTIONS[number % 5],
        "memory_id": f"mem_{number}",
        "scope": None if number % 3 else "a/ü",
        "request_id": f"r{number}",
    }
    return AuditEntry(**values | given)


async def test_audit_log_returns_its_entries_newest_first(server_store_url_: str) -> None:
    entries = [entry(number) for number in range(7)]
    async with AsyncServerStore(server_store_url_) as store:
        await store.enter("ann", *entries[:3])
        for one in entries[3:]:
            await store.enter("ann", one)
        await store.enter("bob", entry(9))
        await store.enter("ann")
    async with AsyncServerStore(server_store_url_) as store:
        assert await store.entries("ann") == entries[::-1]
        assert await store.entries("ann", limit=2) == entries[:4:-1]
        assert await store.entries("ann", app="even") == entries[::-2]
        assert await store.entries("ann", since=NOW + SECOND) == entries[:1:-1]
        assert await store.entries("bob") == [entry(9)]
        assert await store.entries("carol") == []


async def test_late_entry_stands_where_its_time_is(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        await store.enter("ann", entry(4), entry(0))
        bare = AuditEntry(timestamp=NOW + SECOND, action="list")
        await store.enter("ann", bare)
        assert await store.entries("ann") == [entry(4), bare, entry(0)]


@pytest.mark.parametrize("wrong", [{"timestamp": None}, {"action": None}])
async def test_incomplete_entry_is_refused_with_those_beside_it(tmp_path: Path, wrong: dict[str, Any]) -> None:
    async with AsyncServerStore(str(tmp_path / "server.db")) as store:
        with pytest.raises(InvalidRequestError, match="timestamp and an action"):
            await store.enter("ann", entry(1), entry(2, **wrong))
        for values in (["", entry(1)], ["*", entry(1)], ["ann", None], ["ann", "text"]):
            with pytest.raises(InvalidRequestError):
                await store.enter(*values)
        assert await store.entries("ann") == []
        for given in ({"limit": 0}, {"limit": 1_001}, {"app": ""}, {"since": "soon"}):
            with pytest.raises(InvalidRequestError):
                await store.entries("ann", **given)


def named(number: int, memory_id: str | None, scope: str | None, action: Action = "get") -> AuditEntry:
    return entry(number, memory_id=memory_id, scope=scope, action=action)


async def test_audit_log_forgets_the_names_in_entries_and_keeps_the_entries(server_store_url_: str) -> None:
    entries = [named(0, "m", "a"), named(1, None, "a"), named(2, "n", None), named(3, None, None)]
    async with AsyncServerStore(server_store_url_) as store:
        for user in ("ann", "bob"):
            await store.enter(user, *entries)
        assert await store.forget_entries_of("ann") == (3, 0)
        bare = [one.model_copy(update={"memory_id": None, "scope": None}) for one in entries]
        assert await store.entries("ann") == bare[::-1]
        assert await store.entries("bob") == entries[::-1]
        assert await store.forget_entries_of("ann", scope="*") == (0, 0)


@pytest.mark.parametrize(
    ("scope", "gone"),
    [("a", {"m1", "m2"}), ("a/*", {"m1", "m2", "below"}), ("a_", set()), ("z", set()), ("*", None)],
)
async def test_audit_log_forgets_memories_by_their_last_scope(
    server_store_url_: str, scope: str, gone: set[str] | None
) -> None:
    entries = [
        named(0, "m1", "a", "add"),
        named(1, "m1", None),  # the scope was not known
        named(2, "m2", "b", "add"),
        named(3, "m2", "a", "update"),
        named(4, "left", "a", "add"),
        named(6, "left", "b", "update"),
        named(8, "below", "a/c", "add"),
        named(10, "beside", "ab", "add"),
        named(12, None, "a", "list"),
    ]
    async with AsyncServerStore(server_store_url_) as store:
        await store.enter("ann", *entries)
        counted = sum(one.memory_id is not None and (gone is None or one.memory_id in gone) for one in entries)
        assert await store.forget_entries_of("ann", scope=scope) == (counted + (gone is None), 0)
        left = {one.memory_id for one in await store.entries("ann")} - {None}
        assert left == ({"m1", "m2", "left", "below", "beside"} - gone if gone is not None else set())
        assert (await store.entries("ann"))[0].scope == (None if gone is None else "a")


async def test_wrong_scope_makes_the_audit_log_forget_nothing(tmp_path: Path) -> None:
    async with AsyncServerStore(str(tmp_path / "server.db")) as store:
        await store.enter("ann", entry(0))
        for given in ({"scope": "a//b"}, {"scope": ""}):
            with pytest.raises(InvalidRequestError):
                await store.forget_entries_of("ann", **given)
        assert await store.entries("ann") == [entry(0)]
