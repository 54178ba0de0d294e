"""The scopes that a caller may touch, as a condition on `s`, the scope of a row."""

from __future__ import annotations

from typing import Any, Final

from openmem._model.access import Patterns, paths_of
from openmem._sql.sqlite.rows import dumps

_ALLOWED: Final = """ and (
    s.path in (select value from json_each(?))
    or exists (select 1 from json_each(?) as above where substr(s.path, 1, length(above.value)) = above.value)
)"""


def allowed(patterns: Patterns | None) -> tuple[str, list[Any]]:
    """Return the condition, with ` and ` before it, and its parameters; nothing where everything is allowed."""
    if patterns is None:
        return "", []
    exact, below = paths_of(patterns)
    return _ALLOWED, [dumps(exact), dumps(below)]
