"""The adapters of psycopg for the types that the two drivers would otherwise treat differently."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import psycopg
from pgvector.psycopg.halfvec import register_halfvec_info
from pgvector.psycopg.vector import register_vector_info
from psycopg.abc import Buffer
from psycopg.adapt import Dumper, Loader
from psycopg.pq import Format
from psycopg.types import TypeInfo

from openmem._sql.postgres import values
from openmem._sql.postgres.vectors import PackedVector

_JSONB: Final = 3802
_TIMESTAMPTZ: Final = 1184
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_FOREVER: Final = {2**63 - 1: datetime.max.replace(tzinfo=UTC), -(2**63): datetime.min.replace(tzinfo=UTC)}


class _JsonDumper(Dumper):
    format = Format.BINARY
    oid = _JSONB

    def dump(self, obj: values.Json | values.EncodedJson) -> Buffer:
        return values.encode_json(obj)


class _JsonLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> Any:
        return values.decode_json(bytes(data))


class _InstantLoader(Loader):
    """Gives UTC, whatever the time zone of the session is."""

    format = Format.BINARY

    def load(self, data: Buffer) -> datetime:
        micros = int.from_bytes(data, "big", signed=True)
        return _FOREVER.get(micros) or _EPOCH + timedelta(0, 0, micros)


class _PackedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: PackedVector) -> Buffer:
        return obj.to_binary()


@lru_cache(maxsize=16)
def _packed_dumper(oid: int) -> type[_PackedDumper]:
    return type("_PackedDumper", (_PackedDumper,), {"oid": oid})


def register(connection: psycopg.Connection[Any], types: Mapping[str, int]) -> None:
    """Teach a connection the types.

    Args:
        connection: The connection.
        types: The numbers of the types `vector` and `halfvec`, as far as there are any.
    """
    # Those of this connection: others of the program are not touched.
    adapters = connection.adapters
    adapters.register_dumper(values.Json, _JsonDumper)
    adapters.register_dumper(values.EncodedJson, _JsonDumper)
    adapters.register_loader(_JSONB, _JsonLoader)
    adapters.register_loader(_TIMESTAMPTZ, _InstantLoader)
    # `register_vector` would ask the server four times for each connection, and find the types on its search path only.
    if "vector" in types:
        register_vector_info(connection, TypeInfo("vector", types["vector"], 0))
        adapters.register_dumper(PackedVector, _packed_dumper(types["vector"]))  # else it is looked for each time
    if "halfvec" in types:
        register_halfvec_info(connection, TypeInfo("halfvec", types["halfvec"], 0))
