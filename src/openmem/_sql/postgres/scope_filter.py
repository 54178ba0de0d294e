"""The scopes that a caller may touch, as a condition on `m`."""

from __future__ import annotations

from typing import Any

from openmem._model.access import Patterns, paths_of


def allowed(patterns: Patterns | None, first: int) -> tuple[str, list[Any]]:
    """Return the condition, with ` and ` before it, and its two parameters; nothing where everything is allowed.

    Args:
        patterns: The scopes, `None` for all.
        first: The number of the first parameter.
    """
    if patterns is None:
        return "", []
    exact, below = paths_of(patterns)
    return f" and (m.scope = any(${first}::text[]) or m.scope ^@ any(${first + 1}::text[]))", [exact, below]
