"""Access rights: the grants of one caller, and the seed that makes a caller's `add` repeatable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from openmem._model.checks import check_time, check_user_id
from openmem._model.scopes import EVERYTHING, Grant, ScopePattern
from openmem.errors import InvalidRequestError, ScopeDeniedError

MAX_ENTROPY_BITS = 71

Patterns: TypeAlias = tuple[ScopePattern, ...]
"""Scopes that are allowed: those that one of the patterns matches."""


@dataclass(frozen=True, slots=True)
class Access:
    """The rights of one caller.

    Args:
        user_id: The only user whose memories the caller may touch; `None` for those of any user.
        grants: What it may do there. None of them means nothing.
    """

    user_id: str | None
    grants: tuple[Grant, ...]

    def __post_init__(self) -> None:
        if self.user_id is not None:
            check_user_id(self.user_id)
        object.__setattr__(self, "grants", _checked(self.grants))

    def __repr__(self) -> str:
        # A user's id belongs in no log.
        user = "one user" if self.user_id is not None else "any user"
        return f"<Access of {user}: {', '.join(map(str, self.grants)) or 'nothing'}>"

    def may(self, verb: str, scope: str | ScopePattern | None) -> bool:
        """Return whether one of the grants is enough.

        Args:
            verb: `read`, `write`, `delete` or `admin`.
            scope: The scope of a memory, `None` for a memory without one, or a pattern that must be covered.
        """
        return any(grant.allows(verb, scope) for grant in self.grants)

    def need(self, verb: str, scope: str | ScopePattern | None) -> None:
        """Raise `ScopeDeniedError`, naming the missing grant, unless one of the grants is enough."""
        if not self.may(verb, scope):
            raise missing_grant(verb, scope)

    def patterns(self, *verbs: str) -> Patterns | None:
        """Return the scopes in which one of the verbs is allowed.

        Returns:
            Patterns of which none covers another, in a fixed order; `None` for everything, `()` for nothing.
        """
        granted = {grant.pattern for grant in self.grants if grant.verb == "admin" or grant.verb in verbs}
        if EVERYTHING in granted:
            return None
        widest = (one for one in granted if not any(one != other and other.covers(one) for other in granted))
        return tuple(sorted(widest, key=str))

    def is_admin(self) -> bool:
        """Return whether the caller may do what concerns all users."""
        return self.user_id is None and self.may("admin", EVERYTHING)


@dataclass(frozen=True, slots=True)
class IdempotencySeed:
    """The source of ids and times of new memories, instead of the clock and chance.

    The same `add` with the same seed stores its memories once, however often it is sent.

    Args:
        at: When the memories came to be; timezone-aware.
        entropy: A random number of 71 bits at most, never used for another `add`.
    """

    at: datetime
    entropy: int

    def __post_init__(self) -> None:
        at = check_time(self.at, "seed.at")
        if at is None:
            raise InvalidRequestError("seed.at must be a timezone-aware datetime")
        object.__setattr__(self, "at", at)
        if type(self.entropy) is not int or not 0 <= self.entropy < 1 << MAX_ENTROPY_BITS:
            raise InvalidRequestError(f"seed.entropy must be a whole number of at most {MAX_ENTROPY_BITS} bits")

    def __repr__(self) -> str:
        return "<IdempotencySeed>"  # it tells the ids that will be made


def missing_grant(verb: str, scope: str | ScopePattern | None) -> ScopeDeniedError:
    """Return the error for a grant that the caller does not hold; no scope is all of them."""
    missing = f"{verb}:{'*' if scope is None else scope}"
    return ScopeDeniedError(f"missing grant {missing}", details={"missing": missing})


def key_denied() -> ScopeDeniedError:
    """Return the error for an `add` under a key that names a memory which the caller may not write."""
    return ScopeDeniedError("key names a memory outside the scopes that may be written")


def paths_of(patterns: Patterns) -> tuple[list[str], list[str]]:
    """Return the scopes that patterns name, and the prefixes of all below those with a subtree."""
    exact = [pattern.path for pattern in patterns]
    return exact, [f"{pattern.path}/" for pattern in patterns if pattern.subtree]


def matches_any(patterns: Patterns | None, scope: str | None) -> bool:
    """Return whether a memory with this scope is allowed; `None` allows everything."""
    return patterns is None or any(pattern.matches(scope) for pattern in patterns)


def _checked(grants: object) -> tuple[Grant, ...]:
    if isinstance(grants, (str, bytes)) or not isinstance(grants, Iterable):
        raise InvalidRequestError("grants must be a sequence of Grant")
    given = tuple(grants)
    if not all(isinstance(grant, Grant) for grant in given):
        raise InvalidRequestError("grants must hold Grant objects: parse_grant makes them from text")
    return given
