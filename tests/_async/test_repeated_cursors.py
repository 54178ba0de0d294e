"""A server that gives its cursors again and again: every run through pages ends, with an error."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from openmem import Access, AsyncMemory, ProviderError, parse_grant
from tests.omp_stub import RECORD, Answer, Asked, OmpStub, answer

ENOUGH = 20


@pytest.fixture(params=[1, 3])
def stub(request: pytest.FixtureRequest) -> Iterator[OmpStub]:
    """A server whose cursors come round after one or three pages."""
    with OmpStub() as server:

        def rule(asked: Asked) -> Answer:
            number = len(server.verbs)
            if number > ENOUGH:
                return answer(status=500)
            cursor = f"c{number % request.param}"
            if asked.path.startswith("/export"):
                record = {**RECORD, "id": f"m-{number}", "user_id": "ann"}
                body = json.dumps({"memory": record}) + "\n"
                return Answer(200, body.encode(), {"Content-Type": "application/x-ndjson", "X-Next-Cursor": cursor})
            scope = ("a", "b")[number % 2]
            record = {**RECORD, "id": f"m-{number}", "user_id": "ann", "scope": scope}
            return answer({"items": [record], "next_cursor": cursor})

        server.rule = rule
        yield server


@pytest.fixture
async def memory(stub: OmpStub) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory(base_url=stub.url) as opened:
        yield opened


async def test_transfer_ends(memory: AsyncMemory, stub: OmpStub, tmp_path: Path) -> None:
    async with AsyncMemory(url=str(tmp_path / "m.db"), embedder="none") as target:
        with pytest.raises(ProviderError, match=r"a cursor again|pages come to no end"):
            await memory.transfer(target, user_id="ann")
    assert len(stub.verbs) < ENOUGH


async def test_list_of_a_caller_who_may_read_two_scopes_ends(memory: AsyncMemory, stub: OmpStub) -> None:
    access = Access("ann", (parse_grant("read:a"), parse_grant("read:b")))
    stub.rule = _scoped
    with pytest.raises(ProviderError, match=r"a cursor again|pages come to no end"):
        await memory.for_caller(access=access).list("ann")
    assert len(stub.verbs) < ENOUGH


def _scoped(asked: Asked) -> Answer:
    scope = "a" if "scope=a" in asked.path else "b"
    return answer({"items": [{**RECORD, "user_id": "ann", "scope": scope}], "next_cursor": "again"})
