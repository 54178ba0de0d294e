"""The schema on Postgres, as numbered migrations. Append to `migrations`; never edit what was released.

Every key begins with the user's routing bucket and every statement names it, so the tables can be hash-partitioned,
or distributed by `bucket` (Citus), without a change in the code. Only the extension `vector` is needed.

Vectors of up to 1,800 numbers are kept in the row, uncompressed (`STORAGE PLAIN`), which makes a scan several times
faster than the default; longer ones as half precision, and only beyond that out of line.
"""

from __future__ import annotations

from typing import Final

from openmem._sql.migrations import Ledger, Migrations
from openmem._sql.postgres.cluster import distribution
from openmem._sql.postgres.names import Names, quoted
from openmem._sql.postgres.options import DEFAULT_CONFIG, DEFAULT_SCHEMA
from openmem._sql.postgres.partitions import partitioned_script
from openmem.errors import InvalidRequestError

LOCK_KEY: Final = 0x6F6D656D  # "omem", for the advisory lock of migrations
MAX_PLAIN: Final = 1_800
MAX_HALF: Final = 3_600

_STORAGE: Final = (("embedding", "p", "plain"), ("embedding_half", "p", "plain"), ("embedding_far", "e", "external"))

_ONE_CONNECTION: Final = "set local citus.multi_shard_modify_mode = 'sequential';"
"""Citus changes shards on many connections at once, unless told to use one: then a later statement sees it all."""

NEEDS_EXTENSION: Final = "create extension if not exists vector"

# Before anything is made: what follows would stop in its last lines only, where the tables are spread.
_NEEDS_CITUS: Final = """do $$ begin
  if not exists(select 1 from pg_catalog.pg_extension where extname = 'citus') then
    raise exception 'the database has no extension citus: run CREATE EXTENSION citus; on every server';
  end if;
end $$;"""

# The script does not know yet where the extension is, so its schema joins the search path for this transaction.
_FIND_VECTOR: Final = (
    "select set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), "
    "quote_ident(n.nspname)), true) from pg_catalog.pg_extension e join pg_catalog.pg_namespace n "
    "on n.oid = e.extnamespace where e.extname = 'vector';"
)


def migrations(db: Names) -> Migrations:
    """Return what brings the schema up to date."""
    made = (_first, _circles_and_lengths, _versions_as_changes, _retention, _metadata, _feed, _searchable, _orders)
    return Migrations(tuple(one(db) for one in made), f"the schema {db.schema!r}", "postgres")


def migration_script(
    schema: str = DEFAULT_SCHEMA,
    text_search: str = DEFAULT_CONFIG,
    *,
    partitions: int | None = None,
    distribute: bool = False,
) -> str:
    """Return all migrations as one script for `psql`, to be run by a role that has the rights.

    Args:
        schema: Name of the schema that will hold the tables.
        text_search: Text search configuration that stems words.
        partitions: Hash-partition the tables of memories by bucket, into 2 to 4096 partitions each. It can only be
            chosen for a database without tables, and not changed later without copying them.
        distribute: Spread the tables over the servers of a Citus cluster, too. Without it, only tables that are added
            to a store that is spread already are.

    Raises:
        InvalidRequestError: A name is no plain lower-case identifier, the number is out of range, or both are asked
            for: what is spread over servers is in shards already.
    """
    if distribute and partitions is not None:
        raise InvalidRequestError("distribute and partitions exclude each other")
    db = Names(schema, text_search)
    noted = ledger(db)
    lock = f"select pg_advisory_xact_lock({LOCK_KEY});"
    parts = [
        *([_NEEDS_CITUS] if distribute else []),
        f"{NEEDS_EXTENSION};",
        "begin;",
        _FIND_VECTOR,
        _ONE_CONNECTION,
        lock,
        _trimmed(noted.make_schema),
        _trimmed(noted.make_table),
    ]
    for number, statements in migrations(db).due(0):
        parts += [f"{_trimmed(statement)};" for statement in statements]
        parts.append(f"insert into {noted.table}(version) values({number}) on conflict do nothing;")
    parts.append(_trimmed(distribution(db, first=distribute)))
    tables = (db.memories, db.versions, db.supersessions, db.vectors, db.audit, db.feed) if distribute else ()
    copies = [f"select truncate_local_data_after_distributing_table('{table}');" for table in tables]
    script = "\n".join([*(part if part.endswith(";") else f"{part};" for part in parts), "commit;", *copies, ""])
    return script if partitions is None else partitioned_script(script, partitions)


def vector_column(dim: int) -> str:
    """Return the column in which vectors of this length are kept."""
    if dim <= MAX_PLAIN:
        return "embedding"
    return "embedding_half" if dim <= MAX_HALF else "embedding_far"


def ledger(db: Names) -> Ledger:
    """Return the table of applied migrations."""
    table = db.table("migrations")
    make_table = f"""
        create table if not exists {table}(
          version integer primary key,
          applied_at timestamptz not null default now()
        )
        """
    return Ledger(db.schema, table, f"create schema if not exists {quoted(db.schema)}", make_table, LOCK_KEY)


def _first(db: Names) -> tuple[str, ...]:
    return (
        f"""
        create table if not exists {db.memories}(
          bucket smallint not null,
          id text not null,
          user_id text not null,
          key text,
          content text not null,
          scope text,
          tags text[],
          source jsonb,
          confidence double precision,
          valid_from timestamptz,
          valid_to timestamptz,
          supersedes text[],
          extensions jsonb,
          model text,
          embedding {db.of_vector("vector")},
          embedding_half {db.of_vector("halfvec")},
          embedding_far {db.of_vector("vector")},
          created_at timestamptz not null,
          updated_at timestamptz,
          version integer not null,
          superseded_at timestamptz,
          words tsvector not null,
          primary key (bucket, id)
        )
        """,
        # A row of usual size is just above the limit at which its words would go out of line, and every search
        # reads them. A partitioned table takes the setting on its partitions only.
        f"""
        do $$ declare part regclass; begin
          for part in select '{db.memories}'::regclass
            where not exists (select from pg_partitioned_table where partrelid = '{db.memories}'::regclass)
            union all select inhrelid from pg_inherits where inhparent = '{db.memories}'::regclass
          loop continue when exists(select 1 from pg_class where oid = part and reloptions is not null);
            execute format('alter table %s set (toast_tuple_target = 8160)', part); end loop;
        end $$
        """,
        # Only where it is not so already: a table that is spread over servers takes no such change.
        *(_storage(db, *one) for one in _STORAGE),
        f"create unique index if not exists memories_key on {db.memories}(bucket, user_id, key) where key is not null",
        f"create index if not exists memories_created on {db.memories}(bucket, user_id, created_at desc, id desc)",
        f"create index if not exists memories_model on {db.memories}(bucket, user_id, model)",
        f"""
        create table if not exists {db.versions}(
          bucket smallint not null,
          id text not null,
          user_id text not null,
          version integer not null,
          replaced_at timestamptz not null,
          record jsonb not null,
          primary key (bucket, id, version)
        )
        """,
        f"""
        create table if not exists {db.supersessions}(
          bucket smallint not null,
          user_id text not null,
          old_id text not null,
          new_id text not null,
          since timestamptz not null,
          primary key (bucket, user_id, old_id, new_id)
        )
        """,
        f"create index if not exists supersessions_new on {db.supersessions}(bucket, user_id, new_id)",
        f"""
        create table if not exists {db.vectors}(
          bucket smallint not null,
          id text not null,
          user_id text not null,
          model text not null,
          embedding {db.of_vector("vector")},
          embedding_half {db.of_vector("halfvec")},
          embedding_far {db.of_vector("vector")},
          primary key (bucket, id, model)
        )
        """,
        f"""
        create table if not exists {db.audit}(
          bucket smallint not null,
          id text not null,
          user_id text not null,
          at timestamptz not null,
          app text,
          action text not null,
          memory_id text,
          scope text,
          request_id text,
          primary key (bucket, id)
        )
        """,
        # A bucket says nothing that the user does not: without this the planner takes them for independent and
        # expects two rows of a user who has ten thousand.
        f"""
        create statistics if not exists {quoted(db.schema)}.memories_users (dependencies, ndistinct)
          on bucket, user_id from {db.memories}
        """,
        f"""
        create statistics if not exists {quoted(db.schema)}.audit_users (dependencies, ndistinct)
          on bucket, user_id from {db.audit}
        """,
        f"create index if not exists audit_user on {db.audit}(bucket, user_id, at desc, id desc)",
    )


def _storage(db: Names, column: str, letter: str, name: str) -> str:
    return f"""
        do $$ begin
          if exists(
            select 1 from pg_attribute
            where attrelid = '{db.memories}'::regclass and attname = '{column}' and attstorage <> '{letter}'
          ) then alter table {db.memories} alter {column} set storage {name}; end if;
        end $$
    """


def _circles_and_lengths(db: Names) -> tuple[str, ...]:
    return (
        f"alter table {db.supersessions} add column if not exists void boolean",
        f"alter table {db.supersessions} add column if not exists at_once boolean",
        f"alter table {db.memories} add column if not exists superseded_now boolean",
        # How long the vectors of a model are, all over the store. One small table, which no user's row lies in.
        f"create table if not exists {db.models}(name text primary key, dim integer not null)",
        f"""
        insert into {db.models}(name, dim)
        select model, max({db.of_vector("vector_dims")}(
          coalesce(embedding, embedding_half::{db.of_vector("vector")}, embedding_far)))
        from {db.memories} where model is not null group by model on conflict do nothing
        """,
    )


def _versions_as_changes(db: Names) -> tuple[str, ...]:
    # A version is kept as what changed (`openmem.versions`); those that are there are whole.
    return (
        f"alter table {db.versions} add column if not exists step boolean not null default false",
        f"alter table {db.versions} add column if not exists size integer",
        f"alter table {db.memories} add column if not exists behind integer not null default 0",
    )


def _retention(db: Names) -> tuple[str, ...]:
    # When the oldest version that is left began, if retention removed others before it.
    return (f"alter table {db.versions} add column if not exists began timestamptz",)


def _metadata(db: Names) -> tuple[str, ...]:
    # An older version kept metadata among the caller's own fields, where they had no meaning.
    return (
        f"alter table {db.memories} add column if not exists metadata jsonb",
        f"""
        update {db.memories} set metadata = extensions -> 'metadata',
          extensions = nullif(extensions - 'metadata', '{{}}'::jsonb)
        where jsonb_typeof(extensions) = 'object' and jsonb_typeof(extensions -> 'metadata') = 'object'
        """,
    )


def _feed(db: Names) -> tuple[str, ...]:
    # What is there already gets no number: a default that comes later than its column leaves all rows as they are.
    writes = "xact is not null and action in ('add', 'update', 'delete')"
    return (
        f"alter table {db.audit} add column if not exists version integer",
        f"alter table {db.audit} add column if not exists xact bigint",
        f"alter table {db.audit} alter column xact set default pg_current_xact_id()::text::bigint",
        # One index serves the feed of a user and that of all, so its key does not begin with a bucket: an `add` pays
        # for each. It grows at its end only, which costs it least.
        f"create index if not exists audit_feed on {db.audit}(xact) where {writes}",
        f"""
        create table if not exists {db.feed}(
          bucket smallint not null primary key,
          lost bigint not null
        )
        """,
    )


def _searchable(db: Names) -> tuple[str, ...]:
    return (f"alter table {db.memories} add column if not exists searchable boolean not null default true",)


def _orders(db: Names) -> tuple[str, ...]:
    # Lists in another order. Only memories that have the date are in them.
    return tuple(
        f"create index if not exists {name} on {db.memories}(bucket, user_id, {date}, id) where {date} is not null"
        for name, date in (("memories_updated", "updated_at"), ("memories_valid_from", "valid_from"))
    )


def _trimmed(statement: str) -> str:
    lines = [line.rstrip() for line in statement.strip().splitlines()]
    return "\n".join(line.removeprefix("        ") for line in lines)
