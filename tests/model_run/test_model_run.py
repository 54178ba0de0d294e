"""Random load against an independent model, on each store and through a server with keys.

The short run is always done. The long one, of 100,000 operations, can be repeated with another seed:
`MODEL_RUN_SEED=7 pytest -m long tests/model_run`.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from openmem import AsyncMemory
from openmem._sql.sqlite import indexing, purge
from openmem._sql.sqlite.word_index import empty
from openmem._sql.steps import Steps
from tests.model_run.load import USERS, WEIGHTS, Outcome, run, user_name
from tests.server.running import Place, running_with_store

SEED = int(os.environ.get("MODEL_RUN_SEED", "1"))
OPERATIONS = int(os.environ.get("MODEL_RUN_OPERATIONS", "100000"))
KINDS = ["sqlite", "postgres", "server over sqlite", "server over postgres"]

Connect = Callable[[AsyncExitStack], Callable[[str], AsyncMemory]]


@pytest.fixture(params=KINDS)
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connect]:
    """Return what opens the stores of the users: one for all, or a client for each with a key of its own."""
    kind: str = request.param
    url = request.getfixturevalue("postgres_url") if kind.endswith("postgres") else str(tmp_path / "memories.db")
    if kind.startswith("server"):
        with running_with_store(url, str(tmp_path / "server.db")) as place:
            yield _through(place)
    else:
        yield partial(_direct, url)


def _direct(url: str, stack: AsyncExitStack) -> Callable[[str], AsyncMemory]:
    memory = AsyncMemory(url=url, embedder="none", timeout=60)
    stack.push_async_exit(memory)
    return lambda user_id: memory


def _through(place: Place) -> Connect:
    """Give every second user a key of its own, and the others keys for any user."""
    chance = random.Random(SEED)
    own = {user_name(number) for number in range(USERS) if chance.random() < 0.5}
    shared = [place.key(app=f"app {number}") for number in range(10)]
    keys = {
        user: place.key("read:*", "write:*", "delete:*", user_id=user) if user in own else chance.choice(shared)
        for user in map(user_name, range(USERS))
    }

    def connect(stack: AsyncExitStack) -> Callable[[str], AsyncMemory]:
        clients: dict[str, AsyncMemory] = {}

        def client_of(user_id: str) -> AsyncMemory:
            key = keys[user_id]["Authorization"].removeprefix("Bearer ")
            if key not in clients:
                clients[key] = AsyncMemory(base_url=str(place.client.base_url), api_key=key, timeout=60)
                stack.push_async_exit(clients[key])
            return clients[key]

        return client_of

    return connect


def loaded(connect: Connect, operations: int) -> Outcome:
    async def load() -> Outcome:
        async with AsyncExitStack() as stack:
            return await run(connect(stack), operations, SEED)

    return asyncio.run(load())


def test_random_load_is_answered_as_the_model_says(connect: Connect) -> None:
    outcome = loaded(connect, 1_000)
    assert not outcome.mismatches, "\n".join(outcome.mismatches)
    assert outcome.done.keys() == WEIGHTS.keys()


def test_random_load_is_answered_beside_an_index_of_words_that_is_filled_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is worn after a few erasures here, not after a thousand: then all memories wait for it again."""
    emptied = []

    def counted() -> Steps[None]:
        emptied.append(1)
        yield from empty()

    monkeypatch.setattr(indexing, "WAIT_AT_MOST", 4)
    monkeypatch.setattr(purge, "MOST_LEVELS", 6)
    monkeypatch.setattr(purge, "ENTERED_AT_ONCE", 50)
    monkeypatch.setattr(purge, "empty", counted)
    outcome = loaded(partial(_direct, str(tmp_path / "memories.db")), 4_000)
    assert not outcome.mismatches, "\n".join(outcome.mismatches)
    assert len(emptied) > 3


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_long_random_load_is_answered_as_the_model_says(connect: Connect) -> None:
    outcome = loaded(connect, OPERATIONS)
    assert not outcome.mismatches, "\n".join(outcome.mismatches)
    assert outcome.operations == OPERATIONS
