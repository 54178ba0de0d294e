"""Rules about names of the greatest length: whatever is accepted fits into every index behind it."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

import pytest

from openmem import AsyncMemory
from openmem.errors import InvalidRequestError
from openmem.testing._async.rules import Rules, needs
from openmem.testing.moments import days

# Letters of one to four bytes. Chosen at random they cannot be compressed, which would hide that an index is narrow.
ALPHABETS: Final = {
    "1 byte": "".join(map(chr, range(ord("a"), ord("z") + 1))) + "0123456789",
    "2 bytes": "".join(map(chr, range(0x430, 0x450))),
    "3 bytes": "".join(map(chr, range(0x4E00, 0x9F00))),
    "4 bytes": "".join(map(chr, range(0x20000, 0x2A000))),
}
MOST_CHARACTERS: Final = 256
MOST_BYTES: Final = 768


class NameRules(Rules):
    """user_id, id, key, supersedes, scope and tags, each as long as it may be."""

    @needs("keys", "scopes", "supersession", "portability", "erasure", "history")
    @pytest.mark.parametrize("width", ALPHABETS)
    async def test_longest_names_are_stored_found_superseded_and_erased(self, memory: AsyncMemory, width: str) -> None:
        """Names of the greatest length, of letters of any width, serve every verb.

        If this fails, check how many bytes a row of each index may have, and what stands in it together: the ids of
        both memories and the user of a supersession are the widest.
        """
        user, old, new, key = (longest(width, seed) for seed in range(4))
        scope = f"{letters(width, 255, 5)}/{letters(width, 256, 6)}"
        tags = [letters(width, 200, 100 + number) for number in range(100)]
        report = await memory.import_(
            [_line(user, old, scope=scope, tags=tags), _line(user, new, key=key, scope=scope, supersedes=[old])]
        )
        assert report.imported == 2
        everything = await self.listed(memory, user, include_superseded=True, limit=1)
        kept = {record.content: record for record in everything}
        first, second = kept[f"drinks tea {old[:5]}"], kept[f"drinks tea {new[:5]}"]
        assert (first.user_id, first.scope, first.tags, second.key) == (user, scope, tags, key)
        assert second.supersedes == [first.id]
        assert [record.id for record in await self.listed(memory, user)] == [second.id]
        assert (await memory.get(first.id, user_id=user)).tags == tags
        by_tag = await memory.list(user, tag=tags[-1], include_superseded=True)
        assert [record.id for record in by_tag.items] == [first.id]
        for pattern in (scope, f"{scope.partition('/')[0]}/*"):
            assert len(await self.listed(memory, user, scope=pattern)) == 1
            assert await self.found(memory, "tea", user, scope=pattern) == [second.content]
        again = await memory.add(content="drinks coffee", user_id=user, key=key)
        assert again.id == second.id
        assert second.content in [record.content for record in await memory.history(second.id, user_id=user)]
        assert len(await self.exported(memory, user)) == 3
        receipt = await memory.delete_all(user)
        assert receipt.complete
        assert await self.listed(memory, user, include_superseded=True) == []

    @pytest.mark.parametrize("argument", ["user_id", "key", "supersedes"])
    async def test_name_of_too_many_bytes_is_refused_by_its_name(self, memory: AsyncMemory, argument: str) -> None:
        """A byte more than the longest is an `InvalidRequestError` that names the argument, on every store alike.

        If this fails, check that the names are looked at before the backend is.
        """
        name = longest("4 bytes", 1) + "a"
        given: dict[str, Any] = {
            "content": "drinks tea",
            "user_id": "ann",
            argument: [name] if argument == "supersedes" else name,
        }
        with pytest.raises(InvalidRequestError, match=rf"{argument}.* at most {MOST_BYTES} bytes of UTF-8, not 769"):
            await memory.add(**given)
        assert await self.listed(memory, "ann") == []

    async def test_imported_id_of_too_many_bytes_is_refused_by_its_name(self, memory: AsyncMemory) -> None:
        """The same holds for ids, which only an import brings.

        If this fails, check that imported records are held to the same limits as those that are added.
        """
        with pytest.raises(InvalidRequestError, match=rf"line 1: id .*at most {MOST_BYTES} bytes of UTF-8, not 769"):
            await memory.import_([_line("ann", longest("4 bytes", 1) + "a")])
        assert await self.listed(memory, "ann") == []


def letters(width: str, count: int, seed: int) -> str:
    """Return letters of a width, the same for the same seed."""
    return "".join(Random(seed).choices(ALPHABETS[width], k=count))


def longest(width: str, seed: int) -> str:
    """Return the longest name of letters of a width: 256 characters, and 768 bytes."""
    return letters(width, min(MOST_CHARACTERS, MOST_BYTES // int(width[0])), seed)


def _line(user: str, id: str, **fields: object) -> str:
    record = {"id": id, "user_id": user, "content": f"drinks tea {id[:5]}", "created_at": days(0).isoformat(), **fields}
    return json.dumps({"memory": record})
