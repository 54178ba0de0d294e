"""The sync forms show their state as the others do."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from openmem._io.concurrency.background import Background, Rest
from openmem._io.concurrency.batching import Batcher
from openmem._io.concurrency.call import Deadline
from openmem._io.http.client import Http
from openmem._io.postgres.database import Pg
from openmem._io.sqlite.database import Sqlite
from openmem._io.vendors.blocking_sdk import BlockingClient
from openmem._sql.steps import Query, Steps
from tests.openai_stub import OpenAIStub


def statement(sql: str) -> Steps[None]:
    yield Query(sql)


def test_pool_shows_connections_in_use_idle_and_waited_for(empty_postgres_url: str) -> None:
    db, go, begun = Pg(empty_postgres_url, pool_max_size=1, extension=False), threading.Event(), threading.Event()

    def slow() -> Steps[None]:
        begun.set()
        go.wait(10)
        yield Query("select 1")

    assert repr(db) == "<Pg unused>"
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(lambda: db.run(slow, Deadline()))
        begun.wait(10)
        assert repr(db) == "<Pg open, 1 of 1 connections, 0 idle, 0 waiting>"
        second = threads.submit(lambda: db.run(lambda: statement("select 1"), Deadline()))
        until = Deadline.after(10)
        while repr(db) != "<Pg open, 1 of 1 connections, 0 idle, 1 waiting>":
            until.check()
        go.set()
        first.result()
        second.result()
    pool = db._pool
    assert repr(pool) == "<Pool open, 1 of 1 connections, 1 idle, 0 waiting>"
    db.close()
    assert (repr(db), repr(pool)) == ("<Pg closed>", "<Pool closed>")


def test_pool_is_empty_before_its_first_connection(empty_postgres_url: str) -> None:
    db = Pg(empty_postgres_url)
    db.prepare()
    assert repr(db) == "<Pg empty, 0 of 10 connections, 0 idle, 0 waiting>"
    db.close()


def test_store_shows_readers_the_writer_and_deferred_writes(tmp_path: Path) -> None:
    db = Sqlite(str(tmp_path / "a.db"))
    assert repr(db) == "<Sqlite unused, 0 idle readers, not writing, 0 deferred>"
    shown: list[str] = []

    def look() -> Steps[None]:
        shown.append(repr(db))
        yield Query("select 1")

    db.write(look(), Deadline())
    assert shown == ["<Sqlite open, 0 idle readers, writing, 0 deferred>"]
    db.read(statement("select 1"), Deadline())
    assert repr(db) == "<Sqlite open, 1 idle reader, not writing, 0 deferred>"
    db.close()
    assert repr(db) == "<Sqlite closed>"


def test_store_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    made = Sqlite(str(path))
    made.write(statement("select 1"), Deadline())
    made.close()
    store = Sqlite(str(path))
    store._store.read_only = True  # as a read on a disk that may not be written finds it
    assert repr(store) == "<Sqlite read-only, 0 idle readers, not writing, 0 deferred>"
    store.close()


def test_batcher_client_and_background_show_themselves() -> None:
    def one(item: int, deadline: Deadline) -> int:
        return item

    def many(items: Sequence[int], deadline: Deadline) -> Sequence[int]:
        return items

    assert repr(Batcher(one, many)) == "<Batcher off>"
    sdk = BlockingClient(object, lambda client: None, 1, "memory")
    assert repr(sdk) == "<BlockingClient open>"
    sdk.close()
    assert repr(sdk) == "<BlockingClient closed>"

    class Owner:
        def work(self, rest: Rest) -> None:
            rest()

    owner = Owner()
    background = Background(owner.work)
    assert repr(background) == "<Background stopped>"
    background.start()
    assert repr(background) == "<Background running>"
    background.close()
    assert repr(background) == "<Background stopped>"


def test_client_shows_the_server_and_no_key() -> None:
    with OpenAIStub() as stub:
        http, server = Http(stub.url, headers={"Authorization": "Bearer correct-horse"}), stub.url.split("/")[2]
        assert repr(http) == f"<Http unused, {server}>"
        http.request_json("GET", "/things", deadline=Deadline())
        assert repr(http) == f"<Http open, {server}>"
        http.close()
        assert repr(http) == f"<Http closed, {server}>"


def test_a_forked_child_has_no_connection_of_its_parent(empty_postgres_url: str) -> None:
    db = Pg(empty_postgres_url, extension=False)
    db.run(lambda: statement("select 1"), Deadline())
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(send, repr(db).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(receive, 200).decode() == "<Pg empty, 0 of 10 connections, 0 idle, 0 waiting>"
    assert repr(db) == "<Pg open, 1 of 10 connections, 1 idle, 0 waiting>"
    db.close()
