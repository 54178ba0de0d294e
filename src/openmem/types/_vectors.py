"""Vectors that callers bring."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12


class ReadyVector(TypedDict):
    """A vector that was made elsewhere, and the name of the model that made it.

    It has 1 to 16,000 finite numbers, not all zero; its length does not matter, as it is scaled to 1.
    """

    model: str
    vector: Sequence[float]
