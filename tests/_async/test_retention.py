"""Old audit entries and old versions go, and what is left is right, on both stores of our own."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg
import pytest

from openmem import AsyncMemory, IdempotencySeed, InvalidRequestError, MemoryRecord
from openmem._async.retention import postgres as postgres_retention
from openmem._io.concurrency.primitives import async_gather
from openmem._model.ids import routing_bucket
from openmem._sql.history import Position
from openmem._sql.postgres import retention as on_postgres
from openmem._sql.postgres.history import States
from openmem._sql.sqlite import retention as on_sqlite
from tests.old_rows import age, content_of

CHANGES = 7


@pytest.fixture(params=["file", "postgres"])
def place(request: pytest.FixtureRequest, store_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty store of each kind, of which few buckets are looked at."""
    if request.param == "file":
        return store_url
    monkeypatch.setattr(postgres_retention, "ALL_BUCKETS", sorted(map(routing_bucket, ("ann", "bob"))))
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every transaction remove little, and look at little."""
    monkeypatch.setattr(on_postgres, "AT_ONCE", 3)
    monkeypatch.setattr(on_sqlite, "AT_ONCE", 3)
    monkeypatch.setattr(on_sqlite, "LOOKED_AT", 4)


def opened(url: str, **options: Any) -> AsyncMemory:
    return AsyncMemory(url=url, embedder="none", **options)


def content(number: int) -> str:
    return f"{'Ann lives in a city. ' * 20}It is city {number}."


async def changed(memory: AsyncMemory, user: str = "ann", times: int = CHANGES) -> MemoryRecord:
    """Store a memory and change it some times: its versions have the contents 0, 1, 2, …"""
    record = await memory.add(content(0), user_id=user)
    for number in range(1, times + 1):
        await memory.update(record.id, user_id=user, content=content(number))
    return record


async def states(memory: AsyncMemory, id_: str) -> list[tuple[int, str]]:
    return [(state.version, state.content) for state in await memory.history(id_)]


def kept(count: int, last: int = CHANGES) -> list[tuple[int, str]]:
    """Return the newest earlier states, of a memory whose last version is number `last + 1`."""
    return [(version, content(version - 1)) for version in range(last, last - count, -1)]


# --- versions ---


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("versions", [0, 1, 4, CHANGES, CHANGES + 1])
async def test_as_many_versions_stay_as_were_asked_for(place: str, versions: int) -> None:
    async with opened(place) as memory:
        first, second = await changed(memory), await changed(memory, "bob", 2)
        gone = max(0, CHANGES - versions) + max(0, 2 - versions)
        planned = await memory.maintain(versions=versions, dry_run=True)
        assert (planned.versions, planned.entries, planned.dry_run) == (gone, 0, True)
        assert await states(memory, first.id) == kept(CHANGES)
        done = await memory.maintain(versions=versions)
        assert (done.versions, done.entries, done.dry_run) == (gone, 0, False)
        assert await states(memory, first.id) == kept(min(versions, CHANGES))
        assert await states(memory, second.id) == kept(min(versions, 2), 2)
        assert (await memory.get(first.id)).content == content(CHANGES)
        assert (await memory.maintain(versions=versions)).versions == 0


async def test_memory_can_be_changed_after_its_versions_went(place: str) -> None:
    async with opened(place) as memory:
        record = await changed(memory)
        await memory.maintain(versions=0)
        await memory.update(record.id, content=content(CHANGES + 1))
        await memory.update(record.id, content=content(CHANGES + 2))
        assert await states(memory, record.id) == kept(2, CHANGES + 2)


@pytest.mark.usefixtures("few_at_once")
async def test_page_goes_on_where_it_was_though_the_oldest_versions_went(place: str) -> None:
    async with opened(place) as memory:
        record = await changed(memory)
        first = await memory.history(record.id, limit=2)
        await memory.maintain(versions=4)
        second = await memory.history(record.id, limit=1, cursor=first.next_cursor)
        await memory.maintain(versions=3)  # what the cursor names is the oldest now
        third = await memory.history(record.id, limit=1, cursor=second.next_cursor)
        assert [state.version for state in [*first, *second, *third]] == [7, 6, 5]
        assert third.next_cursor is None


async def test_add_that_is_sent_again_is_known_though_the_version_before_it_went(place: str) -> None:
    async with opened(place) as memory:
        await memory.add("Ann lives in Faro", user_id="ann", key="city")
        seeded = memory.for_caller(seed=IdempotencySeed(datetime.now(UTC), 7))
        stored = await seeded.add("Ann lives in Lisbon", user_id="ann", key="city")
        await memory.maintain(versions=0)
        assert (await seeded.add("Ann lives in Lisbon", user_id="ann", key="city")).version == stored.version == 2


async def test_instance_keeps_as_it_was_told(place: str) -> None:
    async with opened(place, versions=2) as memory:
        record = await changed(memory)
        await memory.maintain()
        assert await states(memory, record.id) == kept(2)


# --- the audit log ---


@pytest.mark.usefixtures("few_at_once")
async def test_old_entries_go_and_young_ones_stay(place: str) -> None:
    async with opened(place) as memory:
        for number in range(5):
            await memory.add(f"note {number}", user_id="ann")
            await memory.search("note", "ann")
        await memory.audit("ann")
        await memory.add("note", user_id="bob")
        age(place, 40, "ann")
        await memory.search("again", "ann")
        planned = await memory.maintain(audit_days=30, dry_run=True)
        assert (planned.entries, len(await memory.audit("ann"))) == (10, 11)
        done = await memory.maintain(audit_days=30)
        assert (done.entries, done.versions) == (10, 0)
        assert [entry.action for entry in await memory.audit("ann")] == ["search"]
        assert [entry.action for entry in await memory.audit("bob")] == ["add"]
        assert len((await memory.list("ann")).items) == 5
        assert (await memory.maintain(audit_days=30)).entries == 0


async def test_entries_keep_their_order_and_lose_their_names_after_older_ones_went(place: str) -> None:
    """An erasure finds entries by their numbers: they must not begin again."""
    async with opened(place) as memory:
        await memory.add_many([{"content": f"note {number}"} for number in range(20)], user_id="ann")
        await memory.delete_all("ann")
        age(place, 40)
        await memory.maintain(audit_days=30)
        assert await memory.audit("ann") == []
        record = await memory.add("Ann lives in Lisbon", user_id="ann", scope="home")
        await memory.update(record.id, tags=["city"])
        await memory.get(record.id)
        assert [entry.action for entry in await memory.audit("ann")] == ["get", "update", "add"]
        receipt = await memory.delete_all("ann")
        assert (receipt.complete, receipt.erased["audit"]) == (True, 3)
        assert {(entry.memory_id, entry.scope) for entry in await memory.audit("ann")} == {(None, None)}


async def test_imported_memory_whose_entry_went_hides_no_number(store_url: str) -> None:
    """The newest row names no entry, and the newest entry went: the one of an older row is still taken."""
    async with opened(store_url) as memory:
        await memory.add("Ann lives in Faro", user_id="ann")
        lines = [line.replace('"ann"', '"bob"') for line in (await memory.export("ann")).lines]
        own = await memory.add("Bob lives in Lisbon", user_id="bob")
        await memory.import_(lines)
        age(store_url, 40, "bob", adds=False)
        assert (await memory.maintain(audit_days=30)).entries == 1
        await memory.search("tea", "bob")
        await memory.update(own.id, tags=["home"])
        assert [entry.action for entry in await memory.audit("bob")] == ["update", "search", "add"]


# --- beside others ---


@pytest.mark.usefixtures("few_at_once")
async def test_several_at_once_remove_everything_once(place: str) -> None:
    async with opened(place) as memory, opened(place) as other, opened(place) as third:
        records = [await changed(memory, user) for user in ("ann", "bob")]
        await memory.audit("ann")
        age(place, 40)
        maintain = [partial(one.maintain, audit_days=30, versions=1) for one in (memory, other, third)]
        reports = await async_gather(*maintain)
        assert sum(report.entries for report in reports) == 2 * (CHANGES + 1)
        assert sum(report.versions for report in reports) == 2 * (CHANGES - 1)
        for record in records:
            assert await states(memory, record.id) == kept(1)


@pytest.mark.usefixtures("few_at_once")
async def test_interrupted_run_leaves_whole_histories_and_goes_on(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(place) as memory:
        record = await changed(memory)
        with monkeypatch.context() as broken:
            for module in (on_sqlite, on_postgres):
                broken.setattr(module, "trim", _once(module.trim))
            with pytest.raises(ZeroDivisionError):
                await memory.maintain(versions=1)
        assert await states(memory, record.id) == kept(CHANGES - 3)
        assert (await memory.maintain(versions=1)).versions == CHANGES - 4
        assert await states(memory, record.id) == kept(1)


def _once(trim: Any) -> Any:
    calls: list[None] = []

    def steps(*given: Any) -> Any:
        if calls:
            raise ZeroDivisionError
        calls.append(None)
        return trim(*given)

    return steps


@pytest.mark.parametrize("options", [{"audit_days": 30}, {"versions": 1}, {"audit_days": 30, "versions": 1}])
async def test_instance_that_was_told_removes_in_the_background(place: str, options: dict[str, Any]) -> None:
    async with opened(place) as memory:
        record = await changed(memory)
        await memory.audit("ann")
        age(place, 40)
    async with opened(place, **options) as memory, opened(place) as watcher:
        await memory.health()
        entries, versions = CHANGES + 1, CHANGES
        for _ in range(20_000):
            planned = await watcher.maintain(audit_days=30, versions=1, dry_run=True)
            entries, versions = planned.entries, planned.versions
            if not entries * ("audit_days" in options) and not versions * ("versions" in options):
                break
        assert entries == (0 if "audit_days" in options else CHANGES + 1)
        assert versions == (0 if "versions" in options else CHANGES - 1)
        assert len(await watcher.history(record.id)) == (1 if "versions" in options else CHANGES)


async def test_history_that_is_read_while_versions_go_ends_where_they_ended(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(postgres_url) as memory, opened(postgres_url) as other:
        record = await changed(memory)
        bucket = routing_bucket("ann")
        read, asked = States.read, list[int]()

        def after_they_went(self: States, place: Position) -> Any:
            if not asked:
                with psycopg.connect(postgres_url) as connection:
                    gone = "delete from openmem.versions where bucket = %s and version < %s"
                    connection.execute(gone, (bucket, CHANGES - 1))
            asked.append(place.version)
            return (yield from read(self, place))

        monkeypatch.setattr(States, "read", after_they_went)
        assert await states(memory, record.id) == kept(2)
        assert asked == [*range(CHANGES, 0, -1)]
        assert (await other.get(record.id)).version == CHANGES + 1


# --- the file ---


async def test_file_shrinks_and_what_went_is_not_in_it(store_url: str) -> None:
    async with opened(store_url) as memory:
        record = await memory.add("the oldest secret of all " * 50, user_id="ann")
        for number in range(40):
            await memory.update(record.id, content=f"{number} {hash(number)} " * 5_000)
        report = await memory.maintain(versions=1)
        assert report.purged
        assert report.bytes_before is not None
        assert report.bytes_after is not None
        assert report.bytes_after < report.bytes_before / 2
        assert len(content_of(store_url)) == report.bytes_after
        assert b"oldest secret" not in content_of(store_url)


# --- what may be asked for ---


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("audit_days", value) for value in (0, -1, float("nan"), float("inf"), True, "7", 36_501)),
        *(("versions", value) for value in (-1, 1.5, True, "2", 2**31)),
    ],
)
async def test_limit_out_of_range_is_refused_by_name(store_url: str, name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=name):
        opened(store_url, **{name: value})
    async with opened(store_url) as memory:
        with pytest.raises(InvalidRequestError, match=name):
            await memory.maintain(**{name: value})


@pytest.mark.parametrize(("provider", "options"), [("passthrough", {"base_url": "http://localhost:1"})])
@pytest.mark.parametrize("name", ["audit_days", "versions"])
async def test_provider_that_cannot_refuses_the_option_by_name(provider: str, options: Any, name: str) -> None:
    made: Any = AsyncMemory
    with pytest.raises(InvalidRequestError, match=name):
        made(provider, **options, **{name: 3})


async def test_every_bucket_is_looked_at(postgres_url: str) -> None:
    async with opened(postgres_url) as memory:
        for number in range(40):
            await changed(memory, f"user{number}", 2)
        assert (await memory.maintain(versions=1, dry_run=True)).versions == 40
        assert (await memory.maintain(versions=1)).versions == 40


async def test_environment_says_what_an_instance_does_not(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_VERSIONS", "2")
    async with opened(store_url) as memory, opened(store_url, versions=4) as other:
        record = await changed(memory)
        assert (await other.maintain(dry_run=True)).versions <= CHANGES - 4
        await memory.maintain()
        assert await states(memory, record.id) == kept(2)
    monkeypatch.setenv("OMP_VERSIONS", "two")
    with pytest.raises(InvalidRequestError, match="OMP_VERSIONS must be a whole number"):
        opened(store_url)
