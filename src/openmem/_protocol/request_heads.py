"""The head of a request: what it may hold, checked before the rest is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from openmem.errors import InvalidRequestError

Headers: TypeAlias = list[tuple[bytes, bytes]]

SINGLE: Final = frozenset(
    [
        *(b"authorization", b"x-api-key", b"x-user-id", b"x-omp-app", b"x-omp-timeout", b"x-request-id"),
        *(b"idempotency-key", b"content-type", b"content-length", b"host", b"origin", b"traceparent"),
        *(b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"),
    ]
)
"""Headers with one value. Given twice, two programs on the way may each believe another one."""
MAX_HEADERS: Final = 128
"""Headers of a request: while a head is on its way, each takes ten times its bytes."""


def fields_of(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by their names in lower case; the values of a list that was sent in parts are one list.

    Args:
        headers: As they were sent, with names in lower case.

    Raises:
        InvalidRequestError: One that has a single value was given twice.
    """
    found = dict(headers)
    if len(found) == len(headers):
        return found
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    for name, several in values.items():
        if len(several) > 1 and name in SINGLE:
            raise InvalidRequestError(f"the header {name.decode('latin-1')} must be given once")
    return {name: b", ".join(several) for name, several in values.items()}
