"""Steps over the hooks of a server, the lease of who delivers, and messages that were given up.

A hook moves on through these states:

1. Nothing is being sent: `pin` is empty, and changes behind `cursor` wait.
2. A message is being tried: `pin` is the name of its last change. So each attempt, and one after a crash, is the
   same message, with the same id.
3. It was taken, or given up: `cursor` is behind that change.

Each of them changes only while the hook is as the deliverer saw it. On Postgres, each statement commits by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final, cast

from openmem._model.hooks import MAX_HOOKS, DeadLetter, HookAtWork, HookInfo, HookState
from openmem._model.timestamps import micros, time_of
from openmem._sql.server.dialect import Dialect
from openmem._sql.steps import Row, Steps
from openmem.errors import InvalidRequestError, NotFoundError

LEASE: Final = 45_000_000
"""Microseconds for which a process is the only one that delivers."""
RENEWED: Final = 30_000_000
"""Microseconds that must be left of a lease, else it is prolonged: more than a message and its reply may take."""
MAX_LETTERS: Final = 1_000
"""Messages of a hook that are given up; then it is disabled, and goes on from there when it is enabled again."""

_LEASE_NAME: Final = "hooks"
_COLUMNS: Final = (
    "id, url, user_id, scope, events, content, state, created_at, failures, next_at, delivered_at, last_error"
)
_AT_WORK: Final = "secret, since, cursor, pin, missed, read_at"
_LETTER: Final = "id, hook_id, changes, attempts, error, failed_at, waiting, begins, ends"


def create(db: Dialect, info: HookInfo, secret: str, since: datetime | None) -> Steps[None]:
    """Store a hook; doing it twice stores it once.

    Raises:
        InvalidRequestError: There are as many as a store may hold.
    """
    rows = yield db.query(
        f"""
        insert into {db.prefix}hooks({_COLUMNS}, {_AT_WORK})
        select $1, $2, cast($3 as text), cast($4 as text), $5, cast($6 as bigint), 'active', cast($7 as bigint), 0,
          cast($7 as bigint), null, null, $8, cast($9 as bigint), '', '', 0, cast($7 as bigint)
        where (select count(*) from {db.prefix}hooks where id <> $1) < {MAX_HOOKS}
        on conflict(id) do update set url = excluded.url returning 1
        """,
        info.id,
        info.url,
        info.user_id,
        info.scope,
        json.dumps(info.events),
        int(info.content),
        micros(info.created_at),
        secret,
        micros(since),
    )
    if not rows:
        raise InvalidRequestError(f"there are {MAX_HOOKS} hooks, which is the most: remove one")


def every(db: Dialect) -> Steps[list[HookInfo]]:
    """Read all hooks, oldest first."""
    rows = yield db.query(f"select {_columns(db)} from {db.prefix}hooks h order by created_at, id")
    return [_info(row) for row in rows]


def remove(db: Dialect, hook_id: str) -> Steps[None]:
    """Remove a hook and its messages that were given up.

    Raises:
        NotFoundError: No hook has this id.
    """
    rows = yield db.query(f"delete from {db.prefix}hooks where id = $1 returning 1", hook_id)
    yield db.query(f"delete from {db.prefix}dead_letters where hook_id = $1", hook_id)
    if not rows:
        raise NotFoundError("no hook has this id")


def enable(db: Dialect, hook_id: str, now: datetime) -> Steps[None]:
    """Have a hook go on where it was disabled, or at once after failures.

    Raises:
        NotFoundError: No hook has this id.
    """
    rows = yield db.query(
        f"""
        update {db.prefix}hooks set state = 'active', failures = 0, next_at = $2, last_error = null where id = $1
        returning 1
        """,
        hook_id,
        micros(now),
    )
    if not rows:
        raise NotFoundError("no hook has this id")


def lease(db: Dialect) -> Steps[tuple[bool, str, int]]:
    """Return whether any hook may have something to do, and who holds the lease until when."""
    rows = yield db.query(
        f"""
        select exists(select 1 from {db.prefix}hooks where state = 'active')
            or exists(select 1 from {db.prefix}dead_letters where waiting = 1),
          (select holder from {db.prefix}leases where name = '{_LEASE_NAME}'),
          (select until from {db.prefix}leases where name = '{_LEASE_NAME}')
        """
    )
    busy, holder, until = rows[0]
    return bool(busy), holder or "", until or 0


def take(db: Dialect, holder: str, now: datetime) -> Steps[bool]:
    """Take the lease, or prolong it; return whether this holder has it."""
    at = micros(now)
    # Also over when it ends in the far future: some server's clock was wrong.
    rows = yield db.query(
        f"""
        insert into {db.prefix}leases(name, holder, until) values('{_LEASE_NAME}', $1, $2)
        on conflict(name) do update set holder = excluded.holder, until = excluded.until
          where leases.holder = $1 or leases.until <= $3 or leases.until > $3 + {10 * LEASE}
        returning 1
        """,
        holder,
        at + LEASE,
        at,
    )
    return bool(rows)


def release(db: Dialect, holder: str) -> Steps[None]:
    """Give the lease back."""
    yield db.query(f"delete from {db.prefix}leases where name = '{_LEASE_NAME}' and holder = $1", holder)


def due(db: Dialect, now: datetime) -> Steps[list[str]]:
    """Return the ids of hooks that may have something to send now, those that waited longest first."""
    rows = yield db.query(
        f"""
        select id from {db.prefix}hooks h where (state = 'active' and next_at <= $1)
          or exists(select 1 from {db.prefix}dead_letters d where d.hook_id = h.id and d.waiting = 1)
        order by next_at, id
        """,
        micros(now),
    )
    return [row[0] for row in rows]


def find(db: Dialect, hook_id: str) -> Steps[HookAtWork | None]:
    """Return a hook as its deliverer sees it."""
    rows = yield db.query(f"select {_columns(db)}, {_AT_WORK} from {db.prefix}hooks h where id = $1", hook_id)
    if not rows:
        return None
    secret, since, cursor, pin, missed, read_at = rows[0][-6:]
    return HookAtWork(_info(rows[0]), secret, time_of(since), cursor, pin, bool(missed), time_of(read_at))


def pin(db: Dialect, hook: HookAtWork, holder: str, now: datetime, end: str) -> Steps[bool]:
    """Note the end of the message that is about to be tried; return whether it may be: the lease lasts for it."""
    rows = yield db.query(
        f"""
        update {db.prefix}hooks set pin = $3 where id = $1 and cursor = $2 and state = 'active'
          and exists(select 1 from {db.prefix}leases where name = '{_LEASE_NAME}' and holder = $4 and until > $5)
        returning 1
        """,
        hook.info.id,
        hook.cursor,
        end,
        holder,
        micros(now) + LEASE - RENEWED,
    )
    return bool(rows)


def holds(db: Dialect, holder: str, now: datetime) -> Steps[bool]:
    """Return whether the lease lasts for one more message."""
    rows = yield db.query(
        f"select 1 from {db.prefix}leases where name = '{_LEASE_NAME}' and holder = $1 and until > $2",
        holder,
        micros(now) + LEASE - RENEWED,
    )
    return bool(rows)


def pass_over(db: Dialect, hook: HookAtWork, end: str, now: datetime, begun: bool) -> Steps[None]:
    """Move on over changes that the hook is not told of."""
    yield db.query(
        f"""
        update {db.prefix}hooks set cursor = $3, pin = '', read_at = $4,
          since = case when $5 = 1 then null else since end
        where id = $1 and cursor = $2
        """,
        hook.info.id,
        hook.cursor,
        end,
        micros(now),
        int(begun),
    )


def taken(db: Dialect, hook: HookAtWork, letter_id: str, end: str, now: datetime) -> Steps[None]:
    """Move on over a message that was taken."""
    yield db.query(f"delete from {db.prefix}dead_letters where id = $1", letter_id)
    yield db.query(
        f"""
        update {db.prefix}hooks set cursor = $3, pin = '', read_at = $4, delivered_at = $4, failures = 0, next_at = $4,
          last_error = null, missed = 0
        where id = $1 and cursor = $2
        """,
        hook.info.id,
        hook.cursor,
        end,
        micros(now),
    )


def start_over(db: Dialect, hook: HookAtWork) -> Steps[None]:
    """Go back to the oldest change that is kept, as the cursor cannot be used any more."""
    yield db.query(
        f"update {db.prefix}hooks set cursor = '', pin = '', missed = 1 where id = $1 and cursor = $2",
        hook.info.id,
        hook.cursor,
    )


def put_off(db: Dialect, hook: HookAtWork, error: str, until: datetime, failures: int) -> Steps[None]:
    """Note a failure, and when to try again."""
    yield db.query(
        f"update {db.prefix}hooks set failures = $3, next_at = $4, last_error = $5 where id = $1 and cursor = $2",
        hook.info.id,
        hook.cursor,
        failures,
        micros(until),
        error,
    )


def disable(db: Dialect, hook_id: str, error: str) -> Steps[None]:
    """Send nothing any more until the hook is enabled again."""
    yield db.query(
        f"update {db.prefix}hooks set state = 'disabled', last_error = $2 where id = $1",
        hook_id,
        error,
    )


def give_up(db: Dialect, hook: HookAtWork, letter: DeadLetter, end: str) -> Steps[None]:
    """Keep a message as one that was given up, and move on over it."""
    yield db.query(
        f"""
        insert into {db.prefix}dead_letters({_LETTER}) values($1, $2, $3, $4, $5, $6, 0, $7, $8)
        on conflict(id) do update set attempts = excluded.attempts, error = excluded.error,
          failed_at = excluded.failed_at, waiting = 0
        """,
        letter.id,
        letter.hook_id,
        letter.changes,
        letter.attempts,
        letter.error,
        micros(letter.failed_at),
        letter.begin,
        letter.end,
    )
    yield db.query(
        f"""
        update {db.prefix}hooks set cursor = $3, pin = '', read_at = $4, failures = 0, next_at = $4, last_error = $5
        where id = $1 and cursor = $2
        """,
        hook.info.id,
        hook.cursor,
        end,
        micros(letter.failed_at),
        letter.error,
    )


def letters(db: Dialect, hook_id: str | None, limit: int, waiting: bool = False) -> Steps[list[DeadLetter]]:
    """Read messages that were given up, oldest first."""
    rows = yield db.query(
        f"""
        select {_LETTER} from {db.prefix}dead_letters where ($1 = '' or hook_id = $1) and waiting >= $2
        order by failed_at, id limit $3
        """,
        hook_id or "",
        int(waiting),
        limit,
    )
    return [_letter(row) for row in rows]


def send_again(db: Dialect, hook_id: str | None, letter_ids: Sequence[str] | None) -> Steps[int]:
    """Have messages that were given up sent again; return how many."""
    if letter_ids is None:
        rows = yield db.query(
            f"update {db.prefix}dead_letters set waiting = 1 where $1 = '' or hook_id = $1 returning 1", hook_id or ""
        )
        return len(rows)
    done = 0
    for letter_id in letter_ids:
        rows = yield db.query(
            f"update {db.prefix}dead_letters set waiting = 1 where id = $1 and ($2 = '' or hook_id = $2) returning 1",
            letter_id,
            hook_id or "",
        )
        done += len(rows)
    return done


def forget_letter(db: Dialect, letter_id: str) -> Steps[None]:
    """Forget a message that was taken after all, or of which nothing is left."""
    yield db.query(f"delete from {db.prefix}dead_letters where id = $1", letter_id)


def failed_again(db: Dialect, letter_id: str, error: str, now: datetime) -> Steps[None]:
    """Put a message back among those that were given up."""
    yield db.query(
        f"""
        update {db.prefix}dead_letters set waiting = 0, attempts = attempts + 1, error = $2, failed_at = $3
        where id = $1
        """,
        letter_id,
        error,
        micros(now),
    )


def _columns(db: Dialect) -> str:
    return f"{_COLUMNS}, (select count(*) from {db.prefix}dead_letters d where d.hook_id = h.id)"


def _info(row: Row) -> HookInfo:
    id_, url, user_id, scope, events, content, state, created_at, failures, next_at, delivered_at, error, count = row[
        :13
    ]
    return HookInfo(
        id=id_,
        url=url,
        user_id=user_id,
        scope=scope,
        events=tuple(json.loads(events)),
        content=bool(content),
        state=cast("HookState", state),
        created_at=time_of(created_at),
        failures=failures,
        next_at=time_of(next_at),
        delivered_at=time_of(delivered_at),
        last_error=error,
        dead_letters=count,
    )


def _letter(row: Row) -> DeadLetter:
    id_, hook_id, changes, attempts, error, failed_at, waiting, begin, end = row
    return DeadLetter(id_, hook_id, changes, attempts, error, time_of(failed_at), bool(waiting), begin, end)
