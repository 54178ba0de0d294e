"""Rules about one memory: what was added comes back, an update changes what it names and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest

from openmem import AsyncMemory
from openmem._io.concurrency.primitives import async_gather
from openmem.errors import InvalidRequestError, NotFoundError
from openmem.testing._async.rules import Rules, ids_of, needs
from openmem.testing.moments import days
from openmem.types import MemorySource

TEXTS = [
    "naïve café in Zürich",
    "喜欢绿茶",
    "👩‍🔬 works nights",
    "שלום and مرحبا",
    'a "quoted" \\ back\\slash; -- DROP TABLE memories',
    "first line\nsecond line\twith a tab",
    "<b>not</b> &amp; markup {{ nor }} ${this} %s",
]


class CrudRules(Rules):
    """add, get, update."""

    async def test_memory_added_then_got_is_the_same_in_every_field(self, memory: AsyncMemory) -> None:
        """`get` returns what `add` returned, field for field.

        If this fails, check what the insert stores, above all tags, source, confidence and time resolution.
        """
        added = await self.remember(
            memory,
            "ann",
            "prefers tea",
            tags=["drink", "warm"],
            source=MemorySource(app="chat", type="explicit", ref="session-7"),
            confidence=0.75,
        )
        got = await memory.get(added.id, user_id="ann")
        assert got.model_dump(exclude={"status"}) == added.model_dump(exclude={"status"})
        assert (got.content, got.user_id, got.tags) == ("prefers tea", "ann", ["drink", "warm"])
        assert got.source == MemorySource(app="chat", type="explicit", ref="session-7")
        assert got.confidence == pytest.approx(0.75)

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"source": {}}, id="empty source"),
            pytest.param({"source": {"app": "chat"}}, id="part of a source"),
            pytest.param({"tags": []}, id="no tags"),
            pytest.param({"confidence": 0.0}, id="confidence 0"),
            pytest.param({"confidence": 1}, id="confidence 1"),
            pytest.param({}, id="nothing"),
        ],
    )
    async def test_what_was_added_is_what_is_got_listed_and_found(
        self, memory: AsyncMemory, fields: dict[str, Any]
    ) -> None:
        """`get`, `list` and `search` return what `add` returned, also where a field is given and empty.

        If this fails, check that what is empty and what is missing are kept apart, or made the same before the answer.
        """
        added = await self.remember(memory, "ann", "prefers green tea", **fields)
        wanted = added.model_dump(exclude={"status"})
        assert (await memory.get(added.id, user_id="ann")).model_dump(exclude={"status"}) == wanted
        assert [record.model_dump(exclude={"status"}) for record in (await memory.list("ann")).items] == [wanted]
        found = await memory.search("green tea", "ann")
        assert [result.memory.model_dump(exclude={"status"}) for result in found] == [wanted]

    async def test_new_memory_has_version_one_and_a_time_in_utc(self, memory: AsyncMemory) -> None:
        """A new memory is version 1, was created now, in UTC, and is never reported as failed.

        If this fails, check the defaults of the insert and that times carry their zone.
        """
        record = await self.remember(memory, "ann", "prefers tea")
        assert record.version == 1
        assert record.created_at.utcoffset() == timedelta(0)
        assert days(-1) < record.created_at < days(1)
        assert record.status in ({None, "done"} if self.synchronous_ingestion else {None, "queued", "indexing", "done"})

    async def test_same_text_added_twice_makes_two_memories(self, memory: AsyncMemory) -> None:
        """Without a key every `add` makes a memory of its own, with an id of its own.

        If this fails, check that ids are not derived from the text and that the backend does not deduplicate.
        """
        first = await self.remember(memory, "ann", "prefers tea")
        second = await self.remember(memory, "ann", "prefers tea")
        assert first.id != second.id
        assert await self.contents(memory, "ann") == ["prefers tea", "prefers tea"]

    async def test_text_in_any_writing_comes_back_unchanged(self, memory: AsyncMemory) -> None:
        """Text is kept character by character, whatever its language or signs.

        If this fails, check encodings, normalisation, and that values are never pasted into a statement.
        """
        for text in TEXTS:
            record = await self.remember(memory, "ann", text, tags=[text])
            got = await memory.get(record.id)
            assert (got.content, got.tags) == (text, [text])

    async def test_longest_allowed_text_is_kept_and_a_longer_one_refused(self, memory: AsyncMemory) -> None:
        """`features.max_content_length` is the true limit: that long is stored whole, one more is refused.

        If this fails, check the declared limit against the backend's own.
        """
        limit = (await memory.capabilities()).features.max_content_length or 100_000
        longest = ("tea " * limit)[: limit - 1] + "x"
        record = await self.remember(memory, "ann", longest)
        assert (await memory.get(record.id)).content == longest
        with pytest.raises(InvalidRequestError, match="content"):
            await memory.add(content=longest + "x", user_id="ann")

    async def test_tags_given_twice_are_folded_in_order(self, memory: AsyncMemory) -> None:
        """Repeated tags are kept once, in the order of their first mention.

        If this fails, check that tags are stored as a list, not as a set.
        """
        record = await self.remember(memory, "ann", "prefers tea", tags=["warm", "drink", "warm"])
        assert (await memory.get(record.id)).tags == ["warm", "drink"]

    async def test_extension_fields_round_trip(self, memory: AsyncMemory) -> None:
        """Fields named `x-…` come back as they were given.

        If this fails, check that extensions are stored as JSON and merged into the record when it is read.
        """
        extension = {"ids": [1, 2], "deep": {"none": None, "yes": True, "text": "é"}}
        record = await self.remember(memory, "ann", "prefers tea", **{"x-kit": extension})
        assert ((await memory.get(record.id)).model_extra or {}).get("x-kit") == extension

    async def test_extension_field_of_null_is_a_value_wherever_the_memory_is_shown(self, memory: AsyncMemory) -> None:
        """A null under a name `x-…` is kept like any other value; it does not mean that the field was not given.

        If this fails, check what leaves out members without a value on the way to the store or back.
        """
        given = {"x-null": None, "x-deep": {"none": None, "list": [None, {"none": None}]}}
        record = await self.remember(memory, "ann", "prefers tea", **given)
        seen = [record, await memory.get(record.id), *await self.listed(memory, "ann")]
        if self.declares("keyword_search") or self.declares("vector_search"):
            seen += [result.memory for result in await memory.search("tea", "ann")]
        if self.declares("updates"):
            seen.append(await memory.update(record.id, content="prefers coffee"))
            if self.declares("versions"):
                seen += await memory.history(record.id)
        for one in seen:
            extra = one.model_extra or {}
            assert {name: extra.get(name, "nothing") for name in given} == given
        if self.declares("portability"):
            [line] = [text for text in await self.exported(memory, "ann") if record.id in text]
            assert json.loads(line)["memory"].items() >= given.items()

    async def test_numbers_of_extension_fields_come_back_as_they_went_in(self, memory: AsyncMemory) -> None:
        """A number keeps its value, its sign and whether it is a whole number, however large or small it is.

        If this fails, check what the store makes of JSON numbers: many keep decimals or doubles only.
        """
        numbers = {
            "floats": [1e16, 1e300, -1.5e-300, 5e-324, 0.1, 1.0, -0.0],
            "nested": {"big": 10**30, "odd": 2**53 + 1},
        }
        record = await self.remember(memory, "ann", "prefers tea", **{"x-kit": numbers, "x-n": -0.0, "x-1e5": "1e5"})
        for found in (await memory.get(record.id), (await self.listed(memory, "ann"))[0]):
            extra = found.model_extra or {}
            assert repr([extra.get(name) for name in ("x-kit", "x-n", "x-1e5")]) == repr([numbers, -0.0, "1e5"])

    async def test_fields_that_nobody_knows_come_back(self, memory: AsyncMemory) -> None:
        """Fields of the caller's own, and of its `source`, are kept under whatever names; a near miss is refused.

        If this fails, check that the store filters no extensions by their names.
        """
        source = {"app": "notes", "uri": "app://1", "page": {"n": 3}}
        extra = {"later": {"a": [1, None]}, "language": "de", "x-kit": True}
        record = await self.remember(memory, "ann", "prefers tea", source=source, extra=extra)
        item: Any = {"content": "likes milk", "later": 1, "source": source}
        (other,) = await memory.add_many([item], user_id="ann")
        await self.settle(memory, [other.id], "ann")
        for got in (record, await memory.get(record.id), (await self.listed(memory, "ann"))[-1]):
            assert {name: (got.model_extra or {}).get(name) for name in extra} == extra
            assert got.source is not None
            assert got.source.model_dump(exclude_none=True) == source
        assert ((await memory.get(other.id)).model_extra or {}).get("later") == 1
        wrongs: list[dict[str, Any]] = [{"extra": {"scoope": "a"}}, {"extra": {"id": "m"}}, {"source": {"tpye": "a"}}]
        for wrong in wrongs:
            with pytest.raises(InvalidRequestError, match="is unknown"):
                await memory.add(content="prefers tea", user_id="ann", **wrong)

    @needs("updates")
    async def test_update_changes_single_fields_of_the_callers_own(self, memory: AsyncMemory) -> None:
        """`update` sets the named extension fields, clears those given as `None`, and leaves the others.

        If this fails, check that `change.fields["extensions"]` is merged with what is stored.
        """
        fields: dict[str, Any] = {"x-a": 1, "x-b": {"c": 2}, "x-c": 3}
        record = await self.remember(memory, "ann", "prefers tea", **fields, extra={"later": 4})
        named: dict[str, Any] = {"x-a": {"d": 7}, "x-b": None}
        changed = await memory.update(record.id, extra={"later": 5, "x-new": [6]}, **named)
        await self.settle(memory, [record.id], "ann")
        assert (changed.content, changed.version) == ("prefers tea", 2)
        for got in (changed, await memory.get(record.id)):
            own = got.model_extra or {}
            assert "x-b" not in own
            assert {name: own.get(name) for name in ("x-a", "x-c", "later", "x-new")} == {
                "x-a": {"d": 7},
                "x-c": 3,
                "later": 5,
                "x-new": [6],
            }

    @needs("temporal")
    async def test_times_of_other_zones_are_the_same_instants(self, memory: AsyncMemory) -> None:
        """A time may carry any offset, or be ISO-8601 text; the instant is what counts.

        If this fails, check the conversion to UTC and that at least microseconds are kept.
        """
        begin = datetime(2020, 2, 29, 23, 30, 1, 234567, timezone(timedelta(hours=5, minutes=45)))
        record = await self.remember(
            memory, "ann", "moves house", valid_from=begin, valid_to="2199-12-31T23:59:59-11:00"
        )
        got = await memory.get(record.id)
        assert got.valid_from == begin
        assert got.valid_to == datetime(2200, 1, 1, 10, 59, 59, tzinfo=UTC)

    async def test_unknown_id_is_not_found(self, memory: AsyncMemory) -> None:
        """`get` and `delete` of an unknown id raise `NotFoundError`.

        If this fails, check how the provider tells that no row was read or removed.
        """
        with pytest.raises(NotFoundError):
            await memory.get("nobody-has-this")
        with pytest.raises(NotFoundError):
            await memory.delete("nobody-has-this")

    @needs("updates")
    async def test_update_of_an_unknown_id_is_not_found(self, memory: AsyncMemory) -> None:
        """`update` of an unknown id raises `NotFoundError` and stores nothing.

        If this fails, check that update does not insert.
        """
        with pytest.raises(NotFoundError):
            await memory.update("nobody-has-this", content="prefers coffee")
        assert await self.contents(memory, "ann") == []

    @needs("updates")
    async def test_update_changes_only_what_it_names(self, memory: AsyncMemory) -> None:
        """`update` replaces the named fields, raises the version by one, and leaves the rest alone.

        If this fails, check that fields which were not given are left out of the statement.
        """
        before = await self.remember(memory, "ann", "prefers tea", tags=["drink"], confidence=0.5)
        after = await memory.update(before.id, content="prefers coffee")
        await self.settle(memory, [after.id], "ann")
        assert (after.id, after.content, after.version) == (before.id, "prefers coffee", 2)
        assert (after.tags, after.confidence, after.created_at) == (["drink"], 0.5, before.created_at)
        assert after.updated_at is not None
        assert after.updated_at >= before.created_at
        assert (await memory.get(before.id)).model_dump(exclude={"status"}) == after.model_dump(exclude={"status"})

    @needs("updates")
    async def test_update_with_none_clears_the_field(self, memory: AsyncMemory) -> None:
        """`None` empties a field; it does not mean "leave it".

        If this fails, check that a given None and an absent argument are told apart all the way down.
        """
        record = await self.remember(memory, "ann", "prefers tea", tags=["drink"], confidence=0.5)
        cleared = await memory.update(record.id, tags=None, confidence=None)
        assert (cleared.tags or [], cleared.confidence) == ([], None)
        assert (await memory.get(record.id)).confidence is None
        nothing: Any = None
        with pytest.raises(InvalidRequestError, match="content"):
            await memory.update(record.id, content=nothing)

    @needs("updates")
    async def test_update_with_nothing_given_changes_nothing(self, memory: AsyncMemory) -> None:
        """`update` without a field returns the memory as it is: same version, same time.

        If this fails, check that an empty change does not reach the write.
        """
        before = await self.remember(memory, "ann", "prefers tea")
        same = await memory.update(before.id)
        assert (same.version, same.updated_at, same.content) == (1, before.updated_at, "prefers tea")

    @needs("updates", "keyword_search")
    async def test_updated_text_is_found_and_the_old_one_is_not(self, memory: AsyncMemory) -> None:
        """The keyword index follows an update.

        If this fails, check that the old index entry is removed in the transaction of the update.
        """
        record = await self.remember(memory, "ann", "prefers tea")
        await memory.update(record.id, content="prefers coffee")
        await self.settle(memory, [record.id], "ann")
        assert await self.found(memory, "tea", "ann", mode="keyword") == []
        assert await self.found(memory, "coffee", "ann", mode="keyword") == ["prefers coffee"]

    async def test_many_adds_at_once_are_all_stored(self, memory: AsyncMemory) -> None:
        """One client may be used many times at once; nothing is lost and every memory has its own id.

        If this fails, check locking around the connection, and retries of a busy backend.
        """
        thunks = [partial(memory.add, content=f"fact {n}", user_id="ann") for n in range(30)]
        records = await async_gather(*thunks)
        await self.settle(memory, ids_of(records), "ann")
        assert len(set(ids_of(records))) == 30
        assert await self.contents(memory, "ann") == sorted(f"fact {n}" for n in range(30))

    async def test_waiting_for_an_unknown_memory_is_not_found(self, memory: AsyncMemory) -> None:
        """`wait_for_ingest` returns for memories that are there, and raises `NotFoundError` for unknown ids.

        If this fails, check that waiting looks the ids up for that user.
        """
        record = await self.remember(memory, "ann", "prefers tea")
        await memory.wait_for_ingest([record.id], "ann", timeout=10)
        with pytest.raises(NotFoundError):
            await memory.wait_for_ingest([record.id, "nobody-has-this"], "ann", timeout=1)
        with pytest.raises(NotFoundError):
            await memory.wait_for_ingest([record.id], "bob", timeout=1)
