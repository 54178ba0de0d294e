"""Keys of a server's callers, and what the server remembers of their requests. Pure: random bytes are arguments.

A secret is `omp_<id>_<token>`: the id finds the row, and the row holds the SHA-256 of the whole. A token has 256
random bits, so a plain hash is as good as a slow one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from openmem._model.access import Access, IdempotencySeed
from openmem._model.scopes import Grant, parse_grant
from openmem.errors import InvalidRequestError

MAX_GRANTS: Final = 100
MAX_REPLY: Final = 1_048_576
TOKEN_BYTES: Final = 32

KeyState = Literal["active", "expired", "revoked"]

_ID_SIGNS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_LENGTH: Final = 12
_KEY_ID: Final = re.compile(f"[0-9a-z]{{{_ID_LENGTH}}}")
_SECRET: Final = re.compile(f"omp_([0-9a-z]{{{_ID_LENGTH}}})_[A-Za-z0-9_-]{{43}}")
_NO_HASH: Final = "0" * 64


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key without its secret: whose it is and what it may do.

    Attributes:
        id: Twelve characters, part of the secret and no secret itself.
        app: The app that the key was made for.
        user_id: The only user whose memories it reaches; `None` is any user.
        grants: What it may do.
        created_at: When it was made.
        expires_at: From when on it is refused, or `None`.
        last_used_at: When it was last used, to the minute or so, or `None`.
        revoked_at: When it was revoked, or `None`.
    """

    id: str
    app: str
    user_id: str | None = field(repr=False)
    grants: tuple[Grant, ...]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def access(self) -> Access:
        """The rights of a caller who shows the key."""
        return Access(self.user_id, self.grants)

    def state(self, now: datetime) -> KeyState:
        """Return whether the key is `active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. Its `secret` is nowhere else: show it once and forget it."""

    info: KeyInfo
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredReply:
    """The reply to an earlier request; a `body` of `None` was too large to be kept."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Remembered:
    """A request that may be a repetition: its seed is that of the first time.

    Attributes:
        seed: What the ids are made of.
        reply: What the first time answered, if known.
        is_new: This is the first time.
    """

    seed: IdempotencySeed
    reply: StoredReply | None = None
    is_new: bool = field(default=False, compare=False)


def new_key_id(number: int) -> str:
    """Return the id that a random number of 62 bits makes."""
    signs = []
    for _ in range(_ID_LENGTH):
        number, rest = divmod(number, len(_ID_SIGNS))
        signs.append(_ID_SIGNS[rest])
    return "".join(signs)


def new_secret(key_id: str, token: bytes) -> str:
    """Return the secret of a key; the token is 32 random bytes."""
    return f"omp_{key_id}_{base64.urlsafe_b64encode(token).rstrip(b'=').decode()}"


def is_key_id(text: object) -> bool:
    """Return whether this has the form of a key's id."""
    return isinstance(text, str) and _KEY_ID.fullmatch(text) is not None


def id_of_secret(secret: object) -> str | None:
    """Return the id in a secret, or `None` if this has not the form of one."""
    found = _SECRET.fullmatch(secret) if isinstance(secret, str) else None
    return found[1] if found else None


def hash_of(secret: str) -> str:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_secret_of(secret: str, stored: str | None) -> bool:
    """Return whether a secret has this hash; it takes as long if there is none to compare with."""
    same = hmac.compare_digest(hash_of(secret), _NO_HASH if stored is None else stored)
    return same and stored is not None


def check_grants(value: object) -> tuple[Grant, ...]:
    """Return 1 to 100 grants without repetitions, each a `Grant` or a text such as `read:coding/*`.

    Raises:
        InvalidRequestError: It is no list of such, or too short or too long.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidRequestError(f"grants must be a list, not {type(value).__name__}")
    if not 1 <= len(value) <= MAX_GRANTS:
        raise InvalidRequestError(f"grants must have 1 to {MAX_GRANTS} entries, such as read:coding/*")
    checked = (
        grant if isinstance(grant, Grant) else parse_grant(grant, f"grants[{number}]")
        for number, grant in enumerate(value)
    )
    return tuple(dict.fromkeys(checked))
