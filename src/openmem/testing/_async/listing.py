"""Rules about list: newest first, filters, and cursors that neither skip nor repeat."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from openmem import AsyncMemory
from openmem._io.concurrency.primitives import async_gather
from openmem.errors import InvalidRequestError
from openmem.testing._async.rules import Rules, ids_of, needs
from openmem.testing.moments import days
from openmem.types import MemoryRecord

JUNK_CURSORS = ["x", "1", "AAAA", "eyJ9", "not a cursor", "🙂", "null", "e30=", "9" * 5_000]


class ListingRules(Rules):
    """list."""

    async def _store_numbered(self, memory: AsyncMemory, count: int, user_id: str = "ann") -> list[MemoryRecord]:
        return [await self.remember(memory, user_id, f"fact {number}") for number in range(count)]

    async def test_list_is_newest_first(self, memory: AsyncMemory) -> None:
        """Memories are listed by creation time and then id, newest first.

        If this fails, check the order, and that ties are broken by the id in the same direction.
        """
        records = await self._store_numbered(memory, 12)
        expected = sorted(records, key=lambda record: (record.created_at, record.id), reverse=True)
        page = await memory.list("ann")
        assert ids_of(page.items) == ids_of(expected)
        assert page.next_cursor is None

    async def test_pages_hold_everything_once_in_order(self, memory: AsyncMemory) -> None:
        """Page after page gives the same list as one large page, and the last page has no cursor.

        If this fails, check the comparison in the cursor and the case of a page that is exactly full.
        """
        await self._store_numbered(memory, 12)
        everything = ids_of((await memory.list("ann", limit=500)).items)
        for limit in (1, 3, 4, 12, 13):
            page = await memory.list("ann", limit=limit)
            sizes = [len(page.items)]
            seen = ids_of(page.items)
            while page.next_cursor is not None and len(seen) <= 12:
                page = await memory.list("ann", limit=limit, cursor=page.next_cursor)
                sizes.append(len(page.items))
                seen += ids_of(page.items)
            assert seen == everything, limit
            assert all(size == limit for size in sizes[:-1]), (limit, sizes)
            assert 0 < sizes[-1] <= limit, (limit, sizes)

    async def test_time_range_includes_its_begin_and_excludes_its_end(self, memory: AsyncMemory) -> None:
        """`since` and `until` bound the creation time: from `since` on, before `until`.

        If this fails, check both comparisons, and that times keep their full resolution.
        """
        records = await self._store_numbered(memory, 6)
        since, until = records[1].created_at, records[4].created_at
        expected = sorted(r.content for r in records if since <= r.created_at < until)
        assert await self.contents(memory, "ann", since=since, until=until) == expected
        later = sorted(r.content for r in records if r.created_at >= until)
        assert await self.contents(memory, "ann", since=until.isoformat()) == later

    async def test_tag_filter_compares_whole_tags(self, memory: AsyncMemory) -> None:
        """`tag=` keeps memories that carry exactly that tag.

        If this fails, check for prefix matches, wildcards and ignored case.
        """
        for tags in (["tea"], ["teapot"], ["Tea"], ["te_"], ["warm", "tea"], None):
            await self.remember(memory, "ann", f"tagged {tags}", tags=tags)
        assert await self.contents(memory, "ann", tag="tea") == ["tagged ['tea']", "tagged ['warm', 'tea']"]
        assert await self.contents(memory, "ann", tag="te_") == ["tagged ['te_']"]
        assert await self.contents(memory, "ann", tag="%") == []

    async def test_writes_between_pages_neither_skip_nor_repeat(self, memory: AsyncMemory) -> None:
        """Memories added and deleted while paging do not shift the rest: each is seen exactly once.

        If this fails, check that the cursor holds a place in the order and not a number of rows to skip.
        """
        records = await self._store_numbered(memory, 20)
        page = await memory.list("ann", limit=6)
        seen = ids_of(page.items)
        gone = {seen[0], seen[3], records[2].id}
        for id_ in gone:
            await memory.delete(id_)
        while page.next_cursor is not None and len(seen) <= 20:
            await self.remember(memory, "ann", "came later")
            page = await memory.list("ann", limit=6, cursor=page.next_cursor)
            seen += ids_of(page.items)
        assert len(seen) == len(set(seen))
        assert set(ids_of(records)) - gone <= set(seen)
        assert records[2].id not in seen

    @needs("updates")
    async def test_updates_between_pages_do_not_move_a_memory(self, memory: AsyncMemory) -> None:
        """The order follows creation, so a memory that is updated while paging stays in its place.

        If this fails, check that the order does not use the time of the update.
        """
        records = await self._store_numbered(memory, 10)
        page = await memory.list("ann", limit=4)
        await memory.update(records[0].id, content="changed")
        rest = await memory.list("ann", limit=10, cursor=page.next_cursor)
        assert sorted(ids_of(page.items) + ids_of(rest.items)) == sorted(ids_of(records))

    async def test_paging_beside_writers_loses_nothing(self, memory: AsyncMemory) -> None:
        """Readers that page while others write each see everything that was there before, once.

        If this fails, check isolation between the reads of one page and writes on other connections.
        """
        before = set(ids_of(await self._store_numbered(memory, 15)))

        async def write() -> list[str]:
            return ids_of(await self._store_numbered(memory, 10))

        async def read() -> list[str]:
            return ids_of(await self.listed(memory, "ann", limit=4))

        _, first, second = await async_gather(write, read, read)
        for seen in (first, second):
            assert len(seen) == len(set(seen))
            assert before <= set(seen)

    async def test_junk_cursor_is_refused(self, memory: AsyncMemory) -> None:
        """A text that is no cursor raises `InvalidRequestError`, never a page.

        If this fails, check that every step of decoding a cursor is guarded.
        """
        await self._store_numbered(memory, 2)
        for cursor in JUNK_CURSORS:
            with pytest.raises(InvalidRequestError, match="malformed cursor"):  # noqa: PT012 - it names the input
                given = await memory.list("ann", cursor=cursor)
                pytest.fail(f"{cursor[:40]!r} gave {given}")

    async def test_damaged_cursor_is_refused(self, memory: AsyncMemory) -> None:
        """A cursor that lost a part raises `InvalidRequestError`.

        If this fails, check that a cursor is verified as a whole.
        """
        await self._store_numbered(memory, 3)
        cursor = (await memory.list("ann", limit=1)).next_cursor
        assert cursor is not None
        for damaged in (cursor[: len(cursor) // 2], cursor[3:], cursor + cursor):
            with pytest.raises(InvalidRequestError, match="malformed cursor"):
                await memory.list("ann", cursor=damaged)

    async def test_cursor_of_another_question_is_refused(self, memory: AsyncMemory) -> None:
        """A cursor continues the list it came from: with another user or filter it is refused.

        If this fails, check that the cursor carries what it was made for.
        """
        await self._store_numbered(memory, 3)
        await self._store_numbered(memory, 3, "bob")
        cursor = (await memory.list("ann", limit=1)).next_cursor
        with pytest.raises(InvalidRequestError, match="malformed cursor"):
            await memory.list("bob", limit=1, cursor=cursor)
        others: list[dict[str, Any]] = [{"tag": "tea"}, {"since": days(-1)}, {"until": days(1)}]
        if self.declares("scopes"):
            others += [{"scope": "*"}, {"scope": "home"}]
        if self.temporal:
            others += [{"as_of": days(1)}, {"include_expired": True}]
        if self.supersession:
            others.append({"include_superseded": True})
        for other in others:
            with pytest.raises(InvalidRequestError, match="malformed cursor"):
                await memory.list("ann", limit=1, cursor=cursor, **other)

    async def test_iterating_shows_what_all_pages_show(self, memory: AsyncMemory) -> None:
        """`iterate` gives the memories of all pages in the order of `list`, and a page is used like its items.

        If this fails, check that the cursor of a page leads to the one after it, whatever the filters.
        """
        for number in range(7):
            tags = ["even"] if number % 2 == 0 else ["odd"]
            await self.remember(memory, "ann", f"tea {number}", tags=tags, scope="drinks")
        whole = await self.listed(memory, "ann")
        for limit in (1, 3, 7, 50):
            shown = [(record.id, record.content) async for record in memory.iterate("ann", limit=limit)]
            assert shown == [(record.id, record.content) for record in whole]
        chosen = [record.id async for record in memory.iterate("ann", scope="drinks", tag="even", limit=2)]
        assert chosen == [record.id for record in whole if record.tags == ["even"]]
        assert [record.id async for record in memory.iterate("bob")] == []
        page = await memory.list("ann", limit=3)
        assert [*page] == page.items
        assert (len(page), page[0], bool(page)) == (3, whole[0], True)
        assert not await memory.list("bob")

    @needs("orders", "updates", "temporal")
    async def test_list_comes_in_the_order_that_is_asked_for(self, memory: AsyncMemory) -> None:
        """`order` is the date by which memories come, the latest first; where a memory has none, it is that of storing.

        If this fails, check that a memory which was never changed, or says nothing of its validity, is not left out.
        """
        old = await self.remember(memory, "ann", "one", valid_from=days(-9))
        await self.remember(memory, "ann", "two")
        await self.remember(memory, "ann", "three", valid_from=days(-20))
        await memory.update(old.id, content="one, changed")
        await self.settle(memory, [old.id], "ann")
        for order, expected in (
            ("created", ["three", "two", "one, changed"]),
            ("updated", ["one, changed", "three", "two"]),
            ("valid_from", ["two", "one, changed", "three"]),
        ):
            shown = await self.listed(memory, "ann", order=order)
            assert [record.content for record in shown] == expected, order
            turned = await self.listed(memory, "ann", order=order, descending=False)
            assert ids_of(turned) == ids_of(shown)[::-1], order

    @needs("orders", "temporal", "scopes")
    async def test_pages_in_any_order_cover_every_memory_once(self, memory: AsyncMemory) -> None:
        """Pages of any size in any order make up the whole list, filters or not, equal dates by their ids.

        If this fails, check that the cursor is a date and an id, compared as the order has them.
        """
        same = days(-5)
        for number in range(9):
            window: dict[str, Any] = ({"valid_from": same}, {"valid_from": days(-number)}, {})[number % 3]
            await self.remember(memory, "ann", f"tea {number}", scope="home" if number % 2 else "work", **window)
        for order in ("created", "updated", "valid_from"):
            for descending in (True, False):
                asked: dict[str, Any] = {"order": order, "descending": descending}
                whole = await self.listed(memory, "ann", limit=500, **asked)
                places = [(_date(record, order), record.id) for record in whole]
                assert places == sorted(places, reverse=descending)
                assert len(whole) == 9
                for limit in (1, 2, 4):
                    assert ids_of(await self.listed(memory, "ann", limit=limit, **asked)) == ids_of(whole)
                shown = [record.id async for record in memory.iterate("ann", scope="home", limit=2, **asked)]
                assert shown == [record.id for record in whole if record.scope == "home"]

    @needs("orders")
    async def test_cursor_of_another_order_is_refused(self, memory: AsyncMemory) -> None:
        """A cursor goes on in the order in which it was made.

        If this fails, check that the cursor carries its order.
        """
        await self._store_numbered(memory, 3)
        orders: list[dict[str, Any]] = [{}, {"order": "updated"}, {"order": "valid_from"}, {"descending": False}]
        for order in orders:
            cursor = (await memory.list("ann", limit=1, **order)).next_cursor
            for other in orders:
                if other != order:
                    with pytest.raises(InvalidRequestError, match="malformed cursor"):
                        await memory.list("ann", limit=1, cursor=cursor, **other)


def _date(record: MemoryRecord, order: str) -> datetime:
    own = {"updated": record.updated_at, "valid_from": record.valid_from}.get(order)
    return own or record.created_at
