"""A server that answers with what is another's, or more than was asked for, is refused in every verb."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from openmem import AsyncMemory, ProviderError
from tests._async.hostile_clients import CAPABILITIES
from tests._async.hostile_replies import BLOCK, ENTRY, RECEIPT, RECORD, RESULT
from tests.omp_stub import Answer, OmpStub, answer

OTHERS = {**RECORD, "user_id": "bob"}
ELSEWHERE = {**RECORD, "scope": "secret"}
ANOTHER = {**RECORD, "id": "mem_2"}
CITED = {"memory_id": "mem_1", "score": -0.5}


@pytest.fixture
def stub() -> Iterator[OmpStub]:
    with OmpStub() as stub:
        yield stub


Ask = Callable[[AsyncMemory], Any]


def page(*records: Any, cursor: str | None = None) -> Answer:
    return answer({"items": [*records], "next_cursor": cursor})


def found(*records: Any) -> Answer:
    return answer({"results": [{**RESULT, "memory": record} for record in records]})


def lines(*records: Any, **headers: str) -> Answer:
    body = "\n".join(json.dumps({"memory": record}) for record in records)
    return Answer(200, body.encode(), headers)


CASES: list[tuple[str, Answer, Ask]] = [
    ("another user", answer(OTHERS, 201), lambda memory: memory.add(content="tea", user_id="ann")),
    ("another user", answer(OTHERS), lambda memory: memory.get("mem_1", user_id="ann")),
    ("another memory", answer(ANOTHER), lambda memory: memory.get("mem_1", user_id="ann")),
    ("another memory", answer(ANOTHER), lambda memory: memory.get("mem_1")),
    ("another user", answer(OTHERS), lambda memory: memory.update("mem_1", content="b", user_id="ann")),
    ("another memory", answer(ANOTHER), lambda memory: memory.update("mem_1", content="b")),
    ("another user", page(RECORD, OTHERS), lambda memory: memory.list("ann")),
    ("another scope", page(ELSEWHERE), lambda memory: memory.list("ann", scope="a/*")),
    ("at most 1", page(RECORD, RECORD), lambda memory: memory.list("ann", limit=1)),
    ("no end", page(RECORD, cursor="c"), lambda memory: memory.list("ann", cursor="c")),
    ("cannot be sent back", page(RECORD, cursor="c" * 10_000_000), lambda memory: memory.list("ann")),
    ("another user", found(OTHERS), lambda memory: memory.search("tea", "ann")),
    ("another scope", found(ELSEWHERE), lambda memory: memory.search("tea", "ann", scope="a/b")),
    ("at most 1", found(RECORD, RECORD), lambda memory: memory.search("tea", "ann", limit=1)),
    ("another user", found(OTHERS), lambda memory: memory.context("tea", "ann", token_counter=len)),
    ("another user", page(OTHERS), lambda memory: memory.history("mem_1", user_id="ann")),
    ("another user", lines(OTHERS), lambda memory: memory.export("ann")),
    ("at most 1", lines(RECORD, RECORD), lambda memory: memory.export("ann", limit=1)),
    ("no end", lines(RECORD, **{"X-Next-Cursor": "c"}), lambda memory: memory.export("ann", cursor="c")),
    ("another erasure", answer({**RECEIPT, "user_id": "bob"}), lambda memory: memory.delete_all("ann")),
    ("another erasure", answer(RECEIPT), lambda memory: memory.delete_all("ann", scope="a")),
    ("a version that is none", answer({**RECORD, "version": 0}), lambda memory: memory.get("mem_1", user_id="ann")),
    ("without its id", page({**RECORD, "id": " "}), lambda memory: memory.list("ann")),
    ("a score", answer({"results": [{**RESULT, "score": 1.5}]}), lambda memory: memory.search("tea", "ann")),
    ("a score", answer({**BLOCK, "citations": [CITED]}), lambda memory: memory.context("tea", "ann")),
    ("a version that is none", found({**RECORD, "version": 0}), lambda memory: memory.search("tea", "ann")),
    ("a version that is none", lines({**RECORD, "version": 0}), lambda memory: memory.export("ann")),
    ("another app", answer({"entries": [ENTRY]}), lambda memory: memory.audit("ann", app="notes")),
    ("at most 1", answer({"entries": [ENTRY, ENTRY]}), lambda memory: memory.audit("ann", limit=1)),
]


@pytest.mark.parametrize(("message", "reply", "ask"), CASES, ids=range(len(CASES)))
async def test_reply_that_is_not_what_was_asked_for_is_refused(
    stub: OmpStub, message: str, reply: Answer, ask: Ask
) -> None:
    stub.capabilities = CAPABILITIES
    stub.rule = lambda asked: reply
    async with AsyncMemory("passthrough", base_url=stub.url) as memory:
        with pytest.raises(ProviderError, match=message):
            await ask(memory)


async def test_reply_that_is_what_was_asked_for_is_taken(stub: OmpStub) -> None:
    stub.capabilities = CAPABILITIES
    async with AsyncMemory("passthrough", base_url=stub.url) as memory:
        for reply, ask in (
            (page(RECORD, cursor="d"), lambda: memory.list("ann", scope="a/*", cursor="c", limit=1)),
            (found(RECORD), lambda: memory.search("tea", "ann", scope="a/b", limit=1)),
            (answer(RECEIPT), lambda: memory.delete_all("ann")),
            (answer({**RECEIPT, "scope": "a/*"}), lambda: memory.delete_all("ann", scope="a/*")),
            (page(ANOTHER, RECORD), lambda: memory.history("mem_1", user_id="ann")),
            (answer(BLOCK), lambda: memory.context("tea", "ann")),
            (answer({**RECORD, "id": "final"}), lambda: memory.get("event-1", user_id="ann")),
        ):
            stub.answers.append(reply)
            assert await ask()
