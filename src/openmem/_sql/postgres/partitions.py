"""The migration script for hash-partitioned tables: a clause for each table and its partitions, nothing else."""

from __future__ import annotations

import re
from typing import Final

from openmem._model.ids import BUCKETS
from openmem.errors import InvalidRequestError

_TABLE: Final = re.compile(r"create table if not exists (?P<name>\S+)\(\n(?P<columns>[^;]*?bucket smallint[^;]*?)\n\);")


def partitioned_script(script: str, count: int) -> str:
    """Return a script of `migration_script` with every table of memories hash-partitioned by `bucket`.

    Args:
        script: What `migration_script` returned. Run the result before the first use, on a database without tables.
        count: Number of partitions of each table, 2 to 4096; it cannot be changed later without copying the tables.

    Raises:
        InvalidRequestError: `count` is out of range.
    """
    if not 2 <= count <= BUCKETS:
        raise InvalidRequestError(f"partitions must be from 2 to {BUCKETS}")
    return _TABLE.sub(lambda table: _partitioned(table["name"], table["columns"], count), script)


def _partitioned(name: str, columns: str, count: int) -> str:
    parts = [
        f"create table if not exists {name}_p{number} partition of {name} "
        f"for values with (modulus {count}, remainder {number});"
        for number in range(count)
    ]
    return "\n".join([f"create table if not exists {name}(\n{columns}\n) partition by hash (bucket);", *parts])
