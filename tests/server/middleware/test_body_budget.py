"""The budget of all bodies together: the slowest gives way, parsing waits its turn."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest

from openmem._protocol.refusals import OverloadedError
from openmem.server.middleware.body_budget import TURN_SECONDS, BodyBudget, ParsedBudget, size_when_parsed
from openmem.server.routes.bodies import read_body

Part = MutableMapping[str, Any]


def parts(*sizes: int, ends: bool = True) -> Callable[[], Awaitable[Part]]:
    """Give pieces of a body of these sizes, and then its end or nothing more."""
    left = [*sizes]

    async def receive() -> Part:
        if not left:
            await asyncio.Event().wait()
        size = left.pop(0)
        return {"type": "http.request", "body": b"x" * size, "more_body": bool(left) or not ends}

    return receive


async def read(budget: BodyBudget, receive: Callable[[], Awaitable[Part]]) -> bytes:
    with budget.reading() as reading:
        return await read_body(receive, reading)


async def test_body_that_has_taken_longest_gives_way() -> None:
    budget = BodyBudget(100)
    slow = [asyncio.ensure_future(read(budget, parts(40, ends=False))) for _ in range(2)]
    await asyncio.sleep(0)
    assert len(await read(budget, parts(30))) == 30
    with pytest.raises(OverloadedError):
        await slow[0]
    assert not slow[1].done()
    assert len(await read(budget, parts(60))) == 60  # what the first had taken is free again
    slow[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow[1]
    assert len(await read(budget, parts(100))) == 100


async def test_budgets_say_how_full_they_are() -> None:
    budget, parsed = BodyBudget(100), ParsedBudget(1_000)
    slow = asyncio.ensure_future(read(budget, parts(40, ends=False)))
    await asyncio.sleep(0)
    assert repr(budget) == "<BodyBudget [40 of 100 bytes | 1 on their way]>"
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert repr(budget) == "<BodyBudget [0 of 100 bytes | 0 on their way]>"
    taken = await parsed.take(b"x" * 900)
    later = asyncio.ensure_future(parsed.take(b"x" * 200))
    await asyncio.sleep(0)
    assert repr(parsed) == "<ParsedBudget [900 of 1000 bytes | 1 waiting]>"
    await parsed.give_back(taken)
    await parsed.give_back(await later)
    assert repr(parsed) == "<ParsedBudget [0 of 1000 bytes | 0 waiting]>"


async def test_body_that_is_too_large_for_all_of_them_gives_way_itself() -> None:
    budget = BodyBudget(100)
    with pytest.raises(OverloadedError):
        await read(budget, parts(60, 60))
    assert len(await read(budget, parts(100))) == 100


async def test_body_that_is_complete_does_not_give_way() -> None:
    budget = BodyBudget(100)
    with budget.reading() as reading:
        assert len(await read_body(parts(80), reading)) == 80
        with pytest.raises(OverloadedError):
            await read(budget, parts(30))


async def test_bodies_are_parsed_in_turn_and_threads_switch_sooner_meanwhile() -> None:
    usual = sys.getswitchinterval()
    body = b'{"x-a":[' + b",".join([b"{}"] * 1000) + b"]}"
    budget = ParsedBudget(size_when_parsed(body) + 1)
    first = await budget.take(body)
    assert sys.getswitchinterval() == pytest.approx(min(usual, TURN_SECONDS))
    second = asyncio.ensure_future(budget.take(body))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not second.done()
    await budget.give_back(first)
    await budget.give_back(await second)
    assert sys.getswitchinterval() == pytest.approx(usual)
    assert await ParsedBudget(10).take(body) == 10  # one alone always passes


async def test_size_when_parsed_is_no_less_than_what_the_values_take() -> None:
    assert size_when_parsed(b"[" + b",".join([b"{}"] * 1000) + b"]") > 1000 * sys.getsizeof({})
