"""The tables of a server's store, as numbered migrations. Append to `statements`; never edit what was released."""

from __future__ import annotations

from typing import Final

from openmem._sql.file_kind import FileKind
from openmem._sql.migrations import Ledger, Migrations
from openmem._sql.server.dialect import POSTGRES, SCHEMA, SQLITE, Dialect
from openmem._sql.steps import Query, Steps

LEDGER: Final = Ledger(
    SCHEMA,
    f"{SCHEMA}.migrations",
    f"create schema {SCHEMA}",
    f"create table if not exists {SCHEMA}.migrations(version integer primary key)",
    lock_key=0x6F6D6573,  # "omes"
)


def statements(db: Dialect) -> tuple[tuple[str, ...], ...]:
    """Return the statements of each version, from 1 on."""
    return _first(db), _second(db), _third(db), _fourth(db)


def migrations() -> Migrations:
    """Return what brings the schema on Postgres up to date."""
    return Migrations(statements(POSTGRES), f"the schema {SCHEMA!r}", "postgres")


def touch() -> Steps[None]:
    """Look at a file, so that it is opened and brought up to date."""
    yield Query("select 1")


def current_version() -> Steps[int]:
    """Return the version of the schema on Postgres, 0 if there is none."""
    rows = yield Query("select to_regclass($1::text) is not null", (LEDGER.table,))
    return (yield from LEDGER.version()) if rows[0][0] else 0


def apply() -> Steps[bool]:
    """Apply the migrations that are due on Postgres; return whether any was. To be run in one transaction.

    Raises:
        ProviderError: A newer version of openmem made it.
    """
    return LEDGER.apply(migrations())


def _first(db: Dialect) -> tuple[str, ...]:
    p = db.prefix
    return (
        f"""
        create table {p}keys(
          id text not null primary key,
          hash text not null,                         -- SHA-256 of the secret
          app text not null,
          user_id text,                               -- null: any user
          grants text not null,                       -- a JSON array
          created_at bigint not null,
          expires_at bigint,
          last_used_at bigint,
          revoked_at bigint
        )
        """,
        f"""
        create table {p}replies(
          caller text not null,
          idempotency_key text not null,
          fingerprint text not null,
          user_id text,                               -- null: several users, the body is not kept
          at bigint not null,
          entropy text not null,
          status integer,                             -- null: not answered yet
          headers text,                               -- a JSON object
          body {db.blob},
          primary key(caller, idempotency_key)
        )
        """,
        f"create index replies_at on {p}replies(at)",
        f"create index replies_user on {p}replies(user_id)",
        f"""
        create {db.unlogged}table {p}rates(
          caller text not null primary key,
          started_at bigint not null,
          taken bigint not null
        )
        """,
        f"""
        create table {p}journal(
          entry {db.serial},
          user_id text not null,
          at bigint not null,
          app text,
          action text,
          memory_id text,
          scope text,
          request_id text
        )
        """,
        f"create index journal_user on {p}journal(user_id, at desc, entry desc)",
    )


def _second(db: Dialect) -> tuple[str, ...]:
    # What the ids of the memories in a reply looked like in its body; not used any more.
    return (f"alter table {db.prefix}replies add column ids {db.blob}",)


def _third(db: Dialect) -> tuple[str, ...]:
    # A JSON array of the ids of the memories that a request stored; null: not answered yet, or by an earlier version.
    return (f"alter table {db.prefix}replies add column memory_ids text",)


def _fourth(db: Dialect) -> tuple[str, ...]:
    p = db.prefix
    return (
        f"""
        create table {p}hooks(
          id text not null primary key,
          url text not null,
          secret text not null,                       -- as it is: each message is signed with it
          user_id text,                               -- null: any user
          scope text,                                 -- a pattern; null: all
          events text not null,                       -- a JSON array; empty: all
          content bigint not null,                    -- 1: messages hold the memories
          state text not null,
          created_at bigint not null,
          since bigint,                               -- changes before it are not sent
          cursor text not null,                       -- changes up to it are delivered
          pin text not null,                          -- the last change of the message that is being tried
          missed bigint not null,
          read_at bigint not null,
          failures bigint not null,
          next_at bigint not null,
          delivered_at bigint,
          last_error text
        )
        """,
        f"""
        create table {p}dead_letters(
          id text not null primary key,
          hook_id text not null,
          changes bigint not null,
          attempts bigint not null,
          error text not null,
          failed_at bigint not null,
          waiting bigint not null,                    -- 1: to be sent again
          begins text not null,
          ends text not null
        )
        """,
        f"create index dead_letters_hook on {p}dead_letters(hook_id, failed_at)",
        f"""
        create table {p}leases(
          name text not null primary key,
          holder text not null,
          until bigint not null
        )
        """,
    )


# Replies hold what users store: what is deleted is overwritten at once, and only its owner may read the file.
FILE: Final = FileKind(0x4F4D4553, statements(SQLITE), secure_delete="on")  # "OMES"
