"""Rules about the audit log: every verb leaves an entry, and no entry tells content."""

from __future__ import annotations

import json

from openmem import AsyncMemory
from openmem.testing._async.rules import OpenMemory, Rules, needs
from openmem.testing.moments import days
from openmem.types import AuditEntry


class AuditRules(Rules):
    """audit."""

    async def _last(self, memory: AsyncMemory, user_id: str = "ann") -> AuditEntry:
        [entry] = await memory.audit(user_id, limit=1)
        return entry

    @needs("audit")
    async def test_each_verb_leaves_its_entry(self, memory: AsyncMemory) -> None:
        """Each verb on memories leaves an entry with its action, the app, the time and, by id, the memory.

        If this fails, check that the entry is written with the change, and for reads as well.
        """
        record = await memory.add(content="prefers tea", user_id="ann")
        last = await self._last(memory)
        assert (last.action, last.memory_id, last.app) == ("add", record.id, "kit")
        assert last.timestamp is not None
        assert days(-1) < last.timestamp < days(1)
        assert last.request_id
        await self.settle(memory, [record.id], "ann")
        await memory.get(record.id)
        last = await self._last(memory)
        assert (last.action, last.memory_id) == ("get", record.id)
        await memory.search("tea", "ann")
        assert (await self._last(memory)).action == "search"
        await memory.list("ann")
        assert (await self._last(memory)).action == "list"
        await memory.context("tea", "ann")
        assert (await self._last(memory)).action == "context"
        await memory.delete(record.id)
        last = await self._last(memory)
        assert (last.action, last.memory_id) == ("delete", record.id)

    @needs("audit", "updates")
    async def test_update_leaves_its_entry(self, memory: AsyncMemory) -> None:
        """`update` leaves an entry that names the memory.

        If this fails, check that the entry is written in the transaction of the update.
        """
        record = await self.remember(memory, "ann", "prefers tea")
        await memory.update(record.id, content="prefers coffee")
        last = await self._last(memory)
        assert (last.action, last.memory_id) == ("update", record.id)

    @needs("audit", "history")
    async def test_history_is_entered_as_get(self, memory: AsyncMemory) -> None:
        """`history` reads a memory, so its action is `get`.

        If this fails, check the action the provider writes for history.
        """
        record = await self.remember(memory, "ann", "prefers tea")
        before = len(await memory.audit("ann"))
        await memory.history(record.id)
        assert len(await memory.audit("ann")) == before + 1
        last = await self._last(memory)
        assert (last.action, last.memory_id) == ("get", record.id)

    @needs("audit", "erasure")
    async def test_erasure_is_entered_as_delete(self, memory: AsyncMemory) -> None:
        """`delete_all` leaves an entry with the action `delete`.

        If this fails, check that the entry is written after the old ones were blanked.
        """
        await self.remember(memory, "ann", "prefers tea")
        await memory.delete_all("ann")
        assert (await self._last(memory)).action == "delete"

    @needs("audit", "portability")
    async def test_export_and_import_are_entered_as_list_and_add(self, memory: AsyncMemory) -> None:
        """`export` is entered as `list`, `import_` as `add`, for the user concerned.

        If this fails, check that bulk verbs are journalled too.
        """
        await self.remember(memory, "ann", "prefers tea")
        lines = await self.exported(memory, "ann")
        assert (await self._last(memory)).action == "list"
        before = [entry.action for entry in await memory.audit("ann")].count("add")
        await memory.import_(lines, conflict="duplicate")
        after = [entry.action for entry in await memory.audit("ann")].count("add")
        assert after > before

    @needs("audit", "scopes")
    async def test_entry_of_a_read_by_id_names_the_scope_of_the_memory(self, memory: AsyncMemory) -> None:
        """`get` is entered with the scope in which the memory is, as every other verb on a memory is.

        If this fails, check that the entry is made of what was read.
        """
        record = await self.remember(memory, "ann", "prefers tea", scope="home/kitchen")
        await memory.get(record.id)
        entries = [entry for entry in await memory.audit("ann") if entry.action == "get"]
        assert [(entry.memory_id, entry.scope) for entry in entries] == [(record.id, "home/kitchen")]

    @needs("audit")
    async def test_asking_about_the_provider_leaves_no_entry(self, memory: AsyncMemory) -> None:
        """`capabilities`, `health` and `audit` itself leave no entry.

        If this fails, check which verbs go through the audit log.
        """
        await self.remember(memory, "ann", "prefers tea")
        before = await memory.audit("ann")
        await memory.capabilities()
        await memory.health()
        assert await memory.audit("ann") == before

    @needs("audit")
    async def test_journal_is_newest_first_and_bounded(self, memory: AsyncMemory) -> None:
        """Entries come newest first, and `limit` keeps the newest.

        If this fails, check the order for entries of the same moment.
        """
        ids = [(await memory.add(content=f"fact {n}", user_id="ann")).id for n in range(6)]
        adds = [entry for entry in await memory.audit("ann") if entry.action == "add"]
        assert [entry.memory_id for entry in adds] == ids[::-1]
        times = [entry.timestamp for entry in adds if entry.timestamp]
        assert times == sorted(times, reverse=True)
        assert len(await memory.audit("ann", limit=2)) == 2

    @needs("audit")
    async def test_journal_is_filtered_by_app_and_time(self, memory: AsyncMemory, connect: OpenMemory) -> None:
        """`app=` keeps the entries of one app, `since=` those from a time on.

        If this fails, check that each client writes its own app name, and that filters are part of the query.
        """
        other = connect(app="other")
        mine = await self.remember(memory, "ann", "prefers tea")
        theirs = await self.remember(other, "ann", "plays chess")
        added = {entry.memory_id for entry in await memory.audit("ann", app="other") if entry.action == "add"}
        assert added == {theirs.id}
        added = {entry.memory_id for entry in await other.audit("ann", app="kit") if entry.action == "add"}
        assert added == {mine.id}
        assert await memory.audit("ann", app="absent") == []
        assert await memory.audit("ann", since=days(1)) == []
        assert await memory.audit("ann", since=days(-1)) == await memory.audit("ann")

    @needs("audit")
    async def test_journal_never_tells_content(self, memory: AsyncMemory) -> None:
        """No entry holds a word of what was remembered or asked.

        If this fails, check what is put into an entry beside its six fields.
        """
        record = await self.remember(memory, "ann", "secret pineapple", tags=["mangosteen"])
        await memory.search("hidden coconut", "ann")
        await memory.context("hidden coconut", "ann")
        if self.updates:
            await memory.update(record.id, content="secret papaya")
        await memory.delete(record.id)
        entries = await memory.audit("ann")
        text = json.dumps([entry.model_dump(mode="json") for entry in entries])
        for word in ("pineapple", "mangosteen", "coconut", "papaya"):
            assert word not in text

    @needs("audit")
    async def test_journal_belongs_to_its_user(self, memory: AsyncMemory) -> None:
        """A user's audit log holds no entry of another user.

        If this fails, check that a by-id verb is entered for the owner of the memory.
        """
        mine = await self.remember(memory, "ann", "prefers tea")
        await self.remember(memory, "bob", "prefers coffee")
        await memory.get(mine.id)
        assert mine.id not in {entry.memory_id for entry in await memory.audit("bob")}
        assert {entry.memory_id for entry in await memory.audit("ann")} <= {mine.id, None}
