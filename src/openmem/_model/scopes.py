"""Scopes are paths such as `coding/preferences`; patterns and grants say which of them are meant.

A pattern matches exactly, unless it ends in `/*`: `coding/*` matches `coding` and everything below it. `*`
alone matches everything, memories without a scope too. No other character has a meaning of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from openmem._model.checks import check_choice, check_text
from openmem.errors import InvalidRequestError

MAX_SCOPE: Final = 512

GrantVerb = Literal["read", "write", "delete", "admin"]
GRANT_VERBS: Final = ("read", "write", "delete", "admin")


@dataclass(frozen=True, slots=True)
class ScopePattern:
    """A set of scopes: one path, or with `subtree` that path and all below it. An empty path is the root."""

    path: str
    subtree: bool

    def matches(self, scope: str | None) -> bool:
        """Return whether a memory with this scope is meant; `None` is a memory without a scope."""
        if self.subtree and not self.path:
            return True
        if scope is None:
            return False
        return scope == self.path or (self.subtree and scope.startswith(f"{self.path}/"))

    def covers(self, other: ScopePattern) -> bool:
        """Return whether this pattern matches everything that `other` matches."""
        if other.subtree and not self.subtree:
            return False
        return self.matches(other.path) if other.path else self == EVERYTHING

    def __str__(self) -> str:
        if not self.subtree:
            return self.path
        return f"{self.path}/*" if self.path else "*"


EVERYTHING: Final = ScopePattern("", True)


@dataclass(frozen=True, slots=True)
class Grant:
    """A right: a verb and the scopes to which it applies. `admin` includes the other verbs."""

    verb: GrantVerb
    pattern: ScopePattern

    def allows(self, verb: str, scope: str | ScopePattern | None) -> bool:
        """Return whether this grant is enough.

        Args:
            verb: `read`, `write`, `delete` or `admin`.
            scope: The scope of a memory, `None` for a memory without one, or a pattern that must be covered.
        """
        if self.verb not in (verb, "admin"):
            return False
        return self.pattern.covers(scope) if isinstance(scope, ScopePattern) else self.pattern.matches(scope)

    def __str__(self) -> str:
        return f"{self.verb}:{self.pattern}"


def parse_scope(text: object, name: str = "scope") -> str:
    """Return the scope of a memory that is to be stored.

    Args:
        text: Path segments joined by `/`, at most 512 characters in all.
        name: What to call it in the error.

    Raises:
        InvalidRequestError: An empty segment, a `*`, a control character, too long, or no string.
    """
    return _checked_path(text, name) if type(text) is str else _checked_path(check_text(text, name, MAX_SCOPE), name)


def parse_pattern(text: object, name: str = "scope") -> ScopePattern:
    """Return the pattern of a filter or grant.

    Args:
        text: A scope, a scope followed by `/*`, or `*`.
        name: What to call it in the error.

    Raises:
        InvalidRequestError: It is none of these.
    """
    pattern = check_text(text, name, MAX_SCOPE)
    if pattern == "*":
        return EVERYTHING
    subtree = pattern.endswith("/*")
    return ScopePattern(_checked_path(pattern[:-2] if subtree else pattern, name), subtree)


def parse_grant(text: object, name: str = "grant") -> Grant:
    """Return the grant that `<verb>:<scope pattern>` describes, such as `read:coding/*`.

    Args:
        text: The grant; verbs are `read`, `write`, `delete` and `admin`.
        name: What to call it in the error.

    Raises:
        InvalidRequestError: The verb is unknown, or the pattern is wrong.
    """
    grant = check_text(text, name, MAX_SCOPE + 16)
    verb, colon, pattern = grant.partition(":")
    if not colon:
        raise InvalidRequestError(f"{name} must have the form verb:scope, such as read:coding/*")
    check_choice(verb, GRANT_VERBS, f"the verb of {name}")
    return Grant(verb, parse_pattern(pattern, name))  # type: ignore[arg-type]


@lru_cache(maxsize=1024)
def _checked_path(text: str, name: str) -> str:
    check_text(text, name, MAX_SCOPE, control=False)
    if "*" in text:
        raise InvalidRequestError(f"{name} may hold '*' only as the last segment of a filter or grant")
    if any(not segment or segment.isspace() for segment in text.split("/")):
        raise InvalidRequestError(f"{name} must not have an empty segment: write a/b/c")
    return text
