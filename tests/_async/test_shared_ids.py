"""One id that several users have: the same answers on the embedded store and on Postgres."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, InvalidRequestError, NotFoundError
from openmem._model.ids import routing_bucket, substitute_id

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
MATE = next(name for number in range(100_000) if routing_bucket(name := f"user-{number}") == routing_bucket("ann"))
OTHER = "bob"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store. A plain fixture, as a Postgres may have to be started."""
    if request.param == "sqlite":
        return str(tmp_path / "m.db")
    address: str = request.getfixturevalue("postgres_url")
    return address


@pytest.fixture
async def memory(url: str) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory(url=url, embedder="none") as opened:
        yield opened


def line(id: str, user_id: str, content: str, **fields: Any) -> str:
    record = {"id": id, "user_id": user_id, "content": content, "created_at": CREATED.isoformat(), **fields}
    return json.dumps({"memory": record})


async def test_id_of_another_form_that_two_users_have_needs_a_user(memory: AsyncMemory) -> None:
    await memory.import_([line("note-1", "ann", "a"), line("note-1", OTHER, "b")])
    for verb in (memory.get, memory.delete, memory.history):
        with pytest.raises(InvalidRequestError, match="several users have a memory of this id; give user_id"):
            await verb("note-1")
    assert (await memory.get("note-1", user_id=OTHER)).content == "b"
    await memory.delete("note-1", user_id="ann")
    assert (await memory.get("note-1")).content == "b"


@pytest.mark.parametrize("own_form", [True, False])
async def test_id_that_is_taken_in_the_bucket_is_replaced_by_the_same_one_each_time(
    memory: AsyncMemory, own_form: bool
) -> None:
    taken = (await memory.add(content="pays 10", user_id="ann")).id if own_form else "note-1"
    if not own_form:
        await memory.import_([line(taken, "ann", "pays 10")])
    lines = [line(taken, MATE, "pays 9999"), line("note-2", MATE, "second")]
    assert (await memory.import_(lines)).imported == 2
    for conflict in ("skip", "overwrite"):
        report = await memory.import_(lines, conflict=conflict)
        assert report.skipped + report.overwritten == 2
    assert {record.id for record in (await memory.list(MATE)).items} == {
        substitute_id(taken, MATE, CREATED),
        "note-2",
    }
    assert (await memory.get(taken)).content == "pays 10"
    await memory.delete(taken)
    with pytest.raises(NotFoundError):
        await memory.get(taken)


async def test_pages_of_an_export_hold_every_memory_once_whatever_their_times(memory: AsyncMemory) -> None:
    times = ["0001-01-01T00:00:00+00:00", "1969-12-31T23:59:59+00:00", "1970-01-01T00:00:00+00:00"]
    lines = [
        line(f"{user}-{number}", user, "x", created_at=times[number % 3])
        for user in ("ann", OTHER, "zoe")
        for number in range(7)
    ]
    await memory.import_(lines)
    for user, count in ((None, 21), ("ann", 7), ("zoe", 7)):
        for limit in (1, 3, 7, 50):
            found, cursor = list[str](), None
            while True:
                page = await memory.export(user, cursor=cursor, limit=limit)
                found += [json.loads(text)["memory"]["id"] for text in page.lines if "memory" in json.loads(text)]
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert len(found) == len(set(found)) == count


async def test_cursor_of_an_export_tells_nothing_of_other_users(tmp_path: Path) -> None:
    cursors = []
    for others in (0, 40):
        async with AsyncMemory(url=str(tmp_path / f"{others}.db"), embedder="none") as memory:
            await memory.import_(line(f"{number}", f"user-{number}", "x") for number in range(others))
            await memory.import_([line("b-1", OTHER, "x"), line("b-2", OTHER, "x")])
            cursors.append((await memory.export(OTHER, limit=1)).next_cursor)
    assert cursors[0] is not None
    assert cursors[0] == cursors[1]


async def test_cursor_of_an_export_has_room_for_the_longest_names(memory: AsyncMemory) -> None:
    name = "\U0001f600" * 192  # 768 bytes
    await memory.import_([line(f"{sign}{name[1:]}", name, "x") for sign in "ab"])
    page = await memory.export(limit=1)
    assert len((await memory.export(cursor=page.next_cursor)).lines) == 1
