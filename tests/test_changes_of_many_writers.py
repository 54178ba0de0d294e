"""The feed of changes and the store agree, entry by entry, however many processes write and are killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from openmem import Memory
from openmem._io.concurrency.call import Deadline
from openmem._io.postgres.database import Pg
from openmem._model.scopes import parse_pattern
from openmem._sql.postgres.erase import erase
from openmem._sql.postgres.names import Names
from openmem._sql.steps import Query, Steps
from openmem._sql.writing import Stamp
from openmem.types import Change, ErasureReceipt

PROGRAM = Path(__file__).resolve().parent / "programs" / "changing_writer.py"
USERS = ("ann", "bob")
FOR_EVER = 1_000_000

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


class Copy:
    """A copy of a store, kept in step by a feed: the version and the scope of each memory.

    Args:
        memory: The store.
        user_id: Whose feed it follows; `None` for that of all users.
    """

    def __init__(self, memory: Memory, user_id: str | None) -> None:
        self.memory = memory
        self.user_id = user_id
        self.cursor: str | None = None
        self.seen: list[Change] = []
        self.held: dict[tuple[str, str], tuple[int, str | None]] = {}

    def follow(self, limit: int = 7) -> int:
        """Take over what is new; return how much that was."""
        before = len(self.seen)
        while True:
            page = self.memory.changes(self.user_id, cursor=self.cursor, limit=limit)
            for change in page:
                self.take(change)
            self.cursor = page.next_cursor
            if not page.has_more:
                return len(self.seen) - before

    def take(self, change: Change) -> None:
        """Take over one change, which must follow those before it."""
        self.seen.append(change)
        if change.action == "delete_all":
            erased = parse_pattern(change.scope or "*")
            gone = [key for key, (_, scope) in self.held.items() if key[0] == change.user_id and erased.matches(scope)]
            if change.moved:
                there = stored(self.memory)
                gone += [key for key in self.held if key[0] == change.user_id and key not in there]
            for key in gone:
                self.held.pop(key, None)
            return
        assert change.memory_id is not None
        assert change.version is not None
        key, known = (change.user_id, change.memory_id), self.held.get((change.user_id, change.memory_id))
        if change.action == "delete":
            assert known is None or known[0] == change.version, "a version was skipped"
            self.held.pop(key, None)
            return
        # What an erasure of another scope has taken out of the log may be missing before it, but never comes after it.
        assert known is None or change.version == known[0] + 1, "versions come in order, and none twice"
        self.held[key] = (change.version, change.scope)


def stored(memory: Memory) -> dict[tuple[str, str], tuple[int, str | None]]:
    """Return what the store holds."""
    found: dict[tuple[str, str], tuple[int, str | None]] = {}
    for user_id in USERS:
        cursor = None
        while True:
            page = memory.export(user_id, cursor=cursor)
            records = [json.loads(line)["memory"] for line in page.lines if '"memory"' in line]
            found |= {(user_id, one["id"]): (one["version"], one.get("scope")) for one in records}
            cursor = page.next_cursor
            if cursor is None:
                break
    return found


@contextmanager
def writers(url: str, seeds: range, turns: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Start writers that are ready; at the end none of them is left."""
    started = [start(url, seed, turns) for seed in seeds]
    try:
        for process in started:
            ready(process)
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def start(url: str, seed: int, turns: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAM), url, str(seed), str(turns)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.stderr.read() if process.stderr else ""


def agree(memory: Memory, copies: list[Copy]) -> None:
    """Check that the copies and the store hold the same, and that the feeds say afterwards what they said meanwhile."""
    for copy in copies:
        copy.follow()
    held = stored(memory)
    for copy in copies:
        assert copy.held == {key: value for key, value in held.items() if copy.user_id in (None, key[0])}
        again = Copy(memory, copy.user_id)
        again.follow(limit=1_000)
        for user_id in USERS:
            # Those that an erasure took out of the log since are missing; the others are all there, in the same order.
            later = [identity(change) for change in again.seen if change.user_id == user_id]
            meanwhile = [identity(change) for change in copy.seen if change.user_id == user_id]
            assert [one for one in meanwhile if one in set(later)] == later
        assert again.held == copy.held


def identity(change: Change) -> tuple[object, ...]:
    return change.action, change.memory_id, change.version, change.timestamp, change.scope


@pytest.fixture(params=["sqlite", "postgres"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that several processes can use."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'shared.db'}"


def write_at_once(url: str, processes: int, turns: int) -> None:
    with Memory(url=url, embedder="none") as memory:
        memory.health()
        copies = [Copy(memory, None), *(Copy(memory, user_id) for user_id in USERS)]
        with writers(url, range(processes), turns) as started:
            while any(process.poll() is None for process in started):
                for copy in copies:
                    copy.follow()
            assert [process.returncode for process in started] == [0] * processes, [
                process.communicate()[1] for process in started
            ]
        assert len(copies[0].seen) > processes * turns / 4
        agree(memory, copies)


def test_feeds_skip_nothing_and_keep_the_order_while_several_processes_write(shared_url: str) -> None:
    write_at_once(shared_url, 3, 25)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_feeds_skip_nothing_and_keep_the_order_while_eight_processes_write(shared_url: str) -> None:
    write_at_once(shared_url, 8, 400)


def kill_many(url: str, kills: int, at_once: int) -> None:
    dice = random.Random(7)
    with Memory(url=url, embedder="none", timeout=60) as memory:
        memory.health()
        copies = [Copy(memory, None), *(Copy(memory, user_id) for user_id in USERS)]
        with writers(url, range(at_once), FOR_EVER) as running:
            for number in range(kills):
                wanted = len(copies[0].seen) + dice.randrange(1, 12)
                while len(copies[0].seen) < wanted:
                    for copy in copies:
                        copy.follow()
                    assert any(process.poll() is None for process in running), running[0].communicate()[1]
                victim = running.pop(dice.randrange(len(running)))
                victim.kill()
                victim.communicate()
                assert victim.returncode == -signal.SIGKILL
                if number + at_once < kills:
                    running.append(start(url, at_once + number, FOR_EVER))
                    ready(running[-1])
                elif not running:
                    break
        agree(memory, copies)


def test_feed_and_store_agree_after_writers_were_killed(shared_url: str) -> None:
    kill_many(shared_url, 3, 3)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_feed_and_store_agree_after_a_hundred_writers_were_killed(shared_url: str) -> None:
    kill_many(shared_url, 100, 4)


def test_erasure_takes_no_name_from_what_was_added_meanwhile(postgres_url: str) -> None:
    with Memory(url=postgres_url, embedder="none") as memory, Memory(url=postgres_url, embedder="none") as other:
        memory.add("erased", user_id="ann", scope="home")
        copy = Copy(memory, "ann")
        copy.follow()
        added: list[str] = []

        def beside() -> Steps[ErasureReceipt]:
            # After the erasure has looked which memories there are, and before it takes their names out of the log.
            steps = erase(Names(), "ann", None, Stamp(datetime.now(UTC), None, "r", "e"))
            statement = next(steps)
            while True:
                if isinstance(statement, Query) and "delete from" in statement.sql and not added:
                    added.append(other.add("stays", user_id="ann", scope="home").id)
                rows = yield statement
                try:
                    statement = steps.send(rows)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]

        database = Pg(postgres_url)
        try:
            receipt = database.transact(beside, Deadline())
        finally:
            database.close()
        assert receipt.complete
        copy.follow()
        assert [(one.action, one.memory_id) for one in copy.seen[1:]] == [("delete_all", None), ("add", added[0])]
        assert copy.held == stored(memory)
