"""Rules about time: when a memory holds, and what replaces it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from openmem import AsyncMemory
from openmem.errors import InvalidRequestError
from openmem.testing._async.rules import Rules, needs
from openmem.testing.moments import days

EVER: Final = {"valid_from": datetime.min.replace(tzinfo=UTC), "valid_to": datetime.max.replace(tzinfo=UTC)}


class TimeRules(Rules):
    """valid_from, valid_to, supersedes, as_of, include_superseded, include_expired."""

    async def _shown(self, memory: AsyncMemory, user_id: str = "ann", **view: Any) -> list[str]:
        """Return what is visible, after making sure that list, search and context agree about it."""
        listed = await self.contents(memory, user_id, **view)
        assert await self.found(memory, "tea", user_id, limit=50, **view) == listed
        if set(view) <= {"as_of"}:
            block = await memory.context("tea", user_id, token_budget=5_000, **view)
            assert len(block.citations) == len(listed)
            assert all(text in block.text for text in listed)
        return listed

    @needs("temporal")
    async def test_memory_outside_its_window_is_hidden(self, memory: AsyncMemory) -> None:
        """Before `valid_from` and from `valid_to` on, a memory is not listed, found or put into a context.

        If this fails, check that the window is part of the query and compared with the present time in UTC.
        """
        await self.remember(memory, "ann", "tea past", valid_from=days(-20), valid_to=days(-10))
        await self.remember(memory, "ann", "tea over", valid_to=days(-1))
        await self.remember(memory, "ann", "tea now", valid_from=days(-5), valid_to=days(5))
        await self.remember(memory, "ann", "tea coming", valid_from=days(10))
        await self.remember(memory, "ann", "tea always")
        assert await self._shown(memory) == ["tea always", "tea now"]

    @needs("temporal")
    async def test_memory_outside_its_window_is_shown_on_request(self, memory: AsyncMemory) -> None:
        """`include_expired=True` shows what is not valid yet or no longer.

        If this fails, check that the flag drops both ends of the window.
        """
        await self.remember(memory, "ann", "tea over", valid_to=days(-1))
        await self.remember(memory, "ann", "tea coming", valid_from=days(10))
        await self.remember(memory, "ann", "tea always")
        assert await self._shown(memory, include_expired=True) == ["tea always", "tea coming", "tea over"]

    @needs("temporal")
    async def test_the_first_and_the_last_moment_come_back_in_utc(self, memory: AsyncMemory) -> None:
        """A window from the year 1 to the end of 9999 comes back as it was given, with its time zone, from every verb.

        If this fails, check for a database that keeps such moments as infinity, and for a driver that reads that
        without a time zone.
        """
        stored = await self.remember(memory, "ann", "tea ever", **EVER)
        seen = [stored, await memory.get(stored.id), *(await memory.list("ann")).items]
        seen += [result.memory for result in await memory.search("tea", "ann")]
        assert [{name: getattr(record, name) for name in EVER} for record in seen] == [EVER] * 4

    @needs("temporal", "updates")
    async def test_the_first_and_the_last_moment_survive_an_update(self, memory: AsyncMemory) -> None:
        """A memory with such a window can be changed, and can be given one.

        If this fails, check where the window that is stored is compared with the one that is given.
        """
        stored = await self.remember(memory, "ann", "tea ever", **EVER)
        changed = await memory.update(stored.id, content="tea for ever")
        again = await memory.update(stored.id, valid_to=EVER["valid_to"])
        assert [{name: getattr(record, name) for name in EVER} for record in (changed, again)] == [EVER] * 2

    @needs("temporal", "updates", "history")
    async def test_the_first_and_the_last_moment_are_in_earlier_versions(self, memory: AsyncMemory) -> None:
        """An earlier version keeps such a window, too.

        If this fails, check how earlier versions are read.
        """
        stored = await self.remember(memory, "ann", "tea ever", **EVER)
        await memory.update(stored.id, content="tea for ever")
        (earlier,) = await memory.history(stored.id)
        assert {name: getattr(earlier, name) for name in EVER} == EVER

    @needs("temporal", "portability")
    async def test_the_first_and_the_last_moment_survive_a_move(self, memory: AsyncMemory) -> None:
        """An export with such a window can be imported.

        If this fails, check whether the export has moments without a time zone.
        """
        stored = await self.remember(memory, "ann", "tea ever", **EVER)
        lines = await self.exported(memory, "ann")
        assert (await memory.import_(lines, conflict="overwrite")).overwritten == 1
        found = await memory.get(stored.id)
        assert {name: getattr(found, name) for name in EVER} == EVER

    @needs("temporal")
    async def test_memory_outside_its_window_is_still_got_by_id(self, memory: AsyncMemory) -> None:
        """`get` knows no window.

        If this fails, check that by-id reads do not apply the filter of list and search.
        """
        record = await self.remember(memory, "ann", "tea over", valid_to=days(-1))
        assert (await memory.get(record.id)).content == "tea over"

    @needs("temporal", "updates")
    async def test_ended_memory_disappears_and_reopened_one_returns(self, memory: AsyncMemory) -> None:
        """`update(valid_to=)` in the past hides a memory, and `None` shows it again.

        If this fails, check that indexes and caches of the window follow an update.
        """
        record = await self.remember(memory, "ann", "tea always")
        await memory.update(record.id, valid_to=days(-1))
        assert await self._shown(memory) == []
        await memory.update(record.id, valid_to=None)
        assert await self._shown(memory) == ["tea always"]

    @needs("temporal", "updates")
    async def test_window_that_would_end_before_it_begins_is_refused(self, memory: AsyncMemory) -> None:
        """`valid_to` must be later than `valid_from`, also when an update moves it; nothing is changed then.

        If this fails, check the update against the stored `valid_from`.
        """
        with pytest.raises(InvalidRequestError, match="valid_to"):
            await memory.add(content="tea", user_id="ann", valid_from=days(2), valid_to=days(1))
        record = await self.remember(memory, "ann", "tea", valid_from=days(-2))
        with pytest.raises(InvalidRequestError, match="valid_to"):
            await memory.update(record.id, valid_to=days(-3))
        assert (await memory.get(record.id)).version == 1

    @needs("temporal")
    async def test_as_of_judges_windows_at_that_time(self, memory: AsyncMemory) -> None:
        """`as_of=` shows what held then: from `valid_from`, or else the creation, until before `valid_to`.

        If this fails, check that every comparison uses the given time and none the present.
        """
        await self.remember(memory, "ann", "tea past", valid_from=days(-20), valid_to=days(-10))
        await self.remember(memory, "ann", "tea coming", valid_from=days(10), valid_to=days(20))
        await self.remember(memory, "ann", "tea always")
        assert await self._shown(memory, as_of=days(-15)) == ["tea past"]
        assert await self._shown(memory, as_of=days(-5)) == []
        assert await self._shown(memory, as_of=days(5)) == ["tea always"]
        assert await self._shown(memory, as_of=days(15)) == ["tea always", "tea coming"]

    @needs("temporal")
    async def test_window_includes_its_begin_and_excludes_its_end(self, memory: AsyncMemory) -> None:
        """A memory holds at `valid_from` itself and no longer at `valid_to` itself.

        If this fails, check the direction and the kind (`<` or `<=`) of both comparisons.
        """
        begin, end = days(-20), days(-10)
        await self.remember(memory, "ann", "tea past", valid_from=begin, valid_to=end)
        assert await self._shown(memory, as_of=begin) == ["tea past"]
        assert await self._shown(memory, as_of=end) == []

    @needs("temporal")
    async def test_as_of_on_each_verb_by_itself(self, memory: AsyncMemory) -> None:
        """A memory that was created today is unknown to yesterday, on every verb that takes `as_of`.

        If this fails, check that `as_of` is passed on by context as well as by list and search.
        """
        await self.remember(memory, "ann", "tea")
        assert (await memory.context("tea", "ann", as_of=days(-1))).text == ""
        assert await memory.search("tea", "ann", as_of=days(-1)) == []
        assert (await memory.list("ann", as_of=days(-1))).items == []

    @needs("temporal")
    async def test_include_expired_in_a_search_by_itself(self, memory: AsyncMemory) -> None:
        """`include_expired` in `search` takes nothing away from what is valid.

        If this fails, check that the flag widens the filter only.
        """
        await self.remember(memory, "ann", "tea")
        assert await self.found(memory, "tea", "ann", include_expired=True) == ["tea"]

    @needs("supersession")
    async def test_superseded_memory_is_hidden_and_still_reachable(self, memory: AsyncMemory) -> None:
        """A memory named in another's `supersedes` is hidden; `get` and `include_superseded` still show it.

        If this fails, check that the filter looks the id up among the user's other memories.
        """
        old = await self.remember(memory, "ann", "tea with milk")
        new = await self.remember(memory, "ann", "tea without milk", supersedes=[old.id])
        assert new.supersedes == [old.id]
        assert await self._shown(memory) == ["tea without milk"]
        assert await self._shown(memory, include_superseded=True) == ["tea with milk", "tea without milk"]
        assert (await memory.get(old.id)).content == "tea with milk"

    @needs("supersession", "temporal")
    @pytest.mark.parametrize(
        "begin", [datetime(1970, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)]
    )
    async def test_supersession_begins_when_the_newer_memory_does(self, memory: AsyncMemory, begin: datetime) -> None:
        """A memory that holds from exactly 1970-01-01T00:00:00Z on hides the older one from then on, not from now on.

        If this fails, check that no time is taken for a missing one because its number is 0.
        """
        old = await self.remember(memory, "ann", "tea with milk", valid_from=datetime(1960, 1, 1, tzinfo=UTC))
        await self.remember(memory, "ann", "tea without milk", valid_from=begin, supersedes=[old.id])
        assert await self._shown(memory, as_of=begin - timedelta(seconds=1)) == ["tea with milk"]
        assert await self._shown(memory, as_of=begin) == ["tea without milk"]
        assert await self._shown(memory, as_of=begin + timedelta(days=365)) == ["tea without milk"]

    @needs("supersession")
    async def test_include_superseded_in_a_search_by_itself(self, memory: AsyncMemory) -> None:
        """`include_superseded` in `search` takes nothing away from what is not superseded.

        If this fails, check that the flag widens the filter only.
        """
        await self.remember(memory, "ann", "tea")
        assert await self.found(memory, "tea", "ann", include_superseded=True) == ["tea"]

    @needs("supersession")
    async def test_whole_chain_but_its_end_is_hidden(self, memory: AsyncMemory) -> None:
        """In a chain each memory hides the one before it, although it is hidden itself.

        If this fails, check that a hidden memory still supersedes.
        """
        one = await self.remember(memory, "ann", "tea one")
        two = await self.remember(memory, "ann", "tea two", supersedes=[one.id])
        three = await self.remember(memory, "ann", "tea three", supersedes=[two.id])
        assert await self._shown(memory) == ["tea three"]
        await memory.delete(three.id)
        assert await self._shown(memory) == ["tea two"]

    @needs("supersession")
    async def test_deleting_the_replacement_shows_the_replaced_again(self, memory: AsyncMemory) -> None:
        """A superseded memory becomes visible again when the superseding memory is deleted.

        If this fails, check that being superseded is looked up and not written into the old memory.
        """
        old = await self.remember(memory, "ann", "tea with milk")
        new = await self.remember(memory, "ann", "tea without milk", supersedes=[old.id])
        await memory.delete(new.id)
        assert await self._shown(memory) == ["tea with milk"]

    @needs("supersession", "updates")
    async def test_update_begins_and_ends_supersession(self, memory: AsyncMemory) -> None:
        """`update(supersedes=)` hides the named memories, and `None` shows them again.

        If this fails, check that the list of replaced ids is replaced as a whole.
        """
        old = await self.remember(memory, "ann", "tea with milk")
        new = await self.remember(memory, "ann", "tea without milk")
        await memory.update(new.id, supersedes=[old.id])
        assert await self._shown(memory) == ["tea without milk"]
        await memory.update(new.id, supersedes=None)
        assert await self._shown(memory) == ["tea with milk", "tea without milk"]

    @needs("supersession")
    async def test_unknown_superseded_id_is_kept_for_later(self, memory: AsyncMemory) -> None:
        """`supersedes` may name memories that are not there: it is stored as given and hides nothing else.

        If this fails, check that nothing forces the ids to exist.
        """
        record = await self.remember(memory, "ann", "tea", supersedes=["not-here-yet"])
        assert (await memory.get(record.id)).supersedes == ["not-here-yet"]
        assert await self._shown(memory) == ["tea"]

    @needs("supersession")
    async def test_other_users_cannot_supersede(self, memory: AsyncMemory) -> None:
        """Naming another user's memory in `supersedes` has no effect on that user.

        If this fails, check that the lookup of superseding memories is limited to the owner.
        """
        mine = await self.remember(memory, "ann", "tea with milk")
        await self.remember(memory, "bob", "tea without milk", supersedes=[mine.id])
        assert await self._shown(memory, "ann") == ["tea with milk"]
        own = await self.remember(memory, "ann", "tea with lemon", supersedes=[mine.id])
        await memory.delete(own.id)
        assert await self._shown(memory, "ann") == ["tea with milk"]

    @needs("supersession", "temporal")
    async def test_replacement_of_the_future_does_not_hide_yet(self, memory: AsyncMemory) -> None:
        """A superseding memory hides from its own `valid_from` on, or else from its creation.

        If this fails, check that the superseding memory's begin is compared with the time asked about.
        """
        old = await self.remember(memory, "ann", "tea with milk", valid_from=days(-30))
        await self.remember(memory, "ann", "tea without milk", supersedes=[old.id], valid_from=days(10))
        assert await self._shown(memory) == ["tea with milk"]
        assert await self._shown(memory, as_of=days(15)) == ["tea without milk"]

    @needs("supersession", "temporal")
    async def test_as_of_before_the_replacement_shows_the_replaced(self, memory: AsyncMemory) -> None:
        """Asked about a time before it was replaced, the old memory is what held.

        If this fails, check that supersession is judged at `as_of` too.
        """
        old = await self.remember(memory, "ann", "tea with milk", valid_from=days(-30))
        await self.remember(memory, "ann", "tea without milk", supersedes=[old.id])
        assert await self._shown(memory, as_of=days(-10)) == ["tea with milk"]
        assert await self._shown(memory) == ["tea without milk"]
