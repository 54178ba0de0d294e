"""The rate limit: requests a minute of each key, or of each address where there is no key."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openmem import AsyncServerStore, OMPError
from openmem._protocol.hosts import network_of
from openmem._protocol.routes import OPERATIONS
from openmem.errors import RateLimitedError
from openmem.server.middleware.asgi import header
from openmem.server.middleware.errors import refuse
from openmem.server.services.timing import clock, within

log: Final = logging.getLogger("openmem.server")

MAX_CALLERS: Final = 10_000
STORE_SECONDS: Final = 1.0
_MINUTE: Final = 60.0
_ALMOST: Final = 1e-9


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float
    leased: int = 0  # requests that the store has let through beforehand
    leased_until: float = 0.0
    closed_until: float = 0.0


class RateLimiter:
    """Counts the requests of callers, here and in the shared store.

    A bucket in this process is asked first and refuses at once what is too much even for one process. The store then
    counts for all of them, not request by request: it lets through a sixtieth of a minute's worth at a time, so a
    caller may be off by less than two percent per process. If the store cannot be reached, the bucket alone decides.

    Args:
        store: Where all processes count together; `None` if this is the only one.
        per_minute: Requests in a minute.
        now: Seconds that never go backwards.
    """

    def __init__(self, store: AsyncServerStore | None, per_minute: int, now: Callable[[], float] = clock) -> None:
        self._store = store
        self._per_minute = per_minute
        self._lease = max(1, per_minute // 60)
        self._now = now
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._store_failed = False

    def __repr__(self) -> str:
        counted = "here" if self._store is None else "here, the store fails" if self._store_failed else "in the store"
        return f"<RateLimiter [{self._per_minute} a minute | {len(self._buckets)} callers | counted {counted}]>"

    async def take(self, caller: str) -> float:
        """Count a request of a caller; return 0.0 if it may go on, else the seconds to wait."""
        bucket, now = self._bucket(caller), self._now()
        # 1. The store has refused this caller and said until when.
        if bucket.closed_until > now:
            return bucket.closed_until - now
        # 2. It is too much for this process alone: the store need not be asked.
        if bucket.tokens + _ALMOST < 1.0:
            return (1.0 - bucket.tokens) * _MINUTE / self._per_minute
        bucket.tokens -= 1.0
        # 3. There is no other process. 4. The store has let this request through beforehand.
        if self._store is None:
            return 0.0
        if bucket.leased > 0 and bucket.leased_until > now:
            bucket.leased -= 1
            return 0.0
        # 5. The store decides, for this request and for the next `lease - 1`.
        wait = await self._ask(self._store, caller)
        if wait > 0:
            bucket.closed_until = now + wait
            return wait
        bucket.leased, bucket.leased_until = self._lease - 1, now + _MINUTE
        return 0.0

    async def _ask(self, store: AsyncServerStore, caller: str) -> float:
        try:
            wait = await within(store.take(caller, self._per_minute // self._lease, datetime.now(UTC)), STORE_SECONDS)
        except (OMPError, TimeoutError) as error:
            if not self._store_failed:
                code = error.code if isinstance(error, OMPError) else "no answer in time"
                log.warning("the store cannot count requests, each process counts its own: %s", code)
            self._store_failed = True
            return 0.0
        self._store_failed = False
        return wait

    def _bucket(self, caller: str) -> _Bucket:
        now = self._now()
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = _Bucket(float(self._per_minute), now)
            if len(self._buckets) > MAX_CALLERS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(caller)
        bucket.tokens = min(self._per_minute, bucket.tokens + (now - bucket.at) * self._per_minute / _MINUTE)
        bucket.at = now
        return bucket


class RateLimit:
    """Refuses requests above the rate.

    1. A key that was looked up and found has a bucket of its own.
    2. Any other key counts for the address that it comes from, and so does one of a route that looks at no keys:
       made-up keys get no further than none.
    3. A key that is refused later is in case 2 again.
    """

    def __init__(self, app: ASGIApp, limiter: RateLimiter) -> None:
        self._app = app
        self._limiter = limiter
        self._accepted: OrderedDict[str, None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPERATIONS:
            await self._app(scope, receive, send)
            return
        key = _key_of(scope)
        caller = key if key is not None and key in self._accepted else _address_of(scope)
        wait = await self._limiter.take(caller)
        if wait > 0:
            await refuse(scope, send, RateLimitedError("too many requests", retry_after=wait))
            return

        async def watched(message: Message) -> None:
            if key is not None and message["type"] == "http.response.start":
                self._learn(key, refused=message["status"] == 401, found="caller" in scope["state"])
            await send(message)

        await self._app(scope, receive, watched)

    def _learn(self, key: str, *, refused: bool, found: bool) -> None:
        if refused:
            self._accepted.pop(key, None)
        elif found:
            self._accepted[key] = None
            self._accepted.move_to_end(key)
            if len(self._accepted) > MAX_CALLERS:
                self._accepted.popitem(last=False)


def _key_of(scope: Scope) -> str | None:
    """Return a name for the credential, which does not tell it."""
    secret = header(scope, b"authorization") or header(scope, b"x-api-key")
    if secret is None:
        return None
    kind, _, token = secret.partition(b" ")
    secret = token.strip() if kind.lower() == b"bearer" else secret.strip()
    return "key:" + hashlib.sha256(secret).hexdigest()[:32]


def _address_of(scope: Scope) -> str:
    client = scope.get("client")
    return f"address:{network_of(client[0])}" if client else "address:unknown"
