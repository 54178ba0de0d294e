"""Removes old entries and versions, and is killed after some transactions: `killed_maintainer.py URL SLICES`."""

import os
import signal
import sys

from openmem import Memory
from openmem._io.sqlite.connections import SqliteStore
from openmem._sql.sqlite import retention

url, slices = sys.argv[1], int(sys.argv[2])
retention.AT_ONCE = 3  # type: ignore[misc]
write = SqliteStore.write
done = 0


def counted(self, steps, job):  # type: ignore[no-untyped-def]
    """Be killed in the middle of a transaction that removes."""
    global done
    done += 1
    if done <= slices:
        return write(self, steps, job)

    def cut():  # type: ignore[no-untyped-def]
        sent = None
        for count in range(1_000):
            try:
                statement = steps.send(sent)
            except StopIteration:  # a transaction of fewer statements: before its commit
                break
            sent = yield statement
            if count == 2:
                break
        os.kill(os.getpid(), signal.SIGKILL)

    return write(self, cut(), job)  # type: ignore[no-untyped-call]


SqliteStore.write = counted  # type: ignore[method-assign]
Memory(url=url, embedder="none").maintain(audit_days=30, versions=1)
