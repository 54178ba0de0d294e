"""The names of the tables, in the schema and for the text search configuration that the user chose."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from openmem._sql.postgres.options import DEFAULT_CONFIG, DEFAULT_SCHEMA, check_names, is_identifier

# The words that Postgres reserves: as the name of a schema they have to be quoted.
_RESERVED_WORDS: Final = (
    "all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate "
    "collation column concurrently constraint create cross current_catalog current_date current_role "
    "current_schema current_time current_timestamp current_user default deferrable desc distinct do else end "
    "except false fetch for foreign freeze from full grant group having ilike in initially inner intersect into "
    "is isnull join lateral leading left like limit localtime localtimestamp natural not notnull null offset on "
    "only or order outer overlaps placing primary references returning right select session_user similar some "
    "symmetric system_user table tablesample then to trailing true union unique user using variadic verbose when "
    "where window with"
)
_RESERVED: Final = frozenset(_RESERVED_WORDS.split())


@lru_cache(maxsize=64)
def quoted(name: str) -> str:
    """Return a name as SQL takes it: as it is where that is enough, so that texts stay readable."""
    if is_identifier(name) and name not in _RESERVED:
        return name
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


@dataclass(frozen=True, slots=True)
class Names:
    """The names in the text of a statement, which depends on them besides its parameters.

    Args:
        schema: The schema of all tables; a plain lower-case identifier.
        config: The text search configuration that stems words, such as `english` or `simple`.
        distributed: The tables are spread over servers (Citus): every statement takes a shape that is sent on as it
            is to the one server that holds the user's bucket.
        extension: The schema of the extension `vector`, where it was found; `None` is wherever the search path leads.
    """

    schema: str = DEFAULT_SCHEMA
    config: str = DEFAULT_CONFIG
    distributed: bool = False
    extension: str | None = None

    def __post_init__(self) -> None:
        check_names(self.schema, self.config)

    def table(self, name: str) -> str:
        """Return a table's full name."""
        return f"{quoted(self.schema)}.{name}"

    def of_vector(self, name: str) -> str:
        """Return the full name of a type, a function or a class of operators of the extension `vector`."""
        return name if self.extension is None else f"{quoted(self.extension)}.{name}"

    @property
    def distance(self) -> str:
        """The operator that gives the cosine distance of two vectors."""
        return "<=>" if self.extension is None else f"operator({quoted(self.extension)}.<=>)"

    @property
    def memories(self) -> str:
        """The table of memories."""
        return self.table("memories")

    @property
    def audit(self) -> str:
        """The table of the audit log."""
        return self.table("audit")

    @property
    def feed(self) -> str:
        """The table that says up to which transaction entries of the audit log were removed."""
        return self.table("feed")

    @property
    def versions(self) -> str:
        """The table of earlier versions."""
        return self.table("versions")

    @property
    def supersessions(self) -> str:
        """The table that says which memory hides which."""
        return self.table("supersessions")

    @property
    def vectors(self) -> str:
        """The table of vectors of a model that is being moved to."""
        return self.table("vectors")

    @property
    def models(self) -> str:
        """The table that says how long the vectors of a model are."""
        return self.table("models")
