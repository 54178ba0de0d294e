"""Acknowledged writes are there: after writers were killed at any moment, and after many wrote at once."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from openmem import Memory
from openmem.testing import HashEmbedder

PROGRAMS = Path(__file__).resolve().parent / "programs"
KILLS = 30
PROCESSES, ADDS = 4, 150

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAMS / program), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def assert_sound(path: Path) -> None:
    """Check the file and its index, and that every memory has its words and its vector, and nothing else has."""
    with closing(sqlite3.connect(path)) as connection:

        def rows(query: str) -> list[Any]:
            return connection.execute(query).fetchall()

        assert rows("pragma integrity_check") == [("ok",)]
        connection.execute("insert into word_index(word_index) values('integrity-check')")
        memories = rows("select rid, terms from memories order by rid")
        assert [
            (rid, len(words.split())) for rid, words in rows("select rid, words from memories order by rid")
        ] == memories
        entered = rows("select rid, terms from memories join users using(user_no) where rid <= indexed order by rid")
        assert rows("select doc, count(*) from word_postings group by doc order by doc") == entered
        assert rows("select rid from vectors_1 order by rid") == [(rid,) for rid, _ in memories]
        for table, column in (("tags", "rid"), ("versions", "rid"), ("supersessions", "new_rid")):
            assert rows(f"select * from {table} where {column} not in (select rid from memories)") == []


class Log:
    """The output of killed writers."""

    def __init__(self) -> None:
        self.added: set[str] = set()
        self.updated: set[str] = set()
        self.deleting: set[str] = set()
        self.deleted: set[str] = set()
        self.pid = 0

    def read(self, line: str) -> None:
        word, *rest = line.split()
        if word == "pid":
            self.pid = int(rest[0])
        elif word != "end":
            getattr(self, word).update(rest)


def kill_writers(url: str, rng: random.Random) -> Log:
    """Let a writer write up to a random line, kill it, and so on with the next."""
    log = Log()
    with start("killed_writer.py", url) as process:
        assert process.stdout
        assert process.stdin
        for kill in range(1, KILLS + 1):
            while (line := process.stdout.readline()) and not line.startswith("pid"):
                log.read(line)  # what the writer before had said when it died
            log.read(line)
            for _ in range(rng.randrange(40)):
                log.read(process.stdout.readline())
            if kill == KILLS:
                process.stdin.close()
            os.kill(log.pid, signal.SIGKILL)
        for line in process.stdout:
            log.read(line)
        assert process.stderr
        assert process.stderr.read() == ""
    return log


def test_killed_writers_lose_nothing_that_was_acknowledged(store_url: str, store_path: Path) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print("seed", seed)
    log = kill_writers(store_url, random.Random(seed))
    assert len(log.added) > KILLS
    assert_sound(store_path)
    with Memory(url=store_url, embedder=HashEmbedder(16)) as memory:
        stored = {record_id: memory.get(record_id).version for record_id in log.added - log.deleting}
        assert {stored[record_id] for record_id in log.updated - log.deleting} <= {2}
    with closing(sqlite3.connect(store_path)) as connection:
        left = {row[0] for row in connection.execute("select id from memories")}
        assert not left & log.deleted
        noted = {row[0] for row in connection.execute("select memory_id from audit where action = 'add'")}
        assert noted >= log.added


def test_several_processes_write_at_once_without_an_error_and_lose_nothing(store_url: str, store_path: Path) -> None:
    writers = [start("busy_writer.py", store_url, f"writer{number}", ADDS) for number in range(PROCESSES)]
    try:
        for writer in writers:
            assert writer.stdout
            assert writer.stdout.readline() == "ready\n", writer.communicate()[1]
        for writer in writers:  # all of them stand at the start
            assert writer.stdin
            writer.stdin.write("go\n")
            writer.stdin.flush()
        results = [writer.communicate(timeout=50) for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
    assert [errors for _, errors in results] == [""] * PROCESSES
    expected = {key: version for output, _ in results for key, version in json.loads(output).items()}
    with Memory(url=store_url, embedder=HashEmbedder(16)) as memory:
        stored: dict[str, int] = {}
        for user in ("user0", "user1"):
            cursor = None
            while True:
                page = memory.list(user, limit=500, cursor=cursor)
                stored |= {record.id: record.version for record in page.items if record.key is None}
                if (cursor := page.next_cursor) is None:
                    break
        shared = {str(record.key): record.version for record in memory.list("user1", limit=500).items if record.key}
    assert stored == expected
    assert len(expected) == PROCESSES * (ADDS - len(range(2, ADDS, 4)))
    # Every process put its memory under the same two keys, and each time the version went up by one.
    assert shared == {f"key{rest}": PROCESSES * len(range(rest, ADDS, 8)) for rest in (3, 7)}
    assert_sound(store_path)
