"""The schema of the embedded store, as numbered migrations. Append to `MIGRATIONS`; never edit what was released.

Why so: vectors live in a table of their own per model (`vectors_<n>`), so a scan touches nothing but them and
several models can stand side by side. The index `word_index` holds each stemmed word prefixed with its user's number
(`12qpnpm`), so a posting list holds one user's rows only and its statistics are that user's own. An `add` touches as
few pages as can be, since the pages are what a commit costs: no counter of the user's is bumped by it, the newest
`rid` says enough, its words come into the index later (`openmem._sql.sqlite.indexing`), and its audit entry
is a part of its row (`openmem._sql.sqlite.audit`).
"""

from __future__ import annotations

from typing import Final

from openmem._sql.file_kind import FileKind

APPLICATION_ID: Final = 0x4F4D454D  # "OMEM"
PAGE_SIZE: Final = 16_384
USER_RANGE: Final = "between users.user_no << 32 and users.user_no << 32 | 4294967295"
LAST_ENTRY: Final = f"""
    max(coalesce((select max(entry) from journal where entry {USER_RANGE}), user_no << 32),
      coalesce((select entry from memories where rid {USER_RANGE} order by rid desc limit 1), 0),
      unnamed, expired)
"""

_FIRST: Final = (
    """
    create table users(
      user_no integer primary key,
      user_id text not null unique,
      epoch integer not null default 0,           -- bumped when a row that was there changed or went
      vector_epoch integer not null default 0,    -- bumped when a vector that was there changed or went
      clock integer not null default 0            -- time of the newest such change: it never runs backwards
    )
    """,
    """
    create table scopes(
      scope_no integer primary key,
      user_no integer not null,
      path text not null,
      unique(user_no, path)
    )
    """,
    "create table models(model_no integer primary key, name text not null unique, dim integer not null)",
    """
    create table memories(
      rid integer primary key,
      id text not null,
      user_no integer not null,
      key text,
      content text not null,
      scope_no integer,
      tags text,
      source text,
      confidence real,
      valid_from integer,
      valid_to integer,
      supersedes text,
      extensions text,
      model_no integer,
      created_at integer not null,
      updated_at integer,
      version integer not null,
      superseded_at integer,                      -- when the first memory that names this one takes effect
      terms integer not null,                     -- number of indexed words, for BM25
      words text not null                         -- those words: the index can only forget what it is told again
    )
    """,
    "create unique index memories_id on memories(id, user_no)",
    "create unique index memories_key on memories(user_no, key) where key is not null",
    "create index memories_created on memories(user_no, created_at, id)",
    """
    create table tags(
      user_no integer not null,
      tag text not null,
      rid integer not null,
      primary key(user_no, tag, rid)
    ) without rowid
    """,
    "create index tags_rid on tags(rid)",
    """
    create table supersessions(
      user_no integer not null,
      old_id text not null,
      new_rid integer not null,
      since integer not null,
      primary key(user_no, old_id, new_rid)
    ) without rowid
    """,
    "create index supersessions_new on supersessions(new_rid)",
    """
    create table versions(
      rid integer not null,
      version integer not null,
      replaced_at integer not null,
      record text not null,
      primary key(rid, version)
    )
    """,
    """
    create table audit(
      entry integer primary key,                  -- user_no << 32 | number, so a user's entries are one range
      at integer not null,
      app text,
      action text not null,
      memory_id text,
      scope text,
      request_id text
    )
    """,
    "create virtual table terms using fts5(words, content='', columnsize=0, tokenize='ascii')",
    "create virtual table postings using fts5vocab(terms, instance)",
)

# The index has other names from here on: a process of an older version, which does not know that it trails behind, gets
# an error, where it would spoil it or overlook what waits.
_INDEX_LATER: Final = (
    "drop table postings",
    "alter table terms rename to word_index",
    "create virtual table word_postings using fts5vocab(word_index, instance)",
    "alter table users add column indexed integer not null default 0",  # the last `rid` that the index has seen
    f"update users set indexed = coalesce((select max(rid) from memories where rid {USER_RANGE}), 0)",
)

# What is added needs no row in the audit log as long as nothing happens to it: its own row says it all.
_ADDS_IN_THEIR_ROWS: Final = (
    "alter table audit rename to journal",
    "alter table memories add column entry integer",  # number of the entry of its `add`, if it has no row of its own
    "alter table memories add column app text",
    "alter table memories add column request_id text",
    """
    create view audit as
      select entry, at, app, action, memory_id, scope, request_id from journal
      union all
      select entry, created_at, app, 'add', id, path, request_id
      from memories left join scopes on scopes.scope_no = memories.scope_no where entry is not null
    """,
)

# What the index still holds of memories that were taken out of it: nothing, where `taken` and `merged` are the same.
_UPKEEP: Final = (
    """
    create table upkeep(
      taken integer not null,                     -- counts removals from the index, those between two merges as one
      begun integer not null,                     -- what it was when the last merge began; below 0: `purge._fill`
      merged integer not null                     -- up to where a merge came to its end
    )
    """,
    "insert into upkeep values(1, 0, 0)",
    "alter table users add column unnamed integer not null default 0",  # no entry up to it names anything
    "create index journal_memory on journal(memory_id) where memory_id is not null",
)

# A link that closes a circle may be void. A model is known by its name and the length of its vectors: of those of one
# name, all but one are retired, and only read until they are gone.
_CIRCLES_AND_LENGTHS: Final = (
    "alter table supersessions add column void integer not null default 0",
    "alter table models rename to models_by_name",
    """
    create table models(
      model_no integer primary key,
      name text not null,
      dim integer not null,
      retired integer not null default 0,
      unique(name, dim)
    )
    """,
    "insert into models(model_no, name, dim) select model_no, name, dim from models_by_name",
    "drop table models_by_name",
)

# A version is kept as what changed (`openmem.versions`); those of older versions of this code, and some others, whole.
_VERSIONS_AS_CHANGES: Final = (
    "alter table versions add column step integer not null default 0",  # whether `record` is a step back
    "alter table memories add column behind integer not null default 0",  # characters of the steps since the last whole
)

# What retention removed (`openmem._sql.sqlite.retention`) left these behind.
_RETENTION: Final = (
    "alter table users add column expired integer not null default 0",  # no entry up to it is given again
    "alter table versions add column began integer",  # when the oldest version that is left began, if others went
)

# An older version kept metadata among the caller's own fields, where they had no meaning.
_METADATA: Final = (
    "alter table memories add column metadata text",
    """
    update memories set metadata = json_extract(extensions, '$.metadata'),
      extensions = nullif(json_remove(extensions, '$.metadata'), '{}')
    where extensions is not null and json_type(extensions, '$.metadata') = 'object'
    """,
)

# The feed of changes (`openmem._sql.sqlite.feed`, `feed_of_all`).
_FEED: Final = (
    "alter table journal add column version integer",  # the memory's, of a write; 0 of an erasure of many
    "alter table users add column fed integer",
    "alter table users add column fed_entry integer",  # the last entry that is in a span
    "alter table users add column fed_rid integer",  # no row up to it holds one behind that
    "alter table users add column expired_in integer not null default 0",  # what `removals` was when `expired` was set
    "create index users_unfed on users(user_no) where fed = 0",
    """
    create table feed(
      position integer primary key autoincrement,  -- the order in which spans are read; never given again
      user_no integer not null,
      after_entry integer not null,
      after_rid integer not null,
      last_entry integer not null,
      last_rid integer not null
    )
    """,
    """
    create table feed_state(
      known integer not null,                     -- users up to this number had a span made
      removals integer not null,                  -- how many times entries were removed
      dropped integer not null,                   -- the last position whose span was removed
      dropped_in integer not null                 -- what `removals` was then
    )
    """,
    "insert into feed_state values(0, 0, 0, 0)",
)
_SEARCHABLE: Final = ("alter table memories add column searchable integer not null default 1",)

# Lists in the order of changes. Only memories that were changed are in it, so an `add` costs nothing more. An index of
# `valid_from` would cost an `add` with that a tenth more, for an order that few ask for.
_ORDER_OF_CHANGES: Final = (
    "create index memories_updated on memories(user_no, updated_at, id) where updated_at is not null",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    _FIRST,
    _INDEX_LATER,
    _ADDS_IN_THEIR_ROWS,
    _UPKEEP,
    _CIRCLES_AND_LENGTHS,
    _VERSIONS_AS_CHANGES,
    _RETENTION,
    _METADATA,
    _FEED,
    _SEARCHABLE,
    _ORDER_OF_CHANGES,
)

MEMORIES: Final = FileKind(APPLICATION_ID, MIGRATIONS, PAGE_SIZE)


def create_vectors(model_no: int) -> str:
    """Return the statement that makes the table of one model's vectors (float32, little-endian, unit length)."""
    return f"create table if not exists vectors_{model_no:d}(rid integer primary key, vector blob not null)"


def first_rid(user_no: int) -> int:
    """Return the lowest `rid` a user's row can have."""
    return user_no << 32


def last_rid(user_no: int) -> int:
    """Return the highest `rid` a user's row can have."""
    return user_no << 32 | 0xFFFFFFFF


def index_token(user_no: int, term: str) -> str:
    """Return the word under which the index knows a user's term."""
    return f"{user_no}q{term}"
