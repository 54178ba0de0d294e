"""Rules about export and import: everything of a memory survives, and bad input changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openmem import AsyncMemory
from openmem._model.ids import is_own_id
from openmem.errors import InvalidRequestError, NotFoundError
from openmem.testing._async.rules import Rules, ids_of, needs
from openmem.testing.moments import days
from openmem.types import MemoryRecord


class PortabilityRules(Rules):
    """export, import_."""

    async def _store_varied(self, memory: AsyncMemory) -> list[MemoryRecord]:
        fields: dict[str, Any] = {"tags": ["drink"], "confidence": 0.25, "x-kit": {"a": [1]}}
        if self.temporal:
            fields |= {"valid_from": days(-3), "valid_to": days(30)}
        if self.declares("scopes"):
            fields["scope"] = "home/kitchen"
        full = await self.remember(memory, "ann", "prefers tea\nor ☕", **fields)
        plain = await self.remember(memory, "ann", "plays chess", **({"key": "game"} if self.keys else {}))
        if self.updates:
            plain = await memory.update(plain.id, content="plays go")
        return [full, plain]

    async def _everything(self, memory: AsyncMemory, user_id: str) -> dict[str, dict[str, Any]]:
        records = await self.listed(memory, user_id)
        return {record.id: record.model_dump(exclude={"status"}) for record in records}

    @needs("portability")
    async def test_export_is_json_lines_behind_a_header(self, memory: AsyncMemory) -> None:
        """An export is one header line and then a line of JSON for each memory.

        If this fails, check that line breaks are escaped and that only the first page has a header.
        """
        await self._store_varied(memory)
        for limit in (1, 2, 500):
            lines = await self.exported(memory, "ann", limit)
            header, *rest = [json.loads(line) for line in lines]
            assert (header["format"], header["version"]) == ("omp-export", 1)
            assert len(rest) == 2

    @needs("portability", "erasure")
    async def test_import_restores_what_was_exported(self, memory: AsyncMemory) -> None:
        """Exported, erased and imported again, every memory is the same: id, times, version, key, all fields.

        If this fails, check that an import keeps what `add` would set by itself.
        """
        records = await self._store_varied(memory)
        before = await self._everything(memory, "ann")
        lines = await self.exported(memory, "ann")
        await memory.delete_all("ann")
        report = await memory.import_(lines)
        await self.settle(memory, ids_of(records), "ann")
        assert (report.imported, report.skipped, report.overwritten, report.duplicated) == (2, 0, 0, 0)
        assert await self._everything(memory, "ann") == before
        assert records[0].content in await self.found(memory, "tea", "ann")

    @needs("portability")
    async def test_import_skips_what_is_there(self, memory: AsyncMemory) -> None:
        """By default a memory that is there already is left as it is, and counted as skipped.

        If this fails, check that the conflict is judged by user and id.
        """
        [full, _] = await self._store_varied(memory)
        lines = await self.exported(memory, "ann")
        if self.updates:
            await memory.update(full.id, content="changed since")
        before = await self._everything(memory, "ann")
        report = await memory.import_(lines, conflict="skip")
        assert (report.imported, report.skipped) == (0, 2)
        assert await self._everything(memory, "ann") == before

    @needs("portability", "updates")
    async def test_import_overwrites_on_request(self, memory: AsyncMemory) -> None:
        """`conflict="overwrite"` puts the exported state back, also into the index.

        If this fails, check that an overwritten memory is indexed and embedded again.
        """
        [full, _] = await self._store_varied(memory)
        lines = await self.exported(memory, "ann")
        await memory.update(full.id, content="changed pineapple", tags=None, confidence=None)
        report = await memory.import_(lines, conflict="overwrite")
        await self.settle(memory, [full.id], "ann")
        assert (report.imported, report.overwritten) == (0, 2)
        got = await memory.get(full.id)
        moved = {"status", "version", "updated_at"}
        assert got.model_dump(exclude=moved) == full.model_dump(exclude=moved)
        assert "changed pineapple" not in await self.found(memory, "pineapple", "ann")

    @needs("portability", "updates", "keys")
    async def test_import_that_overwrites_takes_its_key_from_a_third(self, memory: AsyncMemory) -> None:
        """A key names one memory: a record that overwrites another and has the key of a third takes it from that one.

        If this fails, check that a key which an import brings is free before it is stored.
        """
        tea = await self.remember(memory, "ann", "tea", key="drink")
        lines = await self.exported(memory, "ann")
        await memory.import_(self._with_key(lines, tea.id, "hot"), conflict="overwrite")
        coffee = await self.remember(memory, "ann", "coffee", key="drink")
        await memory.import_(lines, conflict="overwrite")
        await self.settle(memory, [tea.id, coffee.id], "ann")
        keys = {record.content: record.key for record in await self.listed(memory, "ann")}
        assert keys == {"tea": "drink", "coffee": None}

    @needs("portability", "updates", "keys")
    async def test_import_stores_what_takes_the_key_that_another_of_its_records_gave_up(
        self, memory: AsyncMemory
    ) -> None:
        """Of two records, one overwrites a memory and gives its key up, the other has that key and is new.

        If this fails, check what is overwritten where the memory with the key is changed by the same import.
        """
        tea = await self.remember(memory, "ann", "tea", key="drink")
        header, line = await self.exported(memory, "ann")
        [_, moved] = self._with_key([header, line], tea.id, "hot")
        other = line.replace(tea.id, "other").replace('"tea"', '"coffee"')
        report = await memory.import_([header, moved, other], conflict="overwrite")
        await self.settle(memory, [tea.id, "other"], "ann")
        assert (report.imported, report.overwritten) == (1, 1)
        keys = {record.content: record.key for record in await self.listed(memory, "ann")}
        assert keys == {"tea": "hot", "coffee": "drink"}

    @staticmethod
    def _with_key(lines: list[str], id_: str, key: str) -> list[str]:
        return [line.replace('"drink"', json.dumps(key)) if id_ in line else line for line in lines]

    @needs("portability", "supersession")
    async def test_import_of_the_newer_memory_first_still_hides_the_older(self, memory: AsyncMemory) -> None:
        """Supersession takes effect whichever of the two memories arrives first.

        If this fails, check that a memory which arrives is compared with what names it already.
        """
        old = await self.remember(memory, "ann", "tea with milk")
        new = await self.remember(memory, "ann", "tea without milk", supersedes=[old.id])
        header, *lines = await self.exported(memory, "ann")
        lines.sort(key=lambda line: "with milk" in line)
        await memory.delete(new.id)
        await memory.delete(old.id)
        for line in lines:
            await memory.import_([header, line])
        await self.settle(memory, [old.id, new.id], "ann")
        assert await self.contents(memory, "ann") == ["tea without milk"]
        assert (await memory.get(old.id)).content == "tea with milk"

    @needs("portability")
    async def test_import_duplicates_on_request(self, memory: AsyncMemory) -> None:
        """`conflict="duplicate"` stores a second memory with an id of its own.

        If this fails, check that a new id is made, and what becomes of a key that is taken.
        """
        await self.remember(memory, "ann", "prefers tea")
        lines = await self.exported(memory, "ann")
        report = await memory.import_(lines, conflict="duplicate")
        assert (report.imported, report.duplicated) == (0, 1)
        assert await self.contents(memory, "ann") == ["prefers tea", "prefers tea"]
        assert len(set(ids_of(await self.listed(memory, "ann")))) == 2

    @needs("portability")
    async def test_import_of_a_bad_line_names_it_and_stores_nothing(self, memory: AsyncMemory) -> None:
        """A bad line raises `InvalidRequestError` with its number, and nothing of its batch is stored.

        If this fails, check that a batch is validated whole before it is written.
        """
        await self._store_varied(memory)
        lines = await self.exported(memory, "ann")
        for record in await self.listed(memory, "ann"):
            await memory.delete(record.id)
        for damage in ("{", "[]", '"text"', "{}", "null", '{"content": 1}'):
            with pytest.raises(InvalidRequestError, match=r"\b3\b"):  # noqa: PT012 - it names the input
                given = await memory.import_([*lines[:2], damage, *lines[2:]])
                pytest.fail(f"{damage} gave {given}")
            assert await self.contents(memory, "ann") == [], damage

    @pytest.mark.parametrize("header", ['{"format": "other", "version": 1}', '{"format": "omp-export", "version": 99}'])
    @needs("portability")
    async def test_import_of_a_foreign_format_is_refused(self, memory: AsyncMemory, header: str) -> None:
        """A header of another format or a later version raises `InvalidRequestError`.

        If this fails, check that the header is read before the first memory.
        """
        await self.remember(memory, "ann", "prefers tea")
        lines = await self.exported(memory, "ann")
        with pytest.raises(InvalidRequestError):
            await memory.import_([header, *lines[1:]], conflict="duplicate")
        assert await self.contents(memory, "ann") == ["prefers tea"]

    @needs("portability")
    async def test_import_of_a_header_alone_stores_nothing(self, memory: AsyncMemory) -> None:
        """An export of a user without memories is a header, and importing it counts zero.

        If this fails, check the case of no records on both sides.
        """
        lines = await self.exported(memory, "ann")
        assert len(lines) == 1
        assert (await memory.import_(lines)).imported == 0

    @needs("portability")
    async def test_export_without_a_user_holds_everybody(self, memory: AsyncMemory) -> None:
        """`export()` covers the whole store, `export(user_id)` one user.

        If this fails, check the order and the cursor of an export over several users.
        """
        for number in range(7):
            await self.remember(memory, f"user-{number % 3}", f"fact-{number}-")
        everything = "".join(await self.exported(memory, limit=2))
        assert all(everything.count(f"fact-{number}-") == 1 for number in range(7))
        one = "".join(await self.exported(memory, "user-1", limit=2))
        assert [f"fact-{number}-" in one for number in range(7)] == [number % 3 == 1 for number in range(7)]

    @needs("portability")
    async def test_memory_imported_under_the_id_of_another_users_takes_nothing_over(self, memory: AsyncMemory) -> None:
        """An id means the memory of the user for whom it was made, unless another user is named.

        If this fails, check that a lookup without a user leaves out users whom the id cannot have been made for. Who
        has ids of another form than openmem's must either know the memory that it made under an id, in every verb, or
        ask for the user in every verb, since two have the id. It never takes the memory that was imported.
        """
        record = await self.remember(memory, "ann", "pays 10")
        line = {"id": record.id, "user_id": "bob", "content": "pays 9999", "created_at": "2026-01-01T00:00:00Z"}
        await memory.import_([json.dumps({"memory": line})])
        await self.settle(memory, [record.id], "bob")
        assert (await memory.get(record.id, user_id="bob")).content == "pays 9999"
        if not is_own_id(record.id) and await self._is_refused_without_user(memory, record.id):
            assert (await memory.get(record.id, user_id="ann")).content == "pays 10"
        else:
            assert (await memory.get(record.id)).content == "pays 10"
            if self.updates:
                assert (await memory.update(record.id, content="pays 11")).user_id == "ann"
            await memory.delete(record.id)
            with pytest.raises(NotFoundError):
                await memory.get(record.id, user_id="ann")
        if is_own_id(record.id):
            with pytest.raises(NotFoundError):
                await memory.get(record.id)
        assert (await memory.get(record.id, user_id="bob")).content == "pays 9999"

    async def _is_refused_without_user(self, memory: AsyncMemory, id: str) -> bool:
        """Return whether an id that two users have is refused: by one verb as by the others, and nothing is changed."""
        try:
            await memory.get(id)
        except InvalidRequestError:
            if self.updates:
                with pytest.raises(InvalidRequestError):
                    await memory.update(id, content="pays 11")
            with pytest.raises(InvalidRequestError):
                await memory.delete(id)
            return True
        return False
