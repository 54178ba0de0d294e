"""Steps that check that the server answers and is set up."""

from __future__ import annotations

from typing import Any

from openmem.sql.postgres.names import Names
from openmem.sql.steps import Query, Steps


def check(db: Names) -> Steps[dict[str, Any]]:
    """Read what the server says of itself: versions, and roughly how many memories there are."""
    rows = yield Query(
        f"""
        select current_setting('server_version'), (select extversion from pg_extension where extname = 'vector'),
          (select max(version) from {db.table("migrations")}), pg_is_in_recovery(),
          (select greatest(sum(reltuples), 0)::bigint from pg_class where oid = $1::regclass)
        """,
        (db.memories,),
    )
    names = ("server", "pgvector", "schema", "read_only", "memories")
    return dict(zip(names, rows[0], strict=True))
