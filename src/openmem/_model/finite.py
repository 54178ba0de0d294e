"""Whether all numbers in a value are finite. JSON has no others, but readers of `1e400` make one. Pure."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel

_PLAIN: Final = frozenset({str, int, bool, datetime, type(None)})


def is_finite(value: Any) -> bool:
    """Return whether a value of JSON, or a model with all that it holds, has finite numbers only."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is float:
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_finite, value))
    if isinstance(value, BaseModel):
        return is_finite(vars(value)) and is_finite(value.model_extra or {})
    return True
