"""A stand-in for Citus on the one Postgres that the tests start: its catalog and its functions, without its work.

It shows what openmem asks a cluster for, and lets every statement of the shapes for a cluster run on real tables. How
a real cluster plans them is another matter: `tests/test_postgres_shapes.py` holds them to what its documents say.
"""

from __future__ import annotations

import psycopg

_SETUP = """
set allow_system_table_mods = on;
insert into pg_catalog.pg_extension(oid, extname, extowner, extnamespace, extrelocatable, extversion)
  values(4242, 'citus', 10, 'pg_catalog'::regnamespace, false, '13.2-1');
create table pg_catalog.pg_dist_local_group(groupid integer primary key);
insert into pg_catalog.pg_dist_local_group values(0);
create table pg_catalog.pg_dist_partition(logicalrelid regclass primary key, partkey text, colocated regclass);
create function pg_catalog.create_distributed_table(one text, col text, colocate_with text default 'default')
  returns void language sql
  as $$ insert into pg_dist_partition
    select one::regclass, col, case when colocate_with not in ('none', 'default') then colocate_with::regclass end $$;
create function pg_catalog.create_reference_table(one text) returns void language sql
  as $$ insert into pg_dist_partition values(one::regclass, null, null) $$;
create function pg_catalog.truncate_local_data_after_distributing_table(one regclass) returns void language plpgsql
  as $$ begin
    if not exists(select 1 from pg_dist_partition where logicalrelid = one and partkey is not null) then
      raise exception 'supplied parameter is not a distributed relation';
    end if;
  end $$;
create function pg_catalog.citus_relation_size(one regclass) returns bigint language sql
  as $$ select coalesce(nullif(current_setting('standin.size', true), '')::bigint, pg_relation_size(one)) $$;
create function pg_catalog.run_command_on_shards(one regclass, command text, parallel boolean default true)
  returns table(shardid bigint, success boolean, result text) language plpgsql
  as $$ begin
    execute format(command, one) into result; shardid := 1; success := true; return next;
    shardid := 2; success := false; result := 'ERROR: unreachable'; return next;
  end $$;
"""

_REFUSE = """
create function pg_catalog.refuse_storage() returns event_trigger language plpgsql as $$ begin
  if current_query() ~* 'openmem.* set storage' and exists(select 1 from pg_dist_partition) then
    raise exception 'alter table command is currently unsupported' using errcode = '0A000';
  end if;
end $$;
create event trigger refuse_storage on ddl_command_start when tag in ('ALTER TABLE') execute function refuse_storage();
"""


def install(url: str) -> None:
    """Put the stand-in into a database, as `create extension citus` would on a cluster."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_SETUP)
        connection.execute(_REFUSE)


def spread_tables(url: str) -> dict[str, tuple[str | None, str | None]]:
    """Return the tables that were spread, with the column by which and the table beside which that was done."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select logicalrelid::text, partkey, colocated::text from pg_dist_partition order by 1"
        ).fetchall()
    return {name.partition(".")[2]: (column, beside) for name, column, beside in rows}


def become_worker(url: str) -> None:
    """Have the server say that it is a worker."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("update pg_catalog.pg_dist_local_group set groupid = 2")
