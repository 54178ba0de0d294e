"""Old entries and versions go, however often their removal is broken off, and beside callers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openmem import InvalidRequestError, Memory, ServerStore
from openmem._sql.server import audit as server_journal
from openmem.server.runtime.settings import ServerSettings
from openmem.server.services.stores import make_memory
from openmem.types import AuditEntry
from tests.old_rows import age

PROGRAM = Path(__file__).parent / "programs" / "killed_maintainer.py"
CHANGES = 10
NOW = datetime.now(UTC)


@pytest.mark.parametrize("slices", range(7))
def test_process_that_is_killed_leaves_a_whole_history(store_url: str, slices: int) -> None:
    with Memory(url=store_url, embedder="none") as memory:
        record = memory.add("draft 0 " + "of a long text " * 20, user_id="ann")
        for number in range(1, CHANGES + 1):
            memory.update(record.id, content=f"draft {number} " + "of a long text " * 20)
        age(store_url, 40)
    done = subprocess.run([sys.executable, str(PROGRAM), store_url, str(slices)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    with Memory(url=store_url, embedder="none") as memory:
        left = [(state.version, state.content.split()[1]) for state in memory.history(record.id)]
        assert left == [(version, str(version - 1)) for version in range(CHANGES, CHANGES - len(left), -1)]
        report = memory.maintain(audit_days=30, versions=1)
        assert (report.versions, len(memory.history(record.id))) == (len(left) - 1, 1)
        assert all(entry.action == "get" for entry in memory.audit("ann"))  # the young ones, of the two histories
        receipt = memory.delete_all("ann")
        assert receipt.complete


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_child_removes_too(store_url: str) -> None:
    with Memory(url=store_url, embedder="none", versions=1) as memory:
        record = memory.add("draft 0", user_id="ann")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for number in range(1, 4):
                    memory.update(record.id, content=f"draft {number}")
                memory.maintain()
                code = 0 if len(memory.history(record.id)) == 1 else 2
                memory.close()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(memory.history(record.id)) == 1


def test_memory_that_was_not_closed_leaves_no_thread_that_holds_it(store_url: str) -> None:
    program = f"""
import gc, threading, weakref
from openmem import Memory
memory = Memory(url={store_url!r}, embedder="none", versions=1)
memory.add("tea", user_id="ann")
known = weakref.ref(memory._provider)
[thread] = [one for one in threading.enumerate() if one.name == "openmem-upkeep"]
del memory
while known() is not None:
    gc.collect()
thread.join(20)
print(thread.is_alive())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "False\n", done.stderr


# --- the audit log of a server ---


def entry(days: int) -> AuditEntry:
    return AuditEntry(timestamp=NOW - timedelta(days=days), action="add", memory_id=f"m{days}")


def test_server_store_forgets_old_entries(server_store_url_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_journal, "AT_ONCE", 2)
    monkeypatch.setattr(server_journal, "LOOKED_AT", 3)
    with ServerStore(server_store_url_) as store:
        for user in ("ann", "bob"):
            store.enter(user, *(entry(days) for days in (50, 40, 1, 45, 35, 2, 60)))
        assert store.forget_entries(NOW - timedelta(days=30)) == 10
        for user in ("ann", "bob"):
            assert [one.memory_id for one in store.entries(user)] == ["m1", "m2"]
        assert store.forget_entries(NOW - timedelta(days=30)) == 0


def test_server_hands_on_what_its_provider_takes_and_refuses_the_rest(store_url: str) -> None:
    made = make_memory(ServerSettings(url=store_url, audit_days=30, versions=2))
    assert made._provider.settings.options == {"audit_days": 30, "versions": 2}
    service = "http://localhost:1"
    make_memory(
        ServerSettings(provider="passthrough", base_url=service, audit_days=30)
    )  # for the server's own audit log
    with pytest.raises(InvalidRequestError, match="versions"):
        make_memory(ServerSettings(provider="passthrough", base_url=service, versions=2))
