"""Adds, changes, deletes and erases memories that other writers have, too, until it is killed or has done enough.

    python changing_writer.py URL SEED TURNS

It says `ready` once it may be killed. Two users share a few keys; a line is a turn.
"""

from __future__ import annotations

import random
import sys
from contextlib import suppress

from openmem import Memory, NotFoundError, OMPError
from openmem.errors import ProviderUnavailableError
from openmem.types import MemoryInput

USERS = ("ann", "bob")
KEYS = [f"key {number}" for number in range(6)]
SCOPES = ("home", "work/desk", "work/car", None)


def turn(memory: Memory, dice: random.Random) -> None:
    """Do one thing."""
    user_id, scope = dice.choice(USERS), dice.choice(SCOPES)
    what = dice.random()
    if what < 0.3:
        memory.add(f"fact {dice.random()}", user_id=user_id, scope=scope)
    elif what < 0.5:
        memory.add(f"fact {dice.random()}", user_id=user_id, key=dice.choice(KEYS), scope=scope)
    elif what < 0.65:
        keys = dice.sample(KEYS, 3)
        items = [MemoryInput(content=f"fact {dice.random()}", user_id=user_id, key=key, scope=scope) for key in keys]
        memory.add_many([*items, MemoryInput(content="one more", user_id=user_id)])
    elif what < 0.66:
        memory.delete_all(user_id, scope="work/*")
    elif what < 0.665:
        memory.delete_all(user_id)
    else:
        found = memory.list(user_id, limit=20).items
        if found:
            record = dice.choice(found)
            if what < 0.9:
                memory.update(record.id, user_id=user_id, content=f"fact {dice.random()}", scope=scope)
            else:
                memory.delete(record.id, user_id=user_id)


def main(url: str, seed: str, turns: str) -> None:
    """Write."""
    dice = random.Random(seed)
    with Memory(url=url, embedder="none", app=f"writer {seed}", timeout=60) as memory:
        memory.health()
        print("ready", flush=True)
        for _ in range(int(turns)):
            # Another writer deleted it meanwhile, or had some of the same memories in another order.
            with suppress(NotFoundError, ProviderUnavailableError):
                turn(memory, dice)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OMPError as error:
        sys.exit(f"{type(error).__name__}: {error}")
