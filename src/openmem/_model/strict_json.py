"""JSON as programs exchange it: no member twice in an object, no NaN, no Infinity (RFC 8259 and RFC 7493)."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

BYTE_ORDER_MARK: Final = "\ufeff"


class JsonError(ValueError):
    """A text is not what was wanted; the message goes on after the name of the text: `names a member … twice`."""


def load_json(text: str) -> Any:
    """Return the value of a JSON text.

    Args:
        text: The text, without a byte order mark.

    Raises:
        JsonError: It is no JSON, names a member of an object twice, is nested too deeply, or holds NaN, Infinity
            or a number that is too long.
    """
    try:
        return json.loads(text, object_pairs_hook=_object_of, parse_constant=_refuse)
    except JsonError:
        raise
    except json.JSONDecodeError as error:
        raise JsonError(f"is not JSON: {error}") from None
    except RecursionError:
        raise JsonError("is nested too deeply") from None
    except ValueError:  # of int(), which takes 4,300 digits
        raise JsonError("holds a number that is too long") from None


def is_nested_within(value: Any, levels: int) -> bool:
    """Return whether arrays and objects lie at most so many levels deep in a JSON value.

    Level by level, not value by value: a list of a million empty ones is two steps.
    """
    level = [value]
    for _ in range(levels):
        filled = [part for part in level if part and isinstance(part, (dict, list))]
        if not filled:
            return True
        level = [inner for part in filled for inner in (part.values() if isinstance(part, dict) else part)]
    return not any(isinstance(part, (dict, list)) for part in level)


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise JsonError("names a member of an object twice")
    return value


def _refuse(constant: str) -> NoReturn:
    raise JsonError(f"is not JSON: {constant} is no JSON value")
