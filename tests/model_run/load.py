"""Thirty-two tasks do random things to two hundred users of one store at once; every answer is compared."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from openmem import AsyncMemory, OMPError
from tests.model_run.oracle import UserOracle
from tests.model_run.workload import MOST_KEPT, Mismatch, Session

TASKS = 32
USERS = 200
UNUSUAL = ("ann", "Ann", "é", "e\u0301", "日本", "a/b", "a%b", "a_b", "' or 1=1", "x" * 200, "👩\u200d👩", "null", "0")
WEIGHTS = {
    "add": 20,
    "add_with_key": 7,
    "add_many": 4,
    "update": 12,
    "delete": 7,
    "get": 12,
    "reach_for_others": 4,
    "list": 10,
    "search": 10,
    "context": 3,
    "history": 4,
    "audit": 3,
    "erase": 1,
    "travel": 1,
    "race": 2,
}


@dataclass
class Outcome:
    """The findings of a run.

    Attributes:
        done: How often each operation was done.
        mismatches: What was not as it must be, with the user and the number of the operation.
    """

    done: Counter[str] = field(default_factory=Counter)
    mismatches: list[str] = field(default_factory=list)

    @property
    def operations(self) -> int:
        """The number of operations that were done."""
        return sum(self.done.values())


def user_name(number: int) -> str:
    """Return the name of a user; the first ones are hard to tell apart, or look like something else."""
    return UNUSUAL[number] if number < len(UNUSUAL) else f"user {number} é"


async def run(client_of: Callable[[str], AsyncMemory], operations: int, seed: int, *, most_wrong: int = 20) -> Outcome:
    """Do random operations and compare.

    Args:
        client_of: Returns the store as the caller of a user sees it.
        operations: How many, in all.
        seed: The same seed draws the same operations for each user, in another order among users.
        most_wrong: The run ends after so many mismatches.
    """
    chance = random.Random(seed)
    oracles = [UserOracle(user_name(number)) for number in range(USERS)]

    def others(user_id: str) -> str | None:
        oracle = chance.choice(oracles)
        return None if oracle.user_id == user_id or not oracle.memories else chance.choice([*oracle.memories])

    sessions = [
        Session(oracle, client_of(oracle.user_id), random.Random(f"{seed} {number}"), partial(others, oracle.user_id))
        for number, oracle in enumerate(oracles)
    ]
    outcome, left = Outcome(), iter(range(operations))
    free = [*sessions]

    async def work() -> None:
        for number in left:
            session = free.pop(chance.randrange(len(free)))  # one task at a time for each user
            name = choose(session)
            try:
                await getattr(session, name)()
            except (Mismatch, OMPError) as error:
                what = f"{type(error).__name__} {error}"
                outcome.mismatches.append(f"operation {number}, {name} of {session.user_id}: {what}")
            else:
                free.append(session)  # a user about whom something is wrong takes no further part
            outcome.done[name] += 1
            if len(outcome.mismatches) >= most_wrong:
                return

    await asyncio.gather(*(work() for _ in range(TASKS)))
    return outcome


def choose(session: Session) -> str:
    """Return what a user does next; one who has much erases it first."""
    if len(session.oracle.memories) > MOST_KEPT:
        return "erase"
    return session.chance.choices([*WEIGHTS], [*WEIGHTS.values()])[0]
