"""Any value at any node of any reply is taken or refused, and never ends in anything else."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import pytest
from pydantic import BaseModel

from openmem import OMPError, ProviderError
from tests._async.hostile_replies import ALL, Case, connect, script, spoiled
from tests.hostile_peer import HostilePeer

_FREE = ("x-a", "metadata.", "explain", "erased", "remaining")
"""Members that hold what a server likes."""


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "flag"
    return "number" if isinstance(value, int | float) else type(value).__name__


def check_usable(result: Any) -> None:
    """Fail if a result cannot be shown, stored or sent on."""
    if isinstance(result, BaseModel):
        json.loads(result.model_dump_json())
        json.dumps(result.model_dump(mode="json"), allow_nan=False, ensure_ascii=False).encode()
    elif isinstance(result, list | tuple):
        for part in result:
            check_usable(part)


def must_refuse(case: Case, place: str, good: Any, spoil: str) -> bool:
    if not case.strict or not place or any(name in place for name in _FREE):
        return False
    try:
        value = json.loads(spoil)
    except ValueError:
        return True
    return value is not None and good is not None and kind(value) != kind(good)


@ALL
async def test_values_at_any_node_of_a_reply_are_taken_or_refused(case: Case) -> None:
    # An SDK takes long to read a reply: the long test puts each value at each node.
    await spoil_all(case, 1 if case.sdk is None else 5)


@pytest.mark.long
@pytest.mark.timeout(300)
@ALL
async def test_any_value_at_any_node_of_a_reply_is_taken_or_refused(case: Case) -> None:
    await spoil_all(case, 1)


async def spoil_all(case: Case, every: int) -> None:
    bodies = [json.dumps(case.reply).encode()]
    wrong: list[str] = []
    with HostilePeer(script(case, lambda: bodies[0]), keep=True) as peer:
        memory = connect(case, peer.url)  # not entered, which would ask the server already
        for place, bodies[0], good, spoil in spoiled(case.reply, every):
            told = f"{place} = {spoil[:40]}"
            try:
                check_usable(await case.ask(memory))
            except OMPError as error:
                if must_refuse(case, place, good, spoil) and not isinstance(error, ProviderError):
                    wrong.append(f"{told}: {error!r}")
            except Exception as error:  # noqa: BLE001 - which is what must not be
                wrong.append(f"{told}: {error!r}"[:300])
            else:
                if must_refuse(case, place, good, spoil):
                    wrong.append(f"{told}: taken")
        await memory.close()
    assert not wrong, f"{len(wrong)}: " + "\n".join(wrong[:40])


@ALL
async def test_good_reply_is_taken(case: Case) -> None:
    body = json.dumps(case.reply).encode()
    expected = pytest.raises(OMPError) if case.status >= 400 else nullcontext()
    with HostilePeer(script(case, lambda: body), keep=True) as peer:
        async with connect(case, peer.url) as memory:
            with expected:
                check_usable(await case.ask(memory))
