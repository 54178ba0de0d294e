"""Rules about memories that supersede one another in a circle: the one that was written last wins."""

from __future__ import annotations

import json

import pytest

from openmem import AsyncMemory, InvalidRequestError, MemoryItem
from openmem.testing._async.rules import Rules, needs
from openmem.testing.moments import days
from openmem.types import MemoryRecord


class CircleRules(Rules):
    """supersedes, where it leads back to where it began."""

    async def _agreed(self, memory: AsyncMemory) -> list[str]:
        """Return what is visible, after making sure that list and search agree about it."""
        listed = await self.contents(memory, "ann")
        assert await self.found(memory, "tea", "ann", limit=50) == listed
        return listed

    async def _chain(self, memory: AsyncMemory, count: int) -> list[MemoryRecord]:
        """Store memories of which each supersedes the one before it."""
        chain: list[MemoryRecord] = []
        for number in range(count):
            before = [chain[-1].id] if chain else None
            chain.append(await self.remember(memory, "ann", f"tea {number}", supersedes=before))
        return chain

    @needs("supersession", "updates")
    @pytest.mark.parametrize("count", [2, 3, 5])
    async def test_memory_that_closes_a_circle_wins(self, memory: AsyncMemory, count: int) -> None:
        """If the oldest of a chain is made to supersede the newest, it is shown and the others are hidden.

        If this fails, check what the store does with a supersession that leads back to where it began: it must not
        hide everything.
        """
        chain = await self._chain(memory, count)
        changed = await memory.update(chain[0].id, supersedes=[chain[-1].id])
        assert changed.supersedes == [chain[-1].id]
        assert await self._agreed(memory) == ["tea 0"]
        assert changed == await memory.get(chain[0].id)

    @needs("supersession", "updates")
    async def test_each_word_in_turn_wins(self, memory: AsyncMemory) -> None:
        """A circle that is closed by updates shows whichever was changed last, again and again.

        If this fails, check that a circle is judged again whenever one of its memories changes.
        """
        one, two, three = [await self.remember(memory, "ann", f"tea {number}") for number in range(3)]
        for older, newer in ((two, one), (three, two), (one, three)):
            await memory.update(newer.id, supersedes=[older.id])
        assert await self._agreed(memory) == ["tea 2"]
        for record, shown in ((one, "tea 0"), (two, "tea 1"), (three, "tea 2"), (one, "tea 0")):
            await memory.update(record.id, confidence=0.5)
            assert await self._agreed(memory) == [shown]

    @needs("supersession", "updates")
    async def test_circle_that_is_opened_hides_as_a_chain_does(self, memory: AsyncMemory) -> None:
        """Once a memory of a circle takes its word back or is deleted, what the others said counts again.

        If this fails, check that a supersession which did not count is kept.
        """
        one, two, three = await self._chain(memory, 3)
        await memory.update(one.id, supersedes=[three.id])
        await memory.update(one.id, supersedes=None)
        assert await self._agreed(memory) == ["tea 2"]
        await memory.update(one.id, supersedes=[three.id])
        await memory.delete(two.id)
        assert await self._agreed(memory) == ["tea 0"]
        await memory.delete(one.id)
        assert await self._agreed(memory) == ["tea 2"]

    @needs("supersession", "keys")
    async def test_circle_by_keys_shows_the_last_word(self, memory: AsyncMemory) -> None:
        """A memory that is added again under its key and supersedes what superseded it wins.

        If this fails, check the circle where an `add` replaces a memory, too.
        """
        one = await self.remember(memory, "ann", "tea one", key="one")
        two = await self.remember(memory, "ann", "tea two", key="two", supersedes=[one.id])
        await self.remember(memory, "ann", "tea one", key="one", supersedes=[two.id])
        assert await self._agreed(memory) == ["tea one"]
        await self.remember(memory, "ann", "tea two", key="two", supersedes=[one.id])
        assert await self._agreed(memory) == ["tea two"]

    @needs("supersession", "updates")
    async def test_update_to_supersede_itself_is_refused(self, memory: AsyncMemory) -> None:
        """No memory supersedes itself: that is an `InvalidRequestError`, and the memory is as it was.

        If this fails, check that a change is judged before anything of it is stored.
        """
        record = await self.remember(memory, "ann", "tea")
        with pytest.raises(InvalidRequestError, match="itself"):
            await memory.update(record.id, supersedes=[record.id])
        after = await memory.get(record.id)
        assert (after.content, after.supersedes, after.version) == ("tea", None, record.version)
        assert await self._agreed(memory) == ["tea"]

    @needs("supersession", "keys")
    async def test_add_under_a_key_to_supersede_itself_is_refused(self, memory: AsyncMemory) -> None:
        """An `add` that would change a memory into one that supersedes itself is refused, too.

        If this fails, check what an `add` does that finds its key taken.
        """
        record = await self.remember(memory, "ann", "tea", key="drink")
        with pytest.raises(InvalidRequestError, match="itself"):
            await memory.add(content="coffee", user_id="ann", key="drink", supersedes=[record.id])
        after = await memory.get(record.id)
        assert (after.content, after.supersedes, after.version) == ("tea", None, record.version)
        assert await self._agreed(memory) == ["tea"]

    @needs("supersession", "keys", "batches")
    async def test_later_item_of_a_batch_has_the_last_word(self, memory: AsyncMemory) -> None:
        """Items of one `add_many` are one after the other, also where they were written at the same moment.

        If this fails, check what decides between two memories of the same time.
        """
        one = await self.remember(memory, "ann", "tea one", key="one")
        two = await self.remember(memory, "ann", "tea two", key="two")
        for last in ("one", "two"):
            items: list[MemoryItem] = [
                {"content": "tea one", "user_id": "ann", "key": "one", "supersedes": [two.id]},
                {"content": "tea two", "user_id": "ann", "key": "two", "supersedes": [one.id]},
            ]
            await memory.add_many(items if last == "two" else items[::-1])
            assert await self._agreed(memory) == [f"tea {last}"]

    @needs("supersession", "updates", "portability", "erasure")
    async def test_imported_circle_shows_what_it_showed(self, memory: AsyncMemory) -> None:
        """A circle that is exported and imported, in whatever order and parts, shows the same memory as before.

        If this fails, check that the circle is judged by what the records say, and after each part.
        """
        chain = await self._chain(memory, 3)
        await memory.update(chain[0].id, supersedes=[chain[2].id])
        header, *lines = await self.exported(memory, "ann")
        for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
            await memory.delete_all("ann")
            for place in order:
                await memory.import_([header, lines[place]])
                assert await self.contents(memory, "ann") != []
            await self.settle(memory, [record.id for record in chain], "ann")
            assert await self._agreed(memory) == ["tea 0"]

    @needs("supersession", "portability")
    async def test_circle_made_by_hand_shows_what_was_written_last(self, memory: AsyncMemory) -> None:
        """Of imported memories that supersede one another, the one with the latest time is shown.

        If this fails, check that an import of a circle neither fails nor hides everything.
        """
        one = await self.remember(memory, "ann", "tea")
        header, line = await self.exported(memory, "ann")
        await memory.delete(one.id)
        ring = ["ring0", "ring1", "ring2", "ring3"]
        made = [
            json.loads(line)["memory"]
            | {"id": id_, "content": f"tea {id_}", "supersedes": [ring[place - 1]]}
            | {"created_at": days(-10 + place).isoformat()}
            for place, id_ in enumerate(ring)
        ]
        await memory.import_([header, *(json.dumps({"memory": one}) for one in made)])
        await self.settle(memory, ring, "ann")
        assert await self._agreed(memory) == ["tea ring3"]
