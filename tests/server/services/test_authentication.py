"""Authentication: many requests at once cost one look into the store."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncServerStore, OMPError
from openmem.errors import UnauthorizedError
from openmem.server.services.authentication import Callers
from openmem.server.services.timing import SingleFlight

AT_ONCE = 64


class Counted(AsyncServerStore):
    """A store that counts what it is asked."""

    asked = 0

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.finding = asyncio.Event()

    async def find_key(self, secret: str, **given: Any) -> Any:
        self.asked += 1
        self.finding.set()
        return await super().find_key(secret, **given)

    async def has_keys(self) -> bool:
        self.asked += 1
        return await super().has_keys()


async def key_of(store: AsyncServerStore) -> list[tuple[bytes, bytes]]:
    made = await store.create_key(app="a", user_id=None, grants=["admin:*"])
    return [(b"x-api-key", made.secret.encode())]


async def test_first_requests_of_a_key_at_once_look_it_up_once(tmp_path: Path) -> None:
    async with Counted(str(tmp_path / "s.db")) as store:
        headers = await key_of(store)
        callers = Callers(store, open_without_keys=True)
        found = await asyncio.gather(*(callers.identify(headers) for _ in range(AT_ONCE)))
        assert len({caller.id for caller in found}) == 1
        assert store.asked == 2  # whether there are keys, and which one this is


async def test_wrong_key_is_refused_to_all_who_show_it_at_once(tmp_path: Path) -> None:
    async with Counted(str(tmp_path / "s.db")) as store:
        headers = [(b"x-api-key", b"omp_" + b"z" * 12 + b"_" + b"a" * 43)]
        callers = Callers(store, open_without_keys=False)
        asked = [asyncio.create_task(callers.identify(headers)) for _ in range(AT_ONCE)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(error) for error in found} == {UnauthorizedError}
        assert store.asked == 1
        with pytest.raises(UnauthorizedError):
            await callers.identify(headers)  # no refusal is remembered
        assert store.asked == 2


async def test_client_that_leaves_takes_no_other_along(tmp_path: Path) -> None:
    async with Counted(str(tmp_path / "s.db")) as store:
        headers = await key_of(store)
        callers = Callers(store, open_without_keys=False)
        first, second = (asyncio.create_task(callers.identify(headers)) for _ in range(2))
        await store.finding.wait()
        first.cancel()
        assert (await second).access.user_id is None
        assert first.cancelled()
        assert store.asked == 1


async def test_question_whose_callers_are_all_gone_is_given_up() -> None:
    together, asked = SingleFlight[str, int](), asyncio.Event()

    async def never() -> int:
        asked.set()
        return await asyncio.Future[int]()

    async def at_once() -> int:
        return 7

    waiting = [asyncio.create_task(together.ask("a", never)) for _ in range(3)]
    await asked.wait()
    assert repr(together) == "<SingleFlight [1 questions | 3 waiting]>"
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert repr(together) == "<SingleFlight [0 questions | 0 waiting]>"
    assert await together.ask("a", at_once) == 7


async def test_known_caller_is_recalled_without_a_look_into_the_store(tmp_path: Path) -> None:
    async with Counted(str(tmp_path / "s.db")) as store:
        headers = await key_of(store)
        callers = Callers(store, open_without_keys=True)
        assert callers.recall(headers) is None
        found, asked = await callers.identify(headers), store.asked
        assert callers.recall(headers) == found
        assert callers.recall([(b"x-api-key", headers[0][1][:-1])]) is None
        assert store.asked == asked
        with pytest.raises(UnauthorizedError):
            callers.recall([])


async def test_uses_that_could_not_be_stored_are_stored_the_next_time(tmp_path: Path) -> None:
    url = str(tmp_path / "s.db")
    async with AsyncServerStore(url, timeout=0.5) as store:
        headers = await key_of(store)
        callers = Callers(store, open_without_keys=True)
        await callers.identify(headers)
        with closing(sqlite3.connect(url)) as locker:
            locker.execute("begin immediate")
            with pytest.raises(OMPError):
                await callers.flush()
        assert (await store.list_keys())[0].last_used_at is None
        before = datetime.now(UTC)
        await callers.flush()
        used = (await store.list_keys())[0].last_used_at
        assert used is not None
        assert used <= before
