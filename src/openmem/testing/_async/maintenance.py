"""Rules about `maintain`: it keeps what it is told to keep, or is refused by name. Neither is declared."""

from __future__ import annotations

from typing import Any

import pytest

from openmem import AsyncMemory
from openmem.errors import InvalidRequestError, UnsupportedCapabilityError
from openmem.testing._async.rules import Rules

_CONTENTS = ("lives in Faro", "lives in Porto", "lives in Lisbon")


class MaintenanceRules(Rules):
    """Rules about the retention of versions and of the audit log."""

    async def test_maintenance_keeps_the_newest_versions(self, memory: AsyncMemory) -> None:
        """With `versions=1` one earlier version stays, and the memory itself is as it was; `dry_run` only counts.

        If this fails, check that the newest versions stay, that the current one is not counted among them, and that
        a provider without `maintain` raises `UnsupportedCapabilityError` and names it.
        """
        if await self._refuses(memory):
            return
        record = await self.remember(memory, "ann", _CONTENTS[0])
        for content in _CONTENTS[1:]:
            await memory.update(record.id, user_id="ann", content=content)
        planned = await memory.maintain(versions=1, dry_run=True)
        assert (planned.versions, planned.dry_run) == (1, True)
        assert await self._earlier(memory, record.id) == [*_CONTENTS[1::-1]]
        done = await memory.maintain(versions=1)
        assert (done.versions, done.dry_run) == (1, False)
        assert await self._earlier(memory, record.id) == [_CONTENTS[1]]
        assert (await memory.get(record.id, user_id="ann")).content == _CONTENTS[2]
        assert await self.found(memory, "Lisbon", "ann") == [_CONTENTS[2]]

    async def test_maintenance_without_bounds_removes_nothing(self, memory: AsyncMemory) -> None:
        """No version and no audit entry is lost unless it was said how long they are kept.

        If this fails, check that bounds that were not given are not taken for 0.
        """
        if await self._refuses(memory):
            return
        record = await self.remember(memory, "ann", _CONTENTS[0])
        await memory.update(record.id, user_id="ann", content=_CONTENTS[1])
        before = len(await memory.audit("ann"))
        report = await memory.maintain()
        assert (report.versions, report.entries) == (0, 0)
        assert await self._earlier(memory, record.id) == [_CONTENTS[0]]
        assert len(await memory.audit("ann")) >= before

    async def test_wrong_bounds_of_maintenance_are_refused(self, memory: AsyncMemory) -> None:
        """A wrong bound removes nothing, and is an `InvalidRequestError` also where there is no `maintain`.

        If this fails, check that the bounds are looked at before the backend is asked.
        """
        wrong: tuple[dict[str, Any], ...] = ({"versions": -1}, {"versions": True}, {"audit_days": 0}, {"dry_run": 1})
        for given in wrong:
            with pytest.raises(InvalidRequestError):
                await memory.maintain(**given)

    async def _refuses(self, memory: AsyncMemory) -> bool:
        """Return whether the provider has no `maintain`, which it must say by that name."""
        try:
            await memory.maintain(dry_run=True)
        except UnsupportedCapabilityError as error:
            said = error.message
        else:
            return False
        assert "maintain" in said
        return True

    async def _earlier(self, memory: AsyncMemory, id_: str) -> list[str]:
        return [state.content for state in await memory.history(id_, user_id="ann")]
