"""Facts about a database server, for all that share the connections of a pool. Forgotten with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from openmem._sql.postgres.hnsw_trials import Trials
from openmem._sql.postgres.names import Names
from openmem._sql.writing import Model


@dataclass(slots=True)
class ServerInfo:
    """The facts that need not be asked again.

    Attributes:
        schemas: Schemas that are up to date, by the names they were asked for, with how statements name them.
        lengths: When the store agreed to the length of a model's vectors.
        vectors: Whether any memory may have a vector.
        indexes: Whether a model's approximate index can be used.
        trials: What is known of the approximate indexes.
    """

    schemas: dict[Names, Names] = field(default_factory=dict)
    lengths: dict[tuple[Names, Model], datetime] = field(default_factory=dict)
    vectors: dict[Names, bool] = field(default_factory=dict)
    indexes: dict[tuple[Names, Model], bool] = field(default_factory=dict)
    trials: dict[Names, Trials] = field(default_factory=dict)

    def forget(self) -> None:
        """Ask everything again: the server may have been restored or replaced."""
        for known in (self.schemas, self.lengths, self.vectors, self.indexes, self.trials):
            known.clear()
