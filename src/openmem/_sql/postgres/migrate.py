"""Steps that bring the schema up to date, under a lock, so that many processes may start at once."""

from __future__ import annotations

from openmem._sql.postgres.cluster import distribution
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.schema import LOCK_KEY, NEEDS_EXTENSION, ledger, migrations
from openmem._sql.steps import Query, Steps
from openmem.errors import InvalidRequestError


def current_version(db: Names) -> Steps[int | None]:
    """Return the version of the schema, `None` if there is none. It needs no rights but to look.

    Raises:
        InvalidRequestError: The server has no text search configuration of that name.
    """
    noted = ledger(db)
    rows = yield Query(
        """
        select to_regclass($1::text) is not null, array_agg(cfgname::text order by cfgname)
        from pg_ts_config where pg_ts_config_is_visible(oid)
        """,
        (noted.table,),
    )
    if db.config not in rows[0][1]:
        known = ", ".join(rows[0][1])
        raise InvalidRequestError(f"text_search: the database has no configuration {db.config!r}, only {known}")
    if not rows[0][0]:
        return None
    return (yield from noted.version())


def has_extension() -> Steps[bool]:
    """Return whether this database has the extension `vector`."""
    rows = yield Query("select exists(select 1 from pg_extension where extname = 'vector')")
    return bool(rows[0][0])


def extension_schema() -> Steps[str | None]:
    """Return the schema in which the extension `vector` is."""
    rows = yield Query(
        "select n.nspname::text from pg_catalog.pg_extension e "
        "join pg_catalog.pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector'"
    )
    return str(rows[0][0]) if rows else None


def create_extension() -> Steps[None]:
    """Make the extension `vector`, which not every role may. To be run in one transaction."""
    yield Query("select pg_advisory_xact_lock($1::bigint)", (LOCK_KEY,))  # `if not exists` alone is no protection
    rows = yield Query("select current_schema() is null and to_regnamespace('public') is not null")
    # A search path that leads nowhere would leave it without a schema.
    yield Query(f"{NEEDS_EXTENSION} with schema public" if rows[0][0] else NEEDS_EXTENSION)


def apply(db: Names) -> Steps[None]:
    """Apply the migrations that are due. To be run in one transaction.

    Raises:
        ProviderError: A newer version of openmem made the schema.
    """
    # Citus changes shards on many connections at once, unless told to use one: then a later statement sees it all.
    yield Query("select set_config('citus.multi_shard_modify_mode', 'sequential', true)")
    if (yield from ledger(db).apply(migrations(db))):
        yield Query(distribution(db, first=False))
