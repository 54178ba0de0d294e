"""Batches of an import: they are bounded by size too, whatever a line holds."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from openmem import AsyncMemory, InvalidRequestError
from openmem.types import ImportReport


def line(number: int, content: str = "x") -> str:
    record = {"id": f"i-{number}", "user_id": "ann", "content": content, "created_at": "2026-01-01T00:00:00Z"}
    return json.dumps({"memory": record})


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory(url=str(tmp_path / "m.db"), embedder="none") as opened:
        yield opened


async def test_long_lines_make_small_batches(memory: AsyncMemory) -> None:
    reports: list[ImportReport] = []
    lines = (line(number, "y" * 90_000) for number in range(100))
    await memory.import_(lines, on_progress=reports.append)
    totals = [0, *(report.imported for report in reports)]
    assert totals[-1] == 100
    assert max(after - before for before, after in itertools.pairwise(totals)) <= 12


async def test_short_lines_make_batches_of_five_hundred(memory: AsyncMemory) -> None:
    reports: list[ImportReport] = []
    await memory.import_((line(number) for number in range(1_200)), on_progress=reports.append)
    assert [report.imported for report in reports] == [500, 1_000, 1_200]


async def test_no_line_is_lost_between_batches(memory: AsyncMemory) -> None:
    lines = [line(number, str(number) + "z" * (number * 977 % 99_000)) for number in range(150)]
    assert (await memory.import_(lines)).imported == 150
    assert [record.id for record in (await memory.list("ann", limit=500)).items] != []
    assert {record.id for record in (await memory.list("ann", limit=500)).items} == {f"i-{n}" for n in range(150)}


async def test_byte_order_mark_before_the_first_line_is_passed_over(memory: AsyncMemory) -> None:
    assert (await memory.import_(["\ufeff" + line(1), line(2)])).imported == 2
    with pytest.raises(InvalidRequestError, match=r"^line 2: is not JSON"):
        await memory.import_([line(3), "\ufeff" + line(4)])


@pytest.mark.parametrize(
    "text",
    [
        '{"memory":{"id":"a","id":"b","user_id":"ann","content":"x","created_at":"2026-01-01T00:00:00Z"}}',
        '{"memory":{"id":"a","user_id":"ann","content":"x","created_at":"2026-01-01T00:00:00Z","x-a":{"b":1,"b":2}}}',
        '{"memory":{},"memory":{"id":"a","user_id":"ann","content":"x","created_at":"2026-01-01T00:00:00Z"}}',
    ],
    ids=["field", "extension", "line"],
)
async def test_line_that_names_a_member_twice_is_refused(memory: AsyncMemory, text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^line 1: names a member of an object twice$"):
        await memory.import_([text])
    assert (await memory.list("ann")).items == []
