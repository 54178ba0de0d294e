"""Finds in a request what a server's capabilities say it cannot do. Pure.

A server that does not know an argument ignores it, and an argument that is ignored is worse than one refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from openmem._model.requests import Change, Draft, SearchQuery, View
from openmem._text.misspellings import shown
from openmem.types import Capabilities

_LATER: Final = ("key", "if_version", "as_of", "include_expired", "include_superseded")


@dataclass(frozen=True, slots=True)
class Abilities:
    """The abilities that a server told of, read once for all requests.

    Attributes:
        verbs: Its verbs, those beside the protocol too.
        plain: It knows the first edition of the protocol only, and nothing that came later.
        ignored: Names of arguments that it would not honour.
        keeps_names: An `add` that is sent twice under one name is done once.
    """

    verbs: frozenset[str]
    plain: bool
    ignored: frozenset[str]
    keeps_names: bool

    @classmethod
    def of(cls, said: Capabilities) -> Abilities:
        """Return those of a server that says this."""
        verbs, extra = said.all_verbs, said.features.model_extra or {}
        plain = len(verbs) == len(said.verbs)
        return cls(frozenset(verbs), plain, frozenset(_ignored(said, plain)), extra.get("idempotency_keys") is True)


def lacks_of_drafts(able: Abilities, drafts: Iterable[Draft]) -> str | None:
    """Return the name of the first field that the server would not honour, or `None`."""
    if not able.ignored:
        return None
    for draft in drafts:
        given = {
            "valid_from": draft.valid_from,
            "valid_to": draft.valid_to,
            "supersedes": draft.supersedes,
            "scope": draft.scope,
            "key": draft.key,
        }
        if lacking := _first(able, (name for name, value in given.items() if value is not None)):
            return lacking
        if draft.extensions and able.plain:  # it drops what is not named x-…
            lost = next((name for name in draft.extensions if not name.startswith("x-")), None)
            if lost is not None:
                return f"the field {shown(lost)}"
    return None


def lacks_of_change(able: Abilities, change: Change) -> str | None:
    """Return the name of the first part of an update that the server would not honour, or `None`."""
    names = [name for name, value in change.fields.items() if value is not None]
    if able.plain and len(names) < len(change.fields):
        return "clearing a field"
    if able.plain and "extensions" in change.fields:
        return "changing an extension field"
    return _first(able, names + (["if_version"] if change.if_version is not None else []))


def lacks_of_view(able: Abilities, view: View) -> str | None:
    """Return the name of the first filter that the server would not honour, or `None`; tags are judged elsewhere."""
    if not able.ignored:
        return None
    given = {
        "scope": view.scope is not None,
        "as_of": view.as_of is not None,
        "include_superseded": view.include_superseded,
        "include_expired": view.include_expired,
    }
    return _first(able, (name for name, there in given.items() if there))


def lacks_of_search(able: Abilities, query: SearchQuery) -> str | None:
    """Return the name of the first argument of a search that the server would not honour, or `None`."""
    if not able.ignored:
        return None
    mode = f'mode="{query.mode}"'
    lacking = {
        mode: mode in able.ignored and query.embedding is None,
        "tags": bool(query.view.tags) and able.plain,
        "explain": query.explain and able.plain,
    }
    return lacks_of_view(able, query.view) or next((name for name, is_so in lacking.items() if is_so), None)


def _first(able: Abilities, names: Iterable[str]) -> str | None:
    return next((name for name in names if name in able.ignored), None)


def _ignored(said: Capabilities, plain: bool) -> Iterator[str]:
    features = said.features
    if features.temporal is False:
        yield from ("valid_from", "valid_to", "as_of", "include_expired")
    if features.supports_supersession is False:
        yield from ("supersedes", "include_superseded")
    if features.scopes == "none":
        yield "scope"
    if plain or features.vector_search is False:
        yield 'mode="vector"'
    if plain or features.keyword_search is False:
        yield 'mode="keyword"'
    if plain:
        yield from _LATER
