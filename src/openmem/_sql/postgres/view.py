"""The conditions of a view on Postgres, for a statement whose parameters are numbered as it is put together."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from openmem._model.access import Patterns
from openmem._model.requests import View
from openmem._sql.postgres.scope_filter import allowed
from openmem._sql.postgres.where import condition


class Parameters:
    """Numbers the parameters of a statement as its text is put together."""

    def __init__(self, *values: Any) -> None:
        self.values: list[Any] = list(values)

    def add(self, value: Any) -> str:
        """Take a value and return the placeholder that stands for it."""
        self.values.append(value)
        return f"${len(self.values)}"

    def allow(self, patterns: Patterns | None) -> str:
        """Take the scopes that may be seen and return the condition for it, with ` and ` before it."""
        condition, values = allowed(patterns, len(self.values) + 1)
        self.values += values
        return condition


def searched(view: View, now: datetime, given: Parameters) -> list[str]:
    """Return the same for a search, which leaves out what is not to be found."""
    return [*visible(view, now, given), "m.searchable"]


def visible(view: View, now: datetime, given: Parameters) -> list[str]:
    """Return the conditions on `m` under which a view allows a memory; their values go to the parameters."""
    conditions: list[str] = []
    at = f"{given.add(now if view.as_of is None else view.as_of)}::timestamptz"
    if view.as_of is not None:
        conditions.append(f"coalesce(m.valid_from, m.created_at) <= {at}")
    if not view.include_expired:
        conditions.append(f"(m.valid_from is null or m.valid_from <= {at})")
        conditions.append(f"(m.valid_to is null or m.valid_to > {at})")
    if not view.include_superseded:
        # What was replaced at once is hidden at once, however wrong the clocks are.
        present = " and m.superseded_now is not true" if view.as_of is None else ""
        conditions.append(f"(m.superseded_at is null or (m.superseded_at > {at}{present}))")
    if not conditions:
        conditions.append(f"{at} is not null")
    conditions += scope_conditions(view, given)
    if view.tags:
        conditions.append(f"m.tags @> {given.add(list(view.tags))}::text[]")
    if view.where is not None:
        conditions.append(condition(view.where, given))
    return conditions


def scope_conditions(view: View, given: Parameters) -> list[str]:
    """Return the same for the scopes that are asked for and may be read alone."""
    conditions: list[str] = []
    if view.scope is not None and not view.scope.matches(None):
        path = given.add(view.scope.path)
        below = f" or starts_with(m.scope, {path}::text || '/')" if view.scope.subtree else ""
        conditions.append(f"(m.scope = {path}{below})")
    if view.visible is not None:
        conditions.append(given.allow(view.visible).removeprefix(" and "))
    return conditions
