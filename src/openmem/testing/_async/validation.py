"""Rules about bad input: the promised error, naming the argument, and a store that did not notice."""

from __future__ import annotations

from typing import Any

import pytest

from openmem import AsyncMemory
from openmem.errors import InvalidRequestError, UnsupportedCapabilityError
from openmem.testing._async.rules import Rules
from openmem.testing.bad_input import BAD_INPUT, Bad


class ValidationRules(Rules):
    """Every argument of every verb."""

    @pytest.mark.parametrize("verb", sorted({bad.verb for bad in BAD_INPUT}))
    async def test_bad_input_is_refused_by_name_and_changes_nothing(self, memory: AsyncMemory, verb: str) -> None:
        """A value outside the contract raises `InvalidRequestError` whose message names the argument.

        If this fails, check the validation of that argument, and that it comes before the backend.
        """
        record = await self.remember(memory, "ann", "prefers tea", tags=["drink"])
        wrong = [
            f"{bad.name}: {_shown(arguments)} gave {error!r}"
            for bad in BAD_INPUT
            if bad.verb == verb
            for arguments in bad.calls(record.id)
            if not self._is_refusal(error := await self._refusal(memory, verb, arguments), bad)
        ]
        assert not wrong
        [kept] = await self.listed(memory, "ann")
        assert kept.model_dump(exclude={"status"}) == record.model_dump(exclude={"status"})

    def _is_refusal(self, error: BaseException | None, bad: Bad) -> bool:
        if isinstance(error, InvalidRequestError):
            return bad.argument in str(error)
        return isinstance(error, UnsupportedCapabilityError) and not self.declares(*bad.needs)

    async def _refusal(self, memory: AsyncMemory, verb: str, arguments: dict[str, Any]) -> BaseException | None:
        try:
            await getattr(memory, verb)(**arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, the rule judges it
            return error
        return None


def _shown(arguments: dict[str, Any]) -> str:
    return ascii(arguments)[:300]
