"""A search beside every kind of change, in every order of their steps: it answers as its own snapshot of the file says.

Two readers of one process share what is cached; each has a connection of its own, and so has the writer. A reader is
stopped after some of its statements; meanwhile a change is made, the other reader searches, and another change is made.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

import numpy as np
import pytest

from openmem import Memory
from openmem._model.requests import Change, Draft, SearchQuery, View
from openmem._model.scopes import parse_pattern
from openmem._model.timestamps import micros, time_of
from openmem._retrieval.user_index import UserCache
from openmem._sql.sqlite import erase, purge, write
from openmem._sql.sqlite.indexing import WAIT_AT_MOST
from openmem._sql.sqlite.search import Projection, by_keyword, by_vector
from openmem._sql.sqlite.snapshot import forgetting
from openmem._sql.sqlite.word_index import empty, enter_some
from openmem._sql.sqlite.writer import Blob
from openmem._sql.steps import Many, Query, Steps
from openmem._sql.writing import Incoming, Model, Stamp

Answer = list[tuple[str, float]]

USER = "ann"
MODEL = Model("four numbers", 4)
NOW = micros(datetime.now(UTC))
STAMP = Stamp(time_of(NOW), None, "req_1")
VECTOR = np.array([1, 0, 0, 0], dtype=np.float32)
FILTERED = View(USER, scope=parse_pattern("home/a"), tags=("green",))
QUERY = SearchQuery("tea milk", FILTERED, limit=1_000)
NEAREST = SearchQuery("tea", View(USER), limit=10)


class Asked(NamedTuple):
    """The matches of a reader by words, and by vector."""

    by_words: Answer
    by_vector: Answer


IDS: Final = Projection(lambda rids: ids_of(rids), lambda id_, score, _: (str(id_), score))


class InUse(Exception):
    """The other reader brings the cache up to date just now, so this one waits."""


class Lock(AbstractContextManager[None]):
    """A lock that says that one would have to wait."""

    def __init__(self) -> None:
        self._held = False

    def __enter__(self) -> None:
        if self._held:
            raise InUse
        self._held = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held = False


class Running:
    """Steps in a transaction on a connection, one statement at a time."""

    def __init__(self, connection: sqlite3.Connection, steps: Steps[Any], how: str = "begin") -> None:
        self._connection, self._steps = connection, steps
        self._rows: list[Any] = []
        self._begun = False
        connection.execute(how)

    def step(self) -> bool:
        """Run the next statement; return whether there was one."""
        try:
            statement = self._steps.send(self._rows) if self._begun else next(self._steps)
        except StopIteration as stop:
            self.result = stop.value
            return False
        self._begun = True
        if isinstance(statement, Many):
            self._connection.executemany(statement.sql, statement.rows)
            self._rows = []
        else:
            self._rows = self._connection.execute(statement.sql, statement.params).fetchall()
        return True

    def finish(self) -> Any:
        """Run all that is left, and return the result; the transaction goes on."""
        while self.step():
            pass
        return self.result


class Store:
    """One file with two readers who share a cache, and a writer."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.writer, self.one, self.two = (
            stack.enter_context(closing(sqlite3.connect(path, isolation_level=None, cached_statements=256)))
            for _ in range(3)
        )
        self.writer.execute("pragma synchronous=off")
        self.cache = UserCache(100_000_000, Lock)

    def change(self, steps: Steps[Any]) -> None:
        """Make a change in a transaction."""
        Running(self.writer, steps, "begin immediate").finish()
        self.writer.execute("commit")

    def ask(self, connection: sqlite3.Connection) -> Running:
        """Begin what a reader asks."""
        return Running(connection, asking(self.cache))

    def check(self, connection: sqlite3.Connection, running: Running) -> None:
        """Let a reader come to its end, and compare with what its snapshot holds, and what an empty cache finds."""
        found: Asked = running.finish()
        fresh: Asked = Running(connection, asking(UserCache(100_000_000, nullcontext)), "savepoint again").finish()
        wanted = held(connection, QUERY)
        connection.execute("rollback")
        assert {id_ for id_, _ in found.by_words} == wanted
        assert found == fresh


def asking(cache: UserCache) -> Steps[Asked]:
    """Return the steps of two searches on one snapshot."""
    by_words = yield from by_keyword(QUERY, NOW, cache, IDS)
    nearest = yield from by_vector(NEAREST, NOW, cache, VECTOR, MODEL)
    return Asked(by_words, [(result.memory.id, result.score) for result in nearest])


def ids_of(rids: Sequence[int]) -> Steps[dict[int, Any]]:
    """Read no more than the ids."""
    numbers = json.dumps([*rids])
    rows = yield Query("select rid, id from memories where rid in (select value from json_each(?))", (numbers,))
    return dict(rows)


def held(connection: sqlite3.Connection, query: SearchQuery) -> set[str]:
    """Return the ids that must be found by words, from the texts and tags of the rows alone."""
    rows = connection.execute(
        "select id, content, tags, path from memories left join scopes using(scope_no) "
        "where memories.user_no = (select user_no from users where user_id = ?)",
        (USER,),
    )
    found = set()
    for id_, content, text, path in rows:
        tags = json.loads(text or "[]")
        scoped = query.view.scope is None or str(query.view.scope) == path
        if scoped and {*query.view.tags} <= {*tags} and {*query.text.split()} & {*content.split(), *tags}:
            found.add(id_)
    return found


def blob(number: int) -> bytes:
    angle = 0.01 * (number % 150)
    return np.array([np.cos(angle), np.sin(angle), 0, 0], dtype="<f4").tobytes()


def incoming(number: int, user: str = USER) -> Incoming[Blob]:
    content = f"{'tea' if number % 3 else 'milk'} n{number}"
    tags = ("green",) if number % 2 else None
    return Incoming(
        Draft(content, user, scope="home/a" if number % 5 else "home", tags=tags), f"m{number}", blob(number)
    )


def add(*numbers: int) -> Steps[Any]:
    return write.add([incoming(number) for number in numbers], MODEL, STAMP)


def update(number: int) -> Steps[Any]:
    fields = {"content": f"tea or milk again n{number}", "tags": ("green",), "scope": "home/a"}
    return write.update(f"m{number}", USER, Change(fields), blob(number + 7), MODEL, STAMP)


def lose_words(number: int) -> Steps[Any]:
    return write.update(f"m{number}", USER, Change({"content": "water", "tags": None}), blob(3), MODEL, STAMP)


def delete(number: int) -> Steps[Any]:
    return write.delete(f"m{number}", USER, STAMP)


STEP = 10  # of the orders, those that the short test takes
ENTERED, WAITING, LATER = 70, 60, 3
FIRST_WAITING, NEWEST = ENTERED, ENTERED + WAITING - 1
CHANGES: dict[str, Callable[[UserCache], Steps[Any]]] = {
    "add one": lambda cache: add(1_000),
    "add another": lambda cache: add(1_001),
    "add until all are entered": lambda cache: add(*range(2_000, 2_000 + LATER + 1)),
    "update one that waits": lambda cache: update(FIRST_WAITING),
    "update one that is entered": lambda cache: update(3),
    "take the words of one that waits": lambda cache: lose_words(NEWEST - 1),
    "delete the newest": lambda cache: delete(NEWEST),
    "delete one that waits": lambda cache: delete(FIRST_WAITING + 1),
    "delete one that is entered": lambda cache: delete(4),
    "erase all": lambda cache: forgetting(USER, cache, erase.erase(USER, None, STAMP)),
    "erase a scope": lambda cache: forgetting(USER, cache, erase.erase(USER, parse_pattern("home"), STAMP)),
    "erase a guest": lambda cache: erase.erase("guest", None, STAMP),
    "purge a slice": lambda cache: purge.Purge().some(),
    "empty the index": lambda cache: emptied(),
    "fill a part of the index": lambda cache: filled(50),
    "fill the index": lambda cache: filled(1_000),
}


def emptied() -> Steps[None]:
    yield from empty()


def filled(most: int) -> Steps[None]:
    yield from enter_some(0, most)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store where some memories of the user are in the index of words, and others wait."""
    path = tmp_path_factory.mktemp("schedules") / "store.db"
    with Memory(url=str(path), embedder="none") as memory:
        memory.add("guest takes tea", user_id="guest")
    with ExitStack() as stack:
        store = Store(path, stack)
        store.change(add(*range(ENTERED)))
        store.change(add(*range(ENTERED, NEWEST + 1)))
        store.writer.execute("pragma wal_checkpoint(truncate)")
        (waiting,) = store.writer.execute(
            "select count(*) from memories join users using(user_no) where user_id = ? and rid > indexed", (USER,)
        ).fetchone()
        assert waiting == WAITING == WAIT_AT_MOST - LATER - 1
    return path


@pytest.fixture
def stores(template: Path, tmp_path: Path) -> Callable[[], AbstractContextManager[Store]]:
    """Return what makes a copy of that store."""
    return partial(Copies, template, tmp_path / "store.db")


class Copies(AbstractContextManager[Store]):
    """A copy of a store, as long as the context lasts."""

    def __init__(self, template: Path, path: Path) -> None:
        self._path = path
        shutil.copyfile(template, path)

    def __enter__(self) -> Store:
        self._stack = ExitStack()
        return Store(self._path, self._stack)

    def __exit__(self, *error: object) -> None:
        self._stack.close()
        for name in ("-wal", "-shm", ""):
            Path(f"{self._path}{name}").unlink(missing_ok=True)


def possible(pair: tuple[str, str]) -> bool:
    """Return whether the second can be made after the first: none is deleted that is gone."""
    gone = {"erase all", "erase a scope"}
    return pair[0] != pair[1] and not (pair[0] in gone and pair[1].split()[0] in ("update", "take", "delete"))


def run_all(make: Callable[[], AbstractContextManager[Store]], first: str, start: int, step: int) -> int:
    """Run the schedules that begin with a change, or every so many of them; return how many."""
    count = 0
    pairs = [(first, second) for second in CHANGES if possible((first, second))]
    for number, ((_, second), warm) in enumerate(itertools.product(pairs, (True, False))):
        for before in itertools.count((start + number) % step, step):
            with make() as store:
                if not run_schedule(store, first, second, before, warm):
                    break
                count += 1
    return count


@pytest.mark.parametrize("first", CHANGES)
def test_search_beside_two_changes_answers_as_its_snapshot_says(
    stores: Callable[[], AbstractContextManager[Store]], first: str
) -> None:
    assert run_all(stores, first, [*CHANGES].index(first), STEP) > len(CHANGES)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", CHANGES)
def test_every_order_of_a_search_and_two_changes_is_right(
    stores: Callable[[], AbstractContextManager[Store]], first: str
) -> None:
    assert run_all(stores, first, 0, 1) > STEP * len(CHANGES)


def run_schedule(store: Store, first: str, second: str, before: int, warm: bool) -> bool:
    """Stop a reader after so many statements, and let the others do theirs; return whether it had as many."""
    if warm:
        store.check(store.one, store.ask(store.one))
    stopped = store.ask(store.one)
    if not all(stopped.step() for _ in range(before)):
        store.one.execute("rollback")
        return False
    try:
        for name in (first, second):
            store.change(CHANGES[name](store.cache))
            search_beside(store)
        store.check(store.one, stopped)
        for reader in (store.one, store.two):
            store.check(reader, store.ask(reader))
    except AssertionError as error:
        raise AssertionError(f"{first}, {second}, after {before} statements, warm {warm}: {error}") from error
    return True


def search_beside(store: Store) -> None:
    """Search with the other reader, unless it would wait for the one that was stopped."""
    try:
        running = store.ask(store.two)
        store.check(store.two, running)
    except InUse:
        store.two.execute("rollback")
