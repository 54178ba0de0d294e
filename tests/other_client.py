"""Another program that uses the same store at the same time, through a client of its own."""

from __future__ import annotations

from openmem import Memory
from openmem.testing import HashEmbedder


def change_from_outside(url: str, *, changed: str, deleted: str, added: str) -> None:
    """Change one memory, delete another and add a third, with the model "old"."""
    with Memory(url=url, embedder=HashEmbedder(model="old"), app="other") as memory:
        memory.update(changed, content="note word1000")
        memory.delete(deleted)
        memory.add(content=added, user_id="user0")
