"""Values as a `repr` shows them: long texts and lists cut short."""

from __future__ import annotations

from typing import Any, Final

MAX_CHARACTERS: Final = 200
MAX_ITEMS: Final = 5


class _Shown:
    """A value whose `repr` is cut short."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def shortened(value: Any) -> Any:
    """Return a value, or something whose `repr` is the beginning of its own, with its size."""
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        return _Shown(f"{value[:MAX_CHARACTERS]!r}… ({len(value):,} characters)")
    if isinstance(value, list) and len(value) > MAX_ITEMS:
        shown = ", ".join(repr(item) for item in value[:MAX_ITEMS])
        return _Shown(f"[{shown}, … ({len(value):,} in all)]")
    return value
