"""Authentication: the key of a request, looked up in the server's store and remembered for two seconds."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

from openmem import Access, AsyncServerStore, parse_grant
from openmem._model.keys import KeyInfo
from openmem.errors import UnauthorizedError
from openmem.server.services.timing import SingleFlight, clock

REMEMBERED: Final = 2.0
"""Seconds for which a key is taken to be as it was: a revocation works within them."""
MAX_REMEMBERED: Final = 10_000
MAX_SECRET: Final = 512

ANONYMOUS_ID: Final = "-"
"""The id of a caller where no keys are asked for."""

EVERYTHING: Final = Access(None, (parse_grant("admin:*"),))


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller and their grants. `id` is that of the key, and no secret."""

    id: str
    access: Access
    app: str | None = None


ANONYMOUS: Final = Caller(ANONYMOUS_ID, EVERYTHING)

Known: TypeAlias = tuple[float, Caller, datetime | None]
"""Until when a key is taken to be as it was, who it is, and when it expires."""


class Callers:
    """Finds the caller of a request.

    Args:
        store: Where the keys are; without one, no key is needed.
        open_without_keys: Whether every request may do everything as long as no key was ever made.
    """

    def __init__(self, store: AsyncServerStore | None, *, open_without_keys: bool) -> None:
        self._store = store
        self._open_without_keys = open_without_keys
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._finding: SingleFlight[bytes, Known] = SingleFlight()
        self._counting: SingleFlight[None, bool] = SingleFlight()
        self._locked = False
        self._asked_again_at = 0.0
        self._used: dict[str, datetime] = {}

    async def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Return the caller that the headers of a request name.

        Raises:
            UnauthorizedError: There is no key, several, or one that is unknown, expired or revoked.
        """
        if not await self._needs_key():
            return ANONYMOUS
        return await self._caller_of(_secret_of(headers))

    def recall(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller | None:
        """Return the same where nothing need be looked up, or `None`.

        Raises:
            UnauthorizedError: There is no key, several, or one that has expired.
        """
        if not self._locked:
            return None
        found = self._known.get(_mark_of(_secret_of(headers)))
        return self._used_now(found) if found is not None and found[0] > clock() else None

    async def flush(self) -> None:
        """Store when keys were last used; if that fails, the next call does it."""
        used, self._used = self._used, {}
        if used and self._store is not None:
            try:
                await self._store.touch_keys(used)
            except BaseException:  # a cancellation too: storing a time twice changes nothing
                self._used = {**used, **self._used}
                raise

    async def _needs_key(self) -> bool:
        if self._locked or self._store is None:
            return self._locked or not self._open_without_keys
        if not self._open_without_keys:
            self._locked = True
            return True
        if clock() >= self._asked_again_at:
            self._locked = await self._counting.ask(None, self._store.has_keys)
            self._asked_again_at = clock() + REMEMBERED
        return self._locked

    async def _caller_of(self, secret: str) -> Caller:
        mark, now = _mark_of(secret), clock()
        found = self._known.get(mark)
        if found is None or found[0] <= now:
            found = await self._finding.ask(mark, lambda: self._look_up(mark, secret, now))
        return self._used_now(found)

    def _used_now(self, found: Known) -> Caller:
        _, caller, expires_at = found
        at = datetime.now(UTC)
        if expires_at is not None and expires_at <= at:
            raise wrong_key()
        self._used[caller.id] = at
        return caller

    async def _look_up(self, mark: bytes, secret: str, now: float) -> Known:
        info = await self._store.find_key(secret) if self._store is not None else None
        if info is None:
            self._known.pop(mark, None)
            raise wrong_key()
        self._known[mark] = found = (now + REMEMBERED, caller_of(info), info.expires_at)
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return found


def caller_of(info: KeyInfo) -> Caller:
    """Return the caller that a key stands for."""
    return Caller(info.id, Access(info.user_id, info.grants), info.app)


def wrong_key() -> UnauthorizedError:
    """Return the answer to every key that does not work, whatever the reason."""
    return UnauthorizedError("the API key is missing or not valid")


def _mark_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _secret_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    given: set[bytes] = set()
    for name, value in headers:
        if name == b"x-api-key":
            given.add(value.strip())
        elif name == b"authorization":
            scheme, _, secret = value.strip().partition(b" ")
            given.add(secret.strip() if scheme.lower() == b"bearer" else b"")
    if len(given) != 1:
        raise wrong_key()
    secret = given.pop()
    if not 0 < len(secret) <= MAX_SECRET or not secret.isascii():
        raise wrong_key()
    return secret.decode("ascii")
