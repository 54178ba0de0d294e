"""Rules about what a provider says of itself: what it lists works, and what it does not list is refused."""

from __future__ import annotations

from typing import Any

import pytest

from openmem import AsyncMemory
from openmem.errors import UnsupportedCapabilityError
from openmem.testing._async.rules import Rules
from openmem.testing.bad_input import NEEDS, VALID_CALLS, with_id
from openmem.testing.later_calls import KEY, LATER_CALLS
from openmem.types import MemoryRecord

UNLISTED = frozenset(("capabilities", "health", "wait_for_ingest", "scopes", "tags"))
"""Verbs that work with every provider, whether it lists them or not."""
LINES = (
    '{"format": "omp-export", "version": 1}',
    '{"memory": {"id": "m1", "content": "likes milk", "user_id": "ann", "created_at": "2026-01-01T00:00:00Z"}}',
)


class HonestyRules(Rules):
    """capabilities, and every verb and argument that it lists or leaves out."""

    async def test_capabilities_agree_with_the_declarations(self, memory: AsyncMemory) -> None:
        """`capabilities()` claims what is declared, and so what these rules prove; no more and no less.

        If this fails, check the feature flags, the verbs and the arguments, or the declarations of the test class.
        """
        said = await memory.capabilities()
        assert said.omp_version
        assert said.provider
        assert self.disagreements(said) == []

    async def test_verbs_that_are_listed_work_and_others_are_refused(self, memory: AsyncMemory) -> None:
        """Each verb in `capabilities().all_verbs` answers a plain call; each that is not there is refused.

        If this fails, check the list of verbs, or what the verb needs beside it.
        """
        listed = {"import_" if verb == "import" else verb for verb in (await memory.capabilities()).all_verbs}
        for verb, given in {**VALID_CALLS, "import_": {"lines": [*LINES]}, "reembed": {}}.items():
            if verb in listed or verb not in UNLISTED:
                await self._try(memory, verb, given, works=verb in listed)

    @pytest.mark.parametrize("argument", sorted(LATER_CALLS))
    async def test_arguments_that_are_listed_work_and_others_are_refused(
        self, memory: AsyncMemory, argument: str
    ) -> None:
        """Each argument that `capabilities()` lists is taken; each that is not there is refused, and changes nothing.

        If this fails, check `understands`, and that no verb ignores an argument in silence.
        """
        listed = argument in (await memory.capabilities()).arguments
        for verb, given in LATER_CALLS[argument]:
            needed = {NEEDS[name] for name in (verb, *given) if name in NEEDS and name != argument}
            await self._try(memory, verb, given | {"user_id": "ann"}, works=listed and self.declares(*needed))

    async def test_limit_of_a_search_is_as_large_as_stated(self, memory: AsyncMemory) -> None:
        """A search may ask for `limits.max_search_results`, and then finds all that there is.

        If this fails, check the stated limit against the one that is checked, and against the backend's own.
        """
        limits = (await memory.capabilities()).limits
        limit = 10 if limits is None or limits.max_search_results is None else limits.max_search_results
        await self.remember(memory, "ann", "prefers tea")
        assert await self.found(memory, "tea", "ann", limit=limit) == ["prefers tea"]

    async def _try(self, memory: AsyncMemory, verb: str, given: dict[str, Any], *, works: bool) -> None:
        record = await self._fresh(memory)
        call = with_id(given, record.id)
        if works:
            await getattr(memory, verb)(**call)
            return
        with pytest.raises(UnsupportedCapabilityError):
            await getattr(memory, verb)(**call)
        [kept] = await self.listed(memory, "ann")
        assert kept.model_dump(exclude={"status"}) == record.model_dump(exclude={"status"}), verb

    async def _fresh(self, memory: AsyncMemory) -> MemoryRecord:
        for old in await self.listed(memory, "ann", **self._hidden_too):
            await memory.delete(old.id, user_id="ann")
        more: dict[str, Any] = {"key": KEY} if self.declares("keys") else {}
        return await self.remember(memory, "ann", "prefers tea", **more)

    @property
    def _hidden_too(self) -> dict[str, Any]:
        hidden = {"supersession": "include_superseded", "temporal": "include_expired"}
        return {argument: True for name, argument in hidden.items() if self.declares(name)}
