"""Strategies of the state machine: small sets of values, so that memories often meet in scope, tag, time and key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from openmem.testing.declared import Declared
from openmem.testing.model import View
from openmem.testing.moments import days

# A value that stands in a list several times is drawn as much more often.
USERS = ("ann", "bob", "cat")
WORDS = ["tea", "piano", "river", "garden", "violin", "coffee"]
SCOPES = [None, "home", "home/a", "home/a/b", "home2", "h%", "h_me"]
PATTERNS = [None, None, None, "home", "home/a", "home/*", "home/a/*", "h%", "h_me", "h%/*", "*"]
WINDOWS = [(None, None), (None, None), (-20, -10), (-20, 10), (None, -5), (None, 20), (10, 20), (-20, None), (10, None)]
METADATA: list[dict[str, Any] | None] = [
    None,
    None,
    {"n": 1},
    {"n": 2.5, "lang": "py"},
    {"lang": None, "a": {"b": "x"}},
]
FILTERS: list[dict[str, Any] | None] = [
    None,
    None,
    None,
    {"n": {"$gte": 1}},
    {"lang": {"$exists": False}},
    {"a.b": "x"},
]
MOMENTS = [None, None, None, -30, -15, -7, 5, 15, 30]
"""Days from now, all far from one another and from now."""


def moment(distance: int | None) -> datetime | None:
    """Return the time that many days from now."""
    return None if distance is None else days(distance)


@dataclass(frozen=True)
class DrawnMemory:
    """A memory to be added, as drawn.

    Attributes:
        who: The index of its user in the users of the run.
        words: Its content.
        scope: Its scope.
        tags: Its tags.
        key: Its key.
        window: Days from now to `valid_from` and to `valid_to`.
        replaced: Positions of the memories that it supersedes.
        metadata: Its metadata.
        searchable: Whether searches find it.
    """

    who: int
    words: str
    scope: str | None
    tags: list[str] | None
    key: str | None
    window: tuple[int | None, int | None]
    replaced: list[int]
    metadata: dict[str, Any] | None
    searchable: bool

    def fields(self, declared: type[Declared]) -> dict[str, Any]:
        """Return the arguments of `add`, without those that stand for something declared absent."""
        fields: dict[str, Any] = {"tags": self.tags}
        if declared.declares("scopes"):
            fields["scope"] = self.scope
        if declared.declares("keys"):
            fields["key"] = self.key
        if declared.declares("temporal"):
            fields |= {"valid_from": moment(self.window[0]), "valid_to": moment(self.window[1])}
        if declared.declares("metadata"):
            fields["metadata"] = self.metadata
        if declared.declares("unsearchable"):
            fields["searchable"] = self.searchable
        return fields


@dataclass(frozen=True)
class DrawnView:
    """The arguments of a read, as drawn.

    Attributes:
        who: The index of the user in the users of the run.
        pattern: The scope.
        tag: The tag.
        distance: Days from now to `as_of`.
        superseded: Whether superseded memories are asked for, too.
        expired: The same of expired ones.
        where: The filter on metadata.
    """

    who: int
    pattern: str | None
    tag: str | None
    distance: int | None
    superseded: bool
    expired: bool
    where: dict[str, Any] | None

    def view(self, users: list[str], declared: type[Declared]) -> View:
        """Return the view, without what is declared absent."""
        return View(
            users[self.who],
            scope=self.pattern if declared.declares("scopes") else None,
            tag=self.tag,
            as_of=moment(self.distance) if declared.declares("temporal") else None,
            include_superseded=self.superseded and declared.declares("supersession"),
            include_expired=self.expired and self.distance is None and declared.declares("temporal"),
            where=self.where if declared.declares("metadata", "filters") else None,
        )


def views_of(user_id: str, declared: type[Declared]) -> list[View]:
    """Return the views under which everything of a user is compared at the end of a run."""
    views = [View(user_id)]
    if declared.declares("temporal"):
        views += [View(user_id, as_of=moment(distance)) for distance in (-15, 5, 15)]
        views.append(View(user_id, include_expired=True))
    if declared.declares("supersession"):
        views.append(View(user_id, include_superseded=True))
    if declared.declares("scopes"):
        views += [View(user_id, scope=pattern) for pattern in ("home/*", "h%")]
    if declared.declares("metadata", "filters"):
        views += [View(user_id, where=where) for where in FILTERS if where is not None]
    return views


TEXT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
USER = st.integers(0, len(USERS) - 1)
POSITION = st.integers(0, 30)
"""The memory that is meant: its position among those that are there, counted round and round."""
REPLACED = st.lists(POSITION, max_size=2)
TAGS = st.sampled_from([None, ["green"], ["green", "blue"], ["tea"]])
SEARCHABLE = st.sampled_from([True, True, True, False])
CHANGE = st.fixed_dictionaries(
    {},
    optional={
        "content": TEXT,
        "scope": st.sampled_from(SCOPES),
        "tags": TAGS,
        "metadata": st.sampled_from(METADATA),
        "searchable": SEARCHABLE,
    },
)

MEMORIES = st.lists(
    st.builds(
        DrawnMemory,
        USER,
        TEXT,
        st.sampled_from(SCOPES),
        TAGS,
        st.sampled_from([None, None, "k1", "k2"]),
        st.sampled_from(WINDOWS),
        REPLACED,
        st.sampled_from(METADATA),
        SEARCHABLE,
    ),
    min_size=1,
    max_size=4,
)
VIEW = st.builds(
    DrawnView,
    USER,
    st.sampled_from(PATTERNS),
    st.sampled_from([None, None, "green", "tea"]),
    st.sampled_from(MOMENTS),
    st.booleans(),
    st.booleans(),
    st.sampled_from(FILTERS),
)
