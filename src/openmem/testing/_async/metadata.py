"""Rules about metadata: a JSON object of the caller's is kept with a memory, exactly as it was given."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openmem import AsyncMemory, MemoryItem
from openmem.errors import InvalidRequestError
from openmem.testing._async.rules import OpenMemory, Rules, needs
from openmem.types import MemoryRecord

GIVEN: dict[str, Any] = {
    "lang": "py",
    "none": None,
    "flags": [True, False, [], {}],
    "numbers": [1, 1.0, 0, 0.0, -0.0, 0.1, 1e16, 1e300, -1.5e-300, 5e-324, 10**30, 2**53 + 1],
    "deep": {"a": {"b": {"c": [{"d": "é 👩‍🔬 'q' \"w\" \\ \u2028 %s $1"}]}}},
    "a.b": 1,
    "$gt": 2,
    "": 3,
}


class MetadataRules(Rules):
    """`metadata` of add, add_many and update, and what shows them."""

    @needs("metadata")
    async def test_metadata_come_back_as_they_went_in_wherever_the_memory_is_shown(self, memory: AsyncMemory) -> None:
        """Metadata keep every value, also the kind and the sign of a number, however large; an empty object stays one.

        If this fails, check what the store makes of JSON numbers, and what leaves out members without a value.
        """
        record = await self.remember(memory, "ann", "prefers tea", metadata=GIVEN)
        empty: MemoryItem = {"content": "likes milk", "metadata": {}}
        bare: MemoryItem = {"content": "plays chess"}
        batch = await memory.add_many([empty, bare], user_id="ann")
        await self.settle(memory, [one.id for one in batch], "ann")
        assert [one.metadata for one in batch] == [{}, None]
        for one in batch:
            assert (await memory.get(one.id, user_id="ann")).metadata == one.metadata
        listed = await self.listed(memory, "ann")
        shown = [record, await memory.get(record.id), *(one for one in listed if one.id == record.id)]
        found = await memory.search("prefers tea", "ann")
        shown += [result.memory for result in found if result.memory.id == record.id]
        assert len(shown) == 4
        for one in shown:
            assert _text(one) == json.dumps(GIVEN, sort_keys=True)

    @needs("metadata", "updates")
    async def test_update_replaces_patches_and_clears_metadata(self, memory: AsyncMemory) -> None:
        """`metadata=` is the new whole, `metadata_patch=` merges as RFC 7396 says, and what is not named stays.

        If this fails, check that a change without metadata leaves them, and that a patch meets what is stored.
        """
        first = {"a": {"b": 1, "c": [1]}, "d": None}
        record = await self.remember(memory, "ann", "prefers tea", metadata=first, tags=["x"])
        steps: list[tuple[dict[str, Any], Any]] = [
            ({"content": "prefers oolong"}, first),
            (
                {"metadata_patch": {"a": {"b": None, "e": 2.0}, "f": [None]}},
                {"a": {"c": [1], "e": 2.0}, "d": None, "f": [None]},
            ),
            ({"metadata_patch": {"a": None, "d": None, "f": None}}, {}),
            ({"metadata": {"g": 1}, "tags": None}, {"g": 1}),
            ({"metadata": None}, None),
            ({"metadata_patch": {"h": 1, "i": None}}, {"h": 1}),
        ]
        for number, (change, wanted) in enumerate(steps, 2):
            changed = await memory.update(record.id, user_id="ann", **change)
            await self.settle(memory, [record.id], "ann")
            assert (changed.metadata, changed.version) == (wanted, number)
            assert (await memory.get(record.id)).metadata == wanted

    @needs("metadata", "updates", "history")
    async def test_history_shows_the_metadata_of_each_version(self, memory: AsyncMemory) -> None:
        """Each earlier version has the metadata that it had.

        If this fails, check that metadata are a part of what is kept of a version, and of what a step back changes.
        """
        states: list[dict[str, Any] | None] = [
            None,
            {"n": 1, "kept": ["x" * 200]},
            {"n": 1.0, "kept": ["x" * 200]},
            {"n": True, "kept": ["x" * 200]},
            {"kept": ["x" * 200]},
            {},
            None,
            {"n": -0.0},
            {"n": 0.0},
        ]
        record = await self.remember(memory, "ann", "prefers tea")
        for metadata in states[1:]:
            await memory.update(record.id, metadata=metadata)
        shown = [_text(one) for one in await memory.history(record.id, user_id="ann")]
        assert shown == [json.dumps(metadata, sort_keys=True) for metadata in reversed(states[:-1])]

    @needs("metadata", "keys")
    async def test_memory_replaced_by_its_key_has_the_new_metadata(self, memory: AsyncMemory) -> None:
        """Adding a key again replaces the metadata, too; without any, none are left.

        If this fails, check what of the earlier memory a key keeps.
        """
        await self.remember(memory, "ann", "lives in Oslo", key="home", metadata={"a": 1})
        await self.remember(memory, "ann", "lives in Rome", key="home", metadata={"b": 2})
        record = await memory.add("lives in Bern", user_id="ann", key="home")
        await self.settle(memory, [record.id], "ann")
        got = await memory.get(record.id, user_id="ann")
        assert (got.content, got.metadata, got.version) == ("lives in Bern", None, 3)

    @needs("metadata", "portability")
    async def test_export_and_import_carry_metadata(self, memory: AsyncMemory, connect: OpenMemory) -> None:
        """A line of an export holds the metadata, and an import brings them back as they were.

        If this fails, check what the export writes and what the import reads beside the fields of the protocol.
        """
        record = await self.remember(memory, "ann", "prefers tea", metadata=GIVEN)
        lines = await self.exported(memory, "ann")
        await memory.delete(record.id, user_id="ann")
        report = await memory.import_(lines)
        assert report.imported == 1
        [again] = await self.listed(memory, "ann")
        assert _text(again) == json.dumps(GIVEN, sort_keys=True)

    @needs("metadata", "updates")
    async def test_wrong_metadata_are_refused_and_nothing_is_stored(self, memory: AsyncMemory) -> None:
        """Metadata that are no object, too large or too deep, or hold what JSON cannot, change nothing.

        If this fails, check that a patch is measured together with what is stored, before anything is written.
        """
        record = await self.remember(memory, "ann", "prefers tea", metadata={"a": "x" * 40_000})
        wrong: list[Any] = [7, "{}", [1], {"a": float("nan")}, {1: 2}, {"a": "\0"}, {"a": "x" * 70_000}, {"a": {1}}]
        for metadata in wrong:
            with pytest.raises(InvalidRequestError, match="metadata"):
                await memory.add("likes milk", user_id="ann", metadata=metadata)
            with pytest.raises(InvalidRequestError, match="metadata"):
                await memory.update(record.id, metadata=metadata)
        with pytest.raises(InvalidRequestError, match="at most 65536 bytes"):
            await memory.update(record.id, content="changed", metadata_patch={"b": "x" * 40_000})
        with pytest.raises(InvalidRequestError, match="exclude each other"):
            await memory.update(record.id, metadata={}, metadata_patch={})
        [left] = await self.listed(memory, "ann")
        assert (left.content, left.version, left.metadata) == ("prefers tea", 1, {"a": "x" * 40_000})


def _text(record: MemoryRecord) -> str:
    return json.dumps(record.metadata, sort_keys=True)
