"""Memory ids: `mem_` and a ULID whose first 12 random bits are the routing bucket of the user.

48 bits of time, 12 bits of bucket and 68 random bits make 26 characters of Crockford's base 32. An id sorts
by time and says where its memory lies, without naming the user.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from openmem.errors import InvalidRequestError, NotFoundError

BUCKETS: Final = 4096
ENTROPY_BYTES: Final = 9

# More than any `add` has; chance hits as few of 2**68 numbers practically never.
_MOST_AT_ONCE: Final = 1 << 24

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_VALUES: Final = {sign: value for value, sign in enumerate(_ALPHABET)}
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._\-]{1,64}")
"""Every id of a request: in headers, in the audit log, in logs and in errors."""

_OWN_ID: Final = re.compile(f"mem_[0-7][{_ALPHABET}]{{25}}")


class Key(NamedTuple):
    """The caller's own name of a memory, unique within its user, where an id might stand."""

    name: str


Named: TypeAlias = str | Key
"""A memory by its id or by its key."""


@lru_cache(maxsize=4096)
def routing_bucket(user_id: str) -> int:
    """Return the user's bucket, 0 to 4095: the first 12 bits of the SHA-256 of the UTF-8 user id."""
    digest = hashlib.sha256(user_id.encode()).digest()
    return (digest[0] << 4) | (digest[1] >> 4)


def new_memory_id(user_id: str, *, millis: int, entropy: bytes) -> str:
    """Return a new id for a memory of this user.

    Args:
        user_id: Whose memory it is.
        millis: Milliseconds since 1970, below 2**48.
        entropy: 9 random bytes, of which 68 bits are used.

    Raises:
        ValueError: `millis` is out of range, or `entropy` has another length.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"entropy must be {ENTROPY_BYTES} bytes")
    return _id_of(user_id, millis, int.from_bytes(entropy, "big") >> 4)


def _id_of(user_id: str, millis: int, number: int) -> str:
    if not 0 <= millis < 1 << 48:
        raise ValueError("millis must be from 0 to 2**48 - 1")
    tail = (routing_bucket(user_id) << 68) | number
    high, low, p = tail >> 40, tail & 0xFFFFFFFFFF, _PAIRS
    return (
        f"mem_{p[millis >> 40]}{p[millis >> 30 & 1023]}{p[millis >> 20 & 1023]}{p[millis >> 10 & 1023]}"
        f"{p[millis & 1023]}{p[high >> 30]}{p[high >> 20 & 1023]}{p[high >> 10 & 1023]}{p[high & 1023]}"
        f"{p[low >> 30]}{p[low >> 20 & 1023]}{p[low >> 10 & 1023]}{p[low & 1023]}"
    )


def new_memory_ids(user_ids: Sequence[str], now: datetime, start: int) -> list[str]:
    """Return new ids for memories that are stored together.

    Their random parts count upwards from `start`, so that memories of one batch keep their order in a listing.

    Args:
        user_ids: Whose memories they are.
        now: The time of the call.
        start: A random number of 71 bits.
    """
    millis = int(now.timestamp() * 1000)
    return [_id_of(user_id, millis, number) for number, user_id in enumerate(user_ids, start >> 4)]


def is_own_id(memory_id: str) -> bool:
    """Return whether the id has the form of `new_memory_id`.

    A ULID from elsewhere can have the same form: a routed search that finds nothing is no proof of absence
    in a store that holds imported memories.
    """
    return _OWN_ID.fullmatch(memory_id) is not None


def origin_of(memory_id: str) -> tuple[int, int] | None:
    """Return the milliseconds and the 68 random bits that the id carries, or `None` for an id of another form."""
    if not is_own_id(memory_id):
        return None
    number = 0
    for sign in memory_id[4:]:
        number = number << 5 | _VALUES[sign]
    return number >> 80, number & ((1 << 68) - 1)


def is_made_from(memory_id: str, start: int) -> bool:
    """Return whether `new_memory_ids` makes this id from a random number, be it for the first memory or a later one."""
    origin = origin_of(memory_id)
    return origin is not None and 0 <= origin[1] - (start >> 4) < _MOST_AT_ONCE


def may_be_of(memory_id: str, user_id: str) -> bool:
    """Return whether an id, without its user being named, may mean a memory of this user.

    An id of our own form means one of the users of its bucket only. So no user who imports a memory under the id of
    another user's takes its place, not even after that one was deleted.
    """
    return bucket_of(memory_id) in (None, routing_bucket(user_id))


def substitute_id(memory_id: str, user_id: str, created_at: datetime | None) -> str:
    """Return the id under which a memory is stored whose own is taken by another user of the same bucket.

    It is the same each time, so that an import that is repeated finds it again.
    """
    millis = 0 if created_at is None else max(0, int(created_at.timestamp() * 1000))
    digest = hashlib.sha256(f"{user_id}\n{memory_id}".encode()).digest()
    return new_memory_id(user_id, millis=millis, entropy=digest[:ENTROPY_BYTES])


def bucket_of(memory_id: str) -> int | None:
    """Return the routing bucket that the id carries, or `None` for an id of another form."""
    if not is_own_id(memory_id):
        return None
    first, second, third = (_VALUES[sign] for sign in memory_id[14:17])
    return (first << 7) | (second << 2) | (third >> 3)


def unknown_id(named: Named, provider: str | None = None) -> NotFoundError:
    """Return the error for an id, or a key, that no memory has which the caller may see."""
    what = f"key {named.name!r}" if isinstance(named, Key) else f"id {named!r}"
    return NotFoundError(f"no memory has the {what}", provider=provider)


def ambiguous_id() -> InvalidRequestError:
    """Return the error for an id that memories of several users have, where no user is named."""
    return InvalidRequestError("id: several users have a memory of this id; give user_id")
