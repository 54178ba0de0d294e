"""Rules about the feed of changes: every write comes once, in order, without content, and none is skipped."""

from __future__ import annotations

import json

import pytest

from openmem import AsyncMemory
from openmem.errors import InvalidRequestError
from openmem.testing._async.rules import OpenMemory, Rules, needs
from openmem.testing.moments import days
from openmem.types import Change


class ChangeRules(Rules):
    """changes."""

    async def _all(
        self, memory: AsyncMemory, user_id: str | None = None, *, cursor: str | None = None, limit: int = 100
    ) -> tuple[list[Change], str]:
        """Return the changes behind a cursor, page after page, and the cursor at their end."""
        page = await memory.changes(user_id, cursor=cursor, limit=limit)
        items = list(page.items)
        while page.has_more:
            before = page.next_cursor
            page = await memory.changes(user_id, cursor=before, limit=limit)
            assert page.next_cursor != before, "the cursor does not move on"
            items += page.items
        return items, page.next_cursor

    @needs("changes", "updates")
    async def test_each_write_is_a_change_in_the_order_of_the_writes(self, memory: AsyncMemory) -> None:
        """`add`, `update` and `delete` come oldest first, with version, scope, time and app; reads do not come.

        If this fails, check that the entry of a write notes the version that the write left or took away.
        """
        first = await self.remember(memory, "ann", "prefers tea", scope="home/kitchen")
        second = await self.remember(memory, "ann", "plays chess")
        await memory.get(first.id)
        await memory.search("tea", "ann")
        await memory.update(first.id, content="prefers coffee", scope="office")
        await memory.delete(second.id)
        items, _ = await self._all(memory, "ann")
        assert [(one.action, one.memory_id, one.scope, one.version) for one in items] == [
            ("add", first.id, "home/kitchen", 1),
            ("add", second.id, None, 1),
            ("update", first.id, "office", 2),
            ("delete", second.id, None, 1),
        ]
        assert {(one.user_id, one.app) for one in items} == {("ann", "kit")}
        assert all(one.timestamp is not None and days(-1) < one.timestamp < days(1) for one in items)

    @needs("changes", "keys", "batches")
    async def test_adding_a_key_again_is_an_add_of_the_next_version(self, memory: AsyncMemory) -> None:
        """A memory that is replaced by its key comes as `add`, with the version that it has then; in batches, too.

        If this fails, check the entries of memories that a batch finds by their keys.
        """
        first = await memory.add(content="one", user_id="ann", key="k")
        await memory.add_many([{"content": "new"}, {"content": "two", "key": "k"}], user_id="ann")
        await memory.add(content="three", user_id="ann", key="k")
        items, _ = await self._all(memory, "ann")
        assert [(one.action, one.version) for one in items if one.memory_id == first.id] == [
            ("add", 1),
            ("add", 2),
            ("add", 3),
        ]
        assert len(items) == 4

    @needs("changes")
    async def test_cursor_of_a_page_or_of_a_change_leads_to_what_comes_behind_it(self, memory: AsyncMemory) -> None:
        """Pages of any size show every change once; a cursor goes on at the end as soon as something changes.

        If this fails, check that a cursor names the last change that was shown, and not a number of changes.
        """
        ids = [(await memory.add(content=f"fact {number}", user_id="ann")).id for number in range(7)]
        for limit in (1, 3, 7, 8):
            items, end = await self._all(memory, "ann", limit=limit)
            assert [one.memory_id for one in items] == ids
        again, _ = await self._all(memory, "ann", cursor=items[2].cursor)
        assert [one.memory_id for one in again] == ids[3:]
        items, end = await self._all(memory, "ann", cursor=end)
        assert items == []
        last = await memory.add(content="the last one", user_id="ann")
        items, _ = await self._all(memory, "ann", cursor=end)
        assert [one.memory_id for one in items] == [last.id]

    @needs("changes")
    async def test_feed_of_an_unknown_user_begins_with_the_first_memory(self, memory: AsyncMemory) -> None:
        """A user without memories has an empty feed, whose cursor shows the first one later.

        If this fails, check that the cursor does not depend on the user being known.
        """
        page = await memory.changes("ann")
        assert (page.items, page.has_more) == ([], False)
        await memory.add(content="of another", user_id="bob")
        first = await memory.add(content="prefers tea", user_id="ann")
        items, _ = await self._all(memory, "ann", cursor=page.next_cursor)
        assert [one.memory_id for one in items] == [first.id]

    @needs("changes")
    async def test_feed_of_all_users_holds_each_of_theirs_in_order(self, memory: AsyncMemory) -> None:
        """Without a user, the changes of all come, those of each in order, again in pages of any size.

        If this fails, check that the order of all users stays as it was once it was read.
        """
        written: dict[str, list[str | None]] = {"ann": [], "bob": [], "cat": []}
        cursor, seen = None, list[Change]()
        for turn in range(3):
            for user_id, ids in written.items():
                ids += [(await memory.add(content=f"fact {turn} {n}", user_id=user_id)).id for n in range(2)]
            items, cursor = await self._all(memory, cursor=cursor, limit=4)
            seen += items
        for user_id, ids in written.items():
            assert [one.memory_id for one in seen if one.user_id == user_id] == ids
        assert len(seen) == 18
        again, _ = await self._all(memory, limit=5)
        assert sorted(str(one.memory_id) for one in again) == sorted(str(one.memory_id) for one in seen)

    @needs("changes", "erasure")
    async def test_erasure_is_one_change_that_names_nothing(self, memory: AsyncMemory) -> None:
        """`delete_all` is one `delete_all`; what was done before to the erased memories is left out.

        If this fails, check that erased memories are not named any more, and that the erasure itself is shown.
        """
        await self.remember(memory, "ann", "prefers tea")
        await memory.delete_all("ann")
        after = await self.remember(memory, "ann", "plays chess")
        items, _ = await self._all(memory, "ann")
        assert [(one.action, one.memory_id, one.scope) for one in items] == [
            ("delete_all", None, None),
            ("add", after.id, None),
        ]

    @needs("changes", "erasure", "scopes")
    async def test_erasure_of_a_scope_names_the_scope(self, memory: AsyncMemory) -> None:
        """`delete_all(scope=)` tells the pattern, and what is elsewhere stays in the feed.

        If this fails, check that only the entries of the erased memories lose their names.
        """
        kept = await self.remember(memory, "ann", "plays chess", scope="home")
        await self.remember(memory, "ann", "prefers tea", scope="work/desk")
        await memory.delete_all("ann", scope="work/*")
        items, _ = await self._all(memory, "ann")
        assert [(one.action, one.memory_id, one.scope) for one in items] == [
            ("add", kept.id, "home"),
            ("delete_all", None, "work/*"),
        ]

    @needs("changes", "portability")
    async def test_import_is_in_the_feed_with_the_versions_that_it_brought(self, memory: AsyncMemory) -> None:
        """Each imported memory is an `add` with its version.

        If this fails, check the entries of an import.
        """
        record = await self.remember(memory, "ann", "prefers tea")
        if self.updates:
            record = await memory.update(record.id, content="prefers coffee")
        lines = await self.exported(memory, "ann")
        _, cursor = await self._all(memory, "ann")
        await memory.delete(record.id)
        await memory.import_(lines)
        items, _ = await self._all(memory, "ann", cursor=cursor)
        assert [(one.action, one.memory_id, one.version) for one in items] == [
            ("delete", record.id, record.version),
            ("add", record.id, record.version),
        ]

    @needs("changes")
    async def test_feed_never_tells_content(self, memory: AsyncMemory) -> None:
        """No change holds a word of what was remembered.

        If this fails, check what is put into a change beside its fields.
        """
        await self.remember(memory, "ann", "secret pineapple", tags=["mangosteen"])
        items, _ = await self._all(memory, "ann")
        text = json.dumps([one.model_dump(mode="json") for one in items])
        assert items
        assert not any(word in text for word in ("pineapple", "mangosteen"))

    @needs("changes")
    async def test_cursor_of_another_feed_is_refused(self, memory: AsyncMemory, connect: OpenMemory) -> None:
        """A cursor works for the user it was given for, in every client, and nowhere else; a limit is 1 to 1,000.

        If this fails, check that the cursor is bound to its feed, and that arguments are checked.
        """
        await self.remember(memory, "ann", "prefers tea")
        cursor = (await memory.changes("ann")).next_cursor
        assert (await connect(app="other").changes("ann", cursor=cursor)).items == []
        for user_id in ("bob", None):
            with pytest.raises(InvalidRequestError):
                await memory.changes(user_id, cursor=cursor)
        for limit in (0, 1001):
            with pytest.raises(InvalidRequestError):
                await memory.changes("ann", limit=limit)
        with pytest.raises(InvalidRequestError):
            await memory.changes("ann", cursor="junk")
