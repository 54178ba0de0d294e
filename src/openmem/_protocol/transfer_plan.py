"""The plan of a transfer: what it carries, what it must leave, and whether all of it arrived."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from openmem.errors import UnsupportedCapabilityError
from openmem.types import Capabilities, CapabilityFeatures, TransferLoss

ORIGIN: Final = "x-openmem"
"""The extension that says which id a memory had, and at which provider, before it was ever moved."""
MAX_EXAMPLES: Final = 20

# What belongs to a store, not to a memory.
_OF_THE_STORE: Final = frozenset({"embedding_model", "status", ORIGIN})
_LATER: Final = ("metadata", "searchable")
_OF_THE_WRITE: Final = frozenset({"version", "updated_at"})

Memory = Mapping[str, Any]


def check_ends(source: Capabilities, target: Capabilities) -> None:
    """Check that one can give memories away and the other can take them.

    Raises:
        UnsupportedCapabilityError: Names the end that cannot.
    """
    for end, verb in ((source, "export"), (target, "import")):
        if verb not in end.all_verbs:
            raise UnsupportedCapabilityError(f"{verb} is not supported by this provider", provider=end.provider)


def is_pending(memory: Memory) -> bool:
    """Return whether a store is still taking in a memory, and may not show it as it is."""
    return memory.get("status") in ("queued", "indexing")


class Fitting:
    """Makes memories fit a target, and counts what it cannot hold.

    Args:
        source: The provider that the memories come from.
        target: What the target says of itself. What it does not mention, it is taken to hold, except for fields that
            came later, which it must name.
    """

    def __init__(self, source: str, target: Capabilities) -> None:
        self._source = source
        self._longest = target.features.max_content_length
        self._dropped = dict(_dropped(target.features))
        self._dropped |= {name: name for name in _LATER if name not in target.arguments}
        self._lost: Counter[tuple[str, bool]] = Counter()

    def fit(self, memory: Memory, refusal: str | None) -> dict[str, Any] | None:
        """Return what goes to the target: fields that it cannot hold are gone, the origin is noted.

        Args:
            memory: The fields of a memory, as an export has them.
            refusal: Why the target takes nothing of its user, or `None`.

        Returns:
            The fields, or `None` if the memory must stay behind.
        """
        reason = refusal or self._unfit(memory)
        if reason is not None:
            self._lost[reason, True] += 1
            return None
        for field, name in self._dropped.items():
            if memory.get(field) is not None:
                self._lost[name, False] += 1
        fitting = {field: value for field, value in memory.items() if field not in self._dropped}
        own = memory.get(ORIGIN, {})
        if isinstance(own, Mapping) and "id" not in own:
            fitting[ORIGIN] = {**own, "id": memory["id"], "provider": self._source}
        return fitting

    @property
    def losses(self) -> list[TransferLoss]:
        """The parts of the memories so far that the target could not hold."""
        return [TransferLoss(what=what, memories=count, stays=stays) for (what, stays), count in self._lost.items()]

    def _unfit(self, memory: Memory) -> str | None:
        if not memory["content"].strip():
            return f"text that {self._source} has not taken in"
        if self._longest is None or len(memory["content"]) <= self._longest:
            return None
        return f"content of more than {self._longest} characters"


def describe(losses: list[TransferLoss]) -> str:
    """Return the losses as one sentence for people."""
    parts = [f"{loss.what} of {loss.memories}" + (" (they would stay behind)" if loss.stays else "") for loss in losses]
    return "; ".join(parts)


class Ledger:
    """The memories that must be in the target, as digests: about 250 bytes for each memory.

    Args:
        target: The provider that adds `x-<target>` to what it returns.
        rewritten: Whether the transfer may overwrite memories, which then have versions of their own.
    """

    def __init__(self, target: str, *, rewritten: bool) -> None:
        self._ignored = _OF_THE_STORE | {f"x-{target}"} | (_OF_THE_WRITE if rewritten else frozenset())
        self._expected: dict[tuple[str, str], bytes] = {}
        self._users: dict[str, str] = {}
        self._different: dict[tuple[str, str], bytes] = {}
        self.verified = 0

    def expect(self, memory: Memory) -> None:
        """Note a memory that must arrive."""
        self._expected[self._key(memory)] = self._digest(memory)

    def meet(self, memory: Memory) -> bool:
        """Compare a memory of the target with the one that was expected; others than those are let pass.

        Returns:
            Whether it is as expected, or was not expected at all.
        """
        key = self._key(memory)
        digest = self._expected.pop(key, None)
        if digest is None:
            return True
        if digest == self._digest(memory):
            self.verified += 1
            return True
        self._different[key] = digest
        return False

    def meet_again(self, memory: Memory) -> None:
        """Compare a memory that was different once more."""
        key = self._key(memory)
        if self._different.get(key) == self._digest(memory):
            del self._different[key]
            self.verified += 1

    @property
    def different(self) -> list[str]:
        """The ids of what was met in another form."""
        return [id_ for _, id_ in self._different]

    @property
    def missing(self) -> list[str]:
        """The ids of what was expected and not met."""
        return [id_ for _, id_ in self._expected]

    def _key(self, memory: Memory) -> tuple[str, str]:
        user = memory["user_id"]
        return self._users.setdefault(user, user), memory["id"]

    def _digest(self, memory: Memory) -> bytes:
        kept = {name: value for name, value in memory.items() if name not in self._ignored}
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
        return blake2b(text.encode(), digest_size=16).digest()


def _dropped(features: CapabilityFeatures) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    if features.temporal is False:
        fields += [("valid_from", "valid_from"), ("valid_to", "valid_to")]
    if features.supports_supersession is False:
        fields += [("supersedes", "supersedes")]
    if features.scopes == "none":
        fields += [("scope", "scope")]
    return fields
