"""Removes old entries and versions on Postgres: bucket by bucket, in short transactions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from openmem._io.concurrency.background import AsyncRest
from openmem._io.concurrency.call import Deadline
from openmem._io.postgres.database import AsyncPg
from openmem._model.ids import BUCKETS
from openmem._model.retention import MaintenanceReport, Retention
from openmem._sql.postgres import retention as steps
from openmem._sql.postgres.names import Names

MOST_IN_VAIN: Final = 20
"""Attempts in a row at versions that another client holds: what is left then is for the next time."""
ALL_BUCKETS: Final[Sequence[int]] = range(BUCKETS)


async def count(db: AsyncPg, names: Names, retention: Retention, deadline: Deadline) -> MaintenanceReport:
    """Count what would be removed, and change nothing."""
    report = MaintenanceReport(dry_run=True)
    seconds, versions = retention.seconds, retention.versions
    for bucket in ALL_BUCKETS:
        if seconds is not None:
            make = partial(steps.count_entries, names, bucket, seconds)
            report.entries += await db.run(make, deadline, retry=True)
        if versions is not None:
            spare = partial(steps.count_versions, names, bucket, versions)
            report.versions += await db.run(spare, deadline, retry=True)
    return report


async def remove(
    db: AsyncPg, names: Names, retention: Retention, deadline: Deadline, rest: AsyncRest
) -> MaintenanceReport:
    """Remove what is too old.

    Args:
        db: The database.
        names: The names of the tables.
        retention: What is kept.
        deadline: When to give up. What was removed by then stays removed.
        rest: Called between two buckets, and between two transactions of one; returns whether to go on.
    """
    report = MaintenanceReport()
    seconds, versions = retention.seconds, retention.versions
    for bucket in ALL_BUCKETS:
        look = partial(steps.due, names, bucket, seconds, versions)
        entries, spare = await db.run(look, deadline, retry=True)
        while entries and seconds is not None:
            found = await db.transact(partial(steps.drop_entries, names, bucket, seconds), deadline)
            report.entries += found
            entries = found == steps.AT_ONCE and await rest()
        in_vain = 0
        while spare and versions is not None and in_vain < MOST_IN_VAIN:
            found, spare = await db.transact(partial(steps.trim, names, bucket, versions), deadline)
            report.versions += found
            in_vain = 0 if found else in_vain + 1
            spare = spare and await rest()
        if not await rest():
            break
    return report
