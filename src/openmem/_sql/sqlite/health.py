"""Steps that check that the file answers."""

from __future__ import annotations

from typing import Any

from openmem._sql.steps import Query, Steps


def touch() -> Steps[None]:
    """Read something small."""
    yield Query("select count(*) from models")


def check() -> Steps[dict[str, Any]]:
    """Read what the file says of itself: its schema, its users and memories, the models of its vectors."""
    version = yield Query("pragma user_version")
    users = yield Query("select count(*) from users")
    memories = yield Query("select count(*) from memories")
    models = yield Query("select distinct name from models order by name")
    bare = yield Query("select count(*) from memories where coalesce(model_no, 0) = 0 and searchable")
    return {
        "schema": version[0][0],
        "users": users[0][0],
        "memories": memories[0][0],
        "without_vector": bare[0][0],
        "models": [row[0] for row in models],
    }
