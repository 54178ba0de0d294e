"""Steps that check that the server answers and is set up."""

from __future__ import annotations

from typing import Any

from openmem._sql.postgres import cluster
from openmem._sql.postgres.names import Names
from openmem._sql.steps import Query, Steps


def check(db: Names) -> Steps[dict[str, Any]]:
    """Read what the server says of itself: versions, and roughly how many memories there are."""
    rows = yield Query(
        f"""
        select current_setting('server_version'), (select extversion from pg_extension where extname = 'vector'),
          (select max(version) from {db.table("migrations")}), pg_is_in_recovery()
        """
    )
    count = yield cluster.rows_of_memories(db)
    names = ("server", "pgvector", "schema", "read_only", "memories")
    return dict(zip(names, (*rows[0], count[0][0]), strict=True))
