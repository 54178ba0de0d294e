"""The names of the tables, in the schema and for the text search configuration that the user chose."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from openmem.errors import InvalidRequestError

DEFAULT_SCHEMA: Final = "openmem"
DEFAULT_CONFIG: Final = "english"

_IDENTIFIER: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def _is_identifier(value: object) -> bool:
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Names:
    """What a statement's text depends on besides its parameters.

    Args:
        schema: The schema of all tables; a plain lower-case identifier.
        config: The text search configuration that stems words, such as `english` or `simple`.
        distributed: The tables are spread over servers (Citus): every statement takes a shape that is sent on as it
            is to the one server that holds the user's bucket.
    """

    schema: str = DEFAULT_SCHEMA
    config: str = DEFAULT_CONFIG
    distributed: bool = False

    def __post_init__(self) -> None:
        for name, value in (("schema", self.schema), ("text_search", self.config)):
            if not _is_identifier(value):
                raise InvalidRequestError(f"{name} must be a lower-case identifier, such as {DEFAULT_SCHEMA}")

    def table(self, name: str) -> str:
        """Return a table's full name."""
        return f"{self.schema}.{name}"

    @property
    def memories(self) -> str:
        """The table of memories."""
        return self.table("memories")

    @property
    def audit(self) -> str:
        """The table of the journal."""
        return self.table("audit")

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
