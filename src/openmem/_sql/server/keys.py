"""Steps over the table of keys. A hash is read in one place only, and never leaves it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from openmem._model.keys import KeyInfo, is_secret_of
from openmem._model.scopes import parse_grant
from openmem._model.timestamps import micros, time_of
from openmem._sql.server.dialect import Dialect
from openmem._sql.steps import Row, Steps
from openmem.errors import NotFoundError, ProviderError

_COLUMNS: Final = "id, app, user_id, grants, created_at, expires_at, last_used_at, revoked_at"


def create(db: Dialect, info: KeyInfo, hash_: str) -> Steps[KeyInfo]:
    """Store a key; doing it twice stores it once."""
    rows = yield db.query(
        f"""
        insert into {db.prefix}keys(id, app, user_id, grants, created_at, expires_at, hash)
        values($1, $2, $3, $4, $5, $6, $7)
        on conflict(id) do update set hash = excluded.hash where keys.hash = excluded.hash
        returning {_COLUMNS}
        """,
        info.id,
        info.app,
        info.user_id,
        json.dumps([str(grant) for grant in info.grants], ensure_ascii=False),
        micros(info.created_at),
        micros(info.expires_at),
        hash_,
    )
    if not rows:
        raise ProviderError("the id of the new key is taken; try again")
    return _info(rows[0])


def every(db: Dialect) -> Steps[list[KeyInfo]]:
    """Read all keys, oldest first."""
    rows = yield db.query(f"select {_COLUMNS} from {db.prefix}keys order by created_at, id")
    return [_info(row) for row in rows]


def revoke(db: Dialect, key_id: str, now: datetime) -> Steps[KeyInfo]:
    """Revoke a key; one that is revoked stays revoked since then.

    Raises:
        NotFoundError: No key has this id.
    """
    rows = yield db.query(
        f"""
        update {db.prefix}keys set revoked_at = coalesce(revoked_at, $2) where id = $1
        returning {_COLUMNS}
        """,
        key_id,
        micros(now),
    )
    if not rows:
        raise NotFoundError("no key has this id")
    return _info(rows[0])


def find(db: Dialect, key_id: str, secret: str, now: datetime) -> Steps[KeyInfo | None]:
    """Return the key of a secret, if it may be used now. An unknown id takes as long as a wrong secret."""
    rows = yield db.query(f"select {_COLUMNS}, hash from {db.prefix}keys where id = $1", key_id)
    if not is_secret_of(secret, rows[0][-1] if rows else None):
        return None
    info = _info(rows[0])
    return info if info.state(now) == "active" else None


def exist(db: Dialect) -> Steps[bool]:
    """Return whether a key was ever made."""
    rows = yield db.query(f"select 1 from {db.prefix}keys limit 1")
    return bool(rows)


def touch(db: Dialect, used: Mapping[str, datetime]) -> Steps[None]:
    """Store when keys were last used; no time goes back. Always in the same order, so that none waits for another."""
    yield db.many(
        f"""
        update {db.prefix}keys set last_used_at = $2 where id = $1 and (last_used_at is null or last_used_at < $2)
        """,
        [(key_id, micros(at)) for key_id, at in sorted(used.items())],
    )


def _info(row: Row) -> KeyInfo:
    id_, app, user_id, grants, created_at, expires_at, last_used_at, revoked_at = row[:8]
    return KeyInfo(
        id=id_,
        app=app,
        user_id=user_id,
        grants=tuple(parse_grant(grant) for grant in json.loads(grants)),
        created_at=time_of(created_at),
        expires_at=time_of(expires_at),
        last_used_at=time_of(last_used_at),
        revoked_at=time_of(revoked_at),
    )
