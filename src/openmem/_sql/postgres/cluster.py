"""Tables that Citus spreads over servers: whether they are, and how they come to be.

Every table with a `bucket` is distributed by it, beside `memories`; the others are small and stand on every server.
"""

from __future__ import annotations

from typing import Final

from openmem._sql.postgres.names import Names
from openmem._sql.steps import Query, Steps
from openmem.errors import InvalidRequestError, ProviderError

_HAS_CITUS: Final = "select exists(select 1 from pg_catalog.pg_extension where extname = 'citus')"
# The rows of tables that are spread lie in their shards, which the coordinator does not count.
_ROWS_OF_SHARD: Final = "select greatest(reltuples, 0)::bigint from pg_class where oid = ''%s''::regclass"


def has_citus() -> Steps[bool]:
    """Return whether the database has Citus, and refuse an address that is not that of its coordinator.

    Raises:
        InvalidRequestError: The address is that of a worker.
    """
    rows = yield Query(_HAS_CITUS)
    if not rows[0][0]:
        return False
    rows = yield Query("select groupid from pg_catalog.pg_dist_local_group limit 1")
    if rows and rows[0][0]:
        raise InvalidRequestError(
            "url: this is a worker of a Citus cluster; give the address of its coordinator", provider="postgres"
        )
    return True


def is_distributed(db: Names) -> Steps[bool]:
    """Return whether the tables are spread. Only for a database with Citus."""
    rows = yield Query(
        "select exists(select 1 from pg_catalog.pg_dist_partition where logicalrelid = to_regclass($1::text))",
        (db.memories,),
    )
    return bool(rows[0][0])


def distribute(db: Names) -> Steps[None]:
    """Spread the tables. For a transaction; running it again does no harm.

    Raises:
        ProviderError: The database has no Citus.
    """
    rows = yield Query(_HAS_CITUS)
    if not rows[0][0]:
        raise ProviderError("the database has no extension citus: run CREATE EXTENSION citus; on every server")
    yield Query(distribution(db, first=True))


def drop_copies(db: Names) -> Steps[None]:
    """Erase the rows that lay on the coordinator before the tables were spread: copies that no query sees."""
    for table in (db.memories, db.versions, db.supersessions, db.vectors, db.audit, db.feed):
        yield Query(f"select truncate_local_data_after_distributing_table('{table}')")


def distribution(db: Names, *, first: bool) -> str:
    """Return the statement that spreads the tables of the schema that are not spread yet.

    Args:
        db: The names.
        first: Also if none is. Without it, it does nothing but on a cluster whose `memories` are spread already: so
            tables of later migrations follow the others.
    """
    return f"""
        do $$ declare one record; begin
          if not exists(select 1 from pg_catalog.pg_extension where extname = 'citus') then return; end if;
          if {"false" if first else "true"} and not exists(
            select 1 from pg_catalog.pg_dist_partition where logicalrelid = '{db.memories}'::regclass
          ) then return; end if;
          for one in
            select c.oid::regclass::text as name, exists(
              select 1 from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attname = 'bucket'
            ) as spread
            from pg_catalog.pg_class c
            where c.relnamespace = '{db.schema}'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
              and not exists(select 1 from pg_catalog.pg_dist_partition p where p.logicalrelid = c.oid)
            order by c.relname <> 'memories', c.relname
          loop
            if not one.spread then
              perform create_reference_table(one.name);
            elsif one.name = '{db.memories}'::regclass::text then
              perform create_distributed_table(one.name, 'bucket', colocate_with => 'none');
            else
              perform create_distributed_table(one.name, 'bucket', colocate_with => '{db.memories}');
            end if;
          end loop;
        end $$
    """


def rows_of_memories(db: Names) -> Query:
    """Return the statement that estimates how many memories there are, wherever they lie."""
    if db.distributed:
        return Query(
            f"select coalesce(sum(result::bigint), 0)::bigint "
            f"from run_command_on_shards('{db.memories}', '{_ROWS_OF_SHARD}') where success"
        )
    return Query(
        """
        select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
        from pg_partition_tree($1::text::regclass) t join pg_catalog.pg_class c on c.oid = t.relid where t.isleaf
        """,
        (db.memories,),
    )


def size_of_memories(db: Names) -> str:
    """Return an expression for the size of the table of memories in bytes, on all servers; `$1` is its name."""
    if db.distributed:
        return "citus_relation_size($1::text::regclass)"
    return """(
          select coalesce(sum(pg_relation_size(relid)), pg_relation_size($1::text::regclass))
          from pg_partition_tree($1::text::regclass)
        )"""
