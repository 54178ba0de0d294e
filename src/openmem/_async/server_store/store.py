"""The server's own store: keys, replies to repeatable requests, rate counters and an audit log."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Final

from openmem._async.server_store.hooks import AsyncHooks
from openmem._io.concurrency.call import Call, random_id_bits
from openmem._model.access import IdempotencySeed
from openmem._model.checks import (
    MAX_NAME,
    check_app,
    check_id,
    check_ids,
    check_instance,
    check_limit,
    check_owner,
    check_text,
    check_time,
    check_user_id,
)
from openmem._model.keys import (
    TOKEN_BYTES,
    KeyInfo,
    NewKey,
    Remembered,
    check_grants,
    hash_of,
    id_of_secret,
    is_key_id,
    is_secret_of,
    new_key_id,
    new_secret,
)
from openmem._model.requests import AuditQuery
from openmem._model.scopes import Grant, parse_pattern
from openmem._sql.server import audit, keys, rates, replies
from openmem.errors import InvalidRequestError, NotFoundError
from openmem.types import AuditEntry

MAX_RATE: Final = 1_000_000_000
MAX_ENTRIES: Final = 1_000


class AsyncServerStore(AsyncHooks):
    """The store of a server, or of several that share it.

    The constructor does no I/O. The store is opened, and its tables are made, on first use. It is never the place of
    memories: in Postgres it is the schema `openmem_server`, else a SQLite file of its own.

    Args:
        url: `postgresql://…`, `sqlite:///FILE` or a path.
        statement_cache: False behind a pooler that does not track prepared statements.
        timeout: Seconds that a call may take; `None` is no limit.
        create: Make the store where there is none; `False` makes that an error.

    Raises:
        InvalidRequestError: An argument is wrong.
    """

    _shown_name: ClassVar[str] = "AsyncServerStore"

    async def create_key(
        self,
        *,
        app: str,
        user_id: str | None,
        grants: Sequence[str | Grant],
        expires_at: datetime | None = None,
        now: datetime | None = None,
    ) -> NewKey:
        """Make a key. Its secret is in the answer and nowhere else: only a hash of it is stored.

        Args:
            app: The app it is for, for the audit log; at most 100 characters.
            user_id: The only user whose memories it reaches; `None` is any user.
            grants: What it may do, such as `read:coding/*`; 1 to 100.
            expires_at: From when on it is refused; `None` is never.
            now: The time of the call, if not that of the clock.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was stored.
        """
        if app is None:
            raise InvalidRequestError("app is required: app must be a non-empty string")
        made = check_time(now, "now") or Call().now
        expires = check_time(expires_at, "expires_at")
        if expires is not None and expires <= made:
            raise InvalidRequestError("expires_at must be in the future")
        info = KeyInfo(
            id=new_key_id(secrets.randbits(62)),
            app=check_app(app) or "",
            user_id=check_owner(user_id),
            grants=check_grants(grants),
            created_at=made,
            expires_at=expires,
        )
        secret = new_secret(info.id, secrets.token_bytes(TOKEN_BYTES))
        deadline = await self._use()
        stored = await self._place.write(keys.create, info, hash_of(secret), deadline=deadline)
        await self._place.settle(deadline)
        return NewKey(stored, secret)

    async def list_keys(self) -> list[KeyInfo]:
        """Return all keys, oldest first, also those that are expired or revoked."""
        return await self._read(keys.every)

    async def revoke_key(self, id: str, *, now: datetime | None = None) -> KeyInfo:
        """Revoke a key for good. Revoking it again changes nothing.

        Raises:
            NotFoundError: No key has this id.
        """
        moment = check_time(now, "now") or Call().now
        if not is_key_id(id):
            raise NotFoundError("no key has this id")
        deadline = await self._use()
        info = await self._place.erase(keys.revoke, id, moment, deadline=deadline)
        await self._place.settle(deadline)
        return info

    async def find_key(self, secret: str, *, now: datetime | None = None) -> KeyInfo | None:
        """Return the key that a secret belongs to, in a time that does not depend on how much of it is right.

        Args:
            secret: What the caller showed.
            now: The time for which expiry is judged, if not that of the clock.

        Returns:
            `None` if it is unknown, expired or revoked; why is not said.
        """
        moment = check_time(now, "now") or Call().now
        key_id = id_of_secret(secret)
        if key_id is None:
            is_secret_of("", None)
            return None
        return await self._read(keys.find, key_id, secret, moment)

    async def has_keys(self) -> bool:
        """Return whether a key was ever made, be it revoked or expired: revoking all opens nothing."""
        return await self._read(keys.exist)

    async def touch_keys(self, used: Mapping[str, datetime]) -> None:
        """Store when keys were last used, by their ids. Unknown ids are passed over, and no time goes back."""
        times = {key_id: check_time(at, "used") for key_id, at in used.items() if is_key_id(key_id)}
        if None in times.values():
            raise InvalidRequestError("used must map ids to times")
        if times:
            await self._write(keys.touch, times)

    async def begin_reply(
        self, caller: str, idempotency_key: str, fingerprint: str, now: datetime, *, user_id: str | None = None
    ) -> Remembered:
        """Remember a request for 24 hours, or return what is remembered of it.

        Args:
            caller: Who asks, such as the id of a key; keys of different callers have nothing to do with each other.
            idempotency_key: The caller's name for the request; at most 256 characters.
            fingerprint: What tells the request from others, such as a hash of method, path and body.
            now: The time of the request.
            user_id: The user whose memories the reply will hold. `None`: those of several, so that its body is not
                kept, only the ids in it, as no search could find it when one of them is to be forgotten.

        Raises:
            IdempotencyConflictError: The caller used the key for another request.
        """
        owner = check_owner(user_id)
        seed = IdempotencySeed(_time(now), random_id_bits())
        named = (_name(caller, "caller"), _name(idempotency_key, "idempotency_key"), _name(fingerprint, "fingerprint"))
        return await self._write(replies.begin, *named, owner, seed)

    async def end_reply(
        self,
        caller: str,
        idempotency_key: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        *,
        memory_ids: Sequence[str] = (),
    ) -> None:
        """Remember the reply to a request that was begun; the first one stays.

        Args:
            caller: As in `begin_reply`.
            idempotency_key: As in `begin_reply`.
            status: The HTTP status.
            headers: The headers that a repetition is to have, too.
            body: The body. Of one of more than a mebibyte, or of several users, only the ids are kept:
                `StoredReply.body` is then `None`, and the seed finds what was stored.
            memory_ids: The memories that the request stored. Erasing one of them erases the reply.
        """
        named = (_name(caller, "caller"), _name(idempotency_key, "idempotency_key"))
        check_limit(status, 999, "status")
        if not isinstance(body, bytes):
            raise InvalidRequestError(f"body must be bytes, not {type(body).__name__}")
        stored = check_ids(memory_ids, "memory_ids")
        await self._write(replies.end, *named, status, headers, body, stored)

    async def release_reply(self, caller: str, idempotency_key: str, seed: IdempotencySeed) -> None:
        """Forget a request that did nothing, so that its key is free for another one.

        Args:
            caller: As in `begin_reply`.
            idempotency_key: As in `begin_reply`.
            seed: What `begin_reply` returned; a request that was begun again since, or that is answered, stays.
        """
        named = (_name(caller, "caller"), _name(idempotency_key, "idempotency_key"))
        await self._erase(replies.release, *named, check_instance(seed, IdempotencySeed, "seed"))

    async def erase_replies(self, memory_id: str, *, user_id: str | None = None, status: int = 404) -> int:
        """Erase the replies to the requests that stored a memory, but not that they were made; return how many.

        A request that is not answered yet is found by its seed, and its reply will not be kept.

        Args:
            memory_id: The memory.
            user_id: Whose it is; without that, the requests of all users are looked through.
            status: What `StoredReply.status` is from now on.
        """
        owner, id = check_owner(user_id), check_id(memory_id)
        check_limit(status, 999, "status")
        found = await self._read(replies.holding, owner, id)
        for caller, idempotency_key, seed in found:
            await self._erase(replies.erase, caller, idempotency_key, seed, status)
        return await self._settled(len(found))

    async def forget_replies(self, before: datetime) -> int:
        """Forget requests that began before a time, and rate counters as old; return how many requests."""
        moment, done = _time(before, "before"), 0
        await self._erase(rates.forget, moment)
        while True:
            some = await self._erase(replies.forget_some, moment)
            done += some
            if some < replies.BATCH:
                break
        return await self._settled(done)

    async def forget_replies_of(self, user_id: str) -> int:
        """Forget the requests of a user, whose replies hold memories; return how many.

        The reply to one that is not answered yet will not be kept either.
        """
        return await self._settled(await self._erase(replies.forget_user, check_user_id(user_id)))

    async def take(self, caller: str, per_minute: int, now: datetime) -> float:
        """Count a request of a caller, in a window of a minute that begins with the first one.

        Args:
            caller: Who asks.
            per_minute: How many may go on in a window, from 1.
            now: The time of the request.

        Returns:
            0.0 if it may go on, else the seconds until the next window. Never more than `per_minute` may go on,
            however many servers share the store.
        """
        limit = check_limit(per_minute, MAX_RATE, "per_minute")
        return await self._write(rates.take, _name(caller, "caller"), limit, _time(now))

    async def enter(self, user_id: str, *entries: AuditEntry) -> None:
        """Add entries to a user's audit log, all or none of them.

        Args:
            user_id: Whose memories were touched.
            *entries: What was done; each with its `timestamp` and `action`.
        """
        if any(check_instance(entry, AuditEntry, "entry") is None for entry in entries):
            raise InvalidRequestError("entry must not be None")
        if any(entry.timestamp is None or entry.action is None for entry in entries):
            raise InvalidRequestError("entry must have a timestamp and an action")
        owner = check_user_id(user_id)
        if entries:
            await self._write(audit.enter, owner, entries, once=True)

    async def forget_entries_of(self, user_id: str, *, scope: str | None = None) -> tuple[int, int]:
        """Take ids of memories and scopes out of a user's audit log, whose entries stay.

        Args:
            user_id: Whose audit log.
            scope: Only in entries about memories that the audit log last knew in this scope, which may end in `/*`.

        Returns:
            How many entries were changed, and how many should be but are not.
        """
        owner, pattern = check_user_id(user_id), None if scope is None else parse_pattern(scope)
        changed, left = await self._erase(audit.forget, owner, pattern)
        return await self._settled(changed), left

    async def forget_entries(self, before: datetime) -> int:
        """Remove the entries of all audit logs that are older than a time, some at a time; return how many."""
        moment, done = _time(before, "before"), 0
        place: int | None = 0
        while place is not None:
            found, place = await self._read(audit.old_entries, moment, place)
            for start in range(0, len(found), audit.AT_ONCE):
                done += await self._erase(audit.remove, moment, found[start : start + audit.AT_ONCE])
        return await self._settled(done)

    async def entries(
        self, user_id: str, *, app: str | None = None, since: datetime | None = None, limit: int = 100
    ) -> list[AuditEntry]:
        """Return a user's audit log, newest first.

        Args:
            user_id: Whose audit log.
            app: Only what this app did.
            since: Only entries from this time on.
            limit: How many at most, 1 to 1,000.
        """
        limit = check_limit(limit, MAX_ENTRIES)
        query = AuditQuery(check_user_id(user_id), check_app(app), check_time(since, "since"), limit)
        return await self._read(audit.entries, query)


def _name(value: object, name: str) -> str:
    return check_text(value, name, MAX_NAME, control=False)


def _time(value: object, name: str = "now") -> datetime:
    moment = check_time(value, name)
    if moment is None:
        raise InvalidRequestError(f"{name} is required")
    return moment
