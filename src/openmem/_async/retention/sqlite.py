"""Removes old entries and versions from the embedded store: looks on a snapshot, removes in short transactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from openmem._io.concurrency.background import AsyncRest
from openmem._io.concurrency.call import Deadline
from openmem._io.sqlite.database import AsyncSqlite
from openmem._model.retention import MaintenanceReport, Retention
from openmem._model.timestamps import micros
from openmem._sql.sqlite import retention as steps
from openmem._sql.sqlite.feed_of_all import drop_spans
from openmem._sql.steps import Steps


class AsyncSqliteRetention:
    """One run over a file.

    Args:
        db: The file.
        retention: What is kept.
        now: The time that the age of entries is counted from.
        deadline: When to give up. What was removed by then stays removed.
        rest: Called between two transactions; returns whether to go on.
    """

    def __init__(
        self, db: AsyncSqlite, retention: Retention, now: datetime, deadline: Deadline, rest: AsyncRest
    ) -> None:
        self._db = db
        self._before = micros(retention.oldest(now))
        self._versions = retention.versions
        self._deadline = deadline
        self._rest = rest
        self._on = True

    async def count(self) -> MaintenanceReport:
        """Count what would be removed, and change nothing."""
        report = MaintenanceReport(dry_run=True, bytes_before=await self.size())
        if self._before is not None:
            report.entries = await self._db.read(steps.count_entries(self._before), self._deadline)
        if self._versions is not None:
            report.versions = await self._db.read(steps.count_versions(self._versions), self._deadline)
        return report

    async def remove(self) -> MaintenanceReport:
        """Remove what is too old."""
        report = MaintenanceReport(bytes_before=await self.size())
        if self._before is not None:
            find = partial(steps.old_entries, before=self._before)
            report.entries += await self._remove_entries(find, steps.drop_entries, self._before)
            find = partial(steps.old_adds, before=self._before)
            report.entries += await self._remove_entries(find, steps.clear_adds, self._before)
            while self._on and report.entries and await self._db.write(drop_spans(), self._deadline):
                self._on = await self._rest()
        if self._versions is not None:
            report.versions = await self._remove_versions(self._versions)
        return report

    async def size(self) -> int:
        """Return how many bytes the file has."""
        return await self._db.read(steps.size(), self._deadline)

    async def _remove_entries(
        self,
        find: Callable[[int], Steps[tuple[list[int], int | None]]],
        drop: Callable[[Sequence[int], int], Steps[int]],
        before: int,
    ) -> int:
        removed = 0
        after: int | None = -1
        while self._on and after is not None:
            found, after = await self._db.read(find(after), self._deadline)
            for start in range(0, len(found), steps.AT_ONCE):
                if self._on:
                    some = found[start : start + steps.AT_ONCE]
                    some_removed, _ = await self._db.erase(partial(drop, some, before), self._deadline)
                    removed += some_removed
                    self._on = await self._rest()
        return removed

    async def _remove_versions(self, versions: int) -> int:
        removed = 0
        after: int | None = -1
        while self._on and after is not None:
            found, after = await self._db.read(steps.with_versions(after, versions), self._deadline)
            while self._on and found:
                (count, done), _ = await self._db.erase(partial(steps.trim, found, versions), self._deadline)
                removed, found = removed + count, found[done:]
                self._on = await self._rest()
        return removed
