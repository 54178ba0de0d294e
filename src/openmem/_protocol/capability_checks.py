"""Finds in a request what a server's capabilities say it cannot do. Pure.

A server that does not know an argument ignores it, and an argument that is ignored is worse than one refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from openmem._model.requests import Change, Draft, SearchQuery, View
from openmem._text.misspellings import shown
from openmem.types import Capabilities

_LATER: Final = ("key", "if_version", "as_of", "include_expired", "include_superseded")


def is_plain(said: Capabilities) -> bool:
    """Return whether a server knows the first edition of the protocol only, and nothing that came later."""
    return len(said.all_verbs) == len(said.verbs)


def lacks_of_drafts(said: Capabilities, drafts: Iterable[Draft]) -> str | None:
    """Return the name of the first field that the server would not honour, or `None`."""
    for draft in drafts:
        given = {
            "valid_from": draft.valid_from,
            "valid_to": draft.valid_to,
            "supersedes": draft.supersedes,
            "scope": draft.scope,
            "key": draft.key,
        }
        if lacking := _first(said, (name for name, value in given.items() if value is not None)):
            return lacking
        if draft.extensions and is_plain(said):  # it drops what is not named x-…
            lost = next((name for name in draft.extensions if not name.startswith("x-")), None)
            if lost is not None:
                return f"the field {shown(lost)}"
    return None


def lacks_of_change(said: Capabilities, change: Change) -> str | None:
    """Return the name of the first part of an update that the server would not honour, or `None`."""
    names = [name for name, value in change.fields.items() if value is not None]
    if is_plain(said) and len(names) < len(change.fields):
        return "clearing a field"
    if is_plain(said) and "extensions" in change.fields:
        return "changing an extension field"
    return _first(said, names + (["if_version"] if change.if_version is not None else []))


def lacks_of_view(said: Capabilities, view: View) -> str | None:
    """Return the name of the first filter that the server would not honour, or `None`; tags are judged elsewhere."""
    given = {
        "scope": view.scope is not None,
        "as_of": view.as_of is not None,
        "include_superseded": view.include_superseded,
        "include_expired": view.include_expired,
    }
    return _first(said, (name for name, there in given.items() if there))


def lacks_of_search(said: Capabilities, query: SearchQuery) -> str | None:
    """Return the name of the first argument of a search that the server would not honour, or `None`."""
    lacking = {
        'mode="vector"': query.mode == "vector" and (said.features.vector_search is False or is_plain(said)),
        'mode="keyword"': query.mode == "keyword" and (said.features.keyword_search is False or is_plain(said)),
        "tags": bool(query.view.tags) and is_plain(said),
        "explain": query.explain and is_plain(said),
    }
    return lacks_of_view(said, query.view) or next((name for name, is_so in lacking.items() if is_so), None)


def keeps_names(said: Capabilities) -> bool:
    """Return whether the server does an `add` once that is sent twice under one name."""
    return (said.features.model_extra or {}).get("idempotency_keys") is True


def _first(said: Capabilities, names: Iterable[str]) -> str | None:
    absent = set(_absent(said))
    return next((name for name in names if name in absent), None)


def _absent(said: Capabilities) -> Iterator[str]:
    features = said.features
    if features.temporal is False:
        yield from ("valid_from", "valid_to", "as_of", "include_expired")
    if features.supports_supersession is False:
        yield from ("supersedes", "include_superseded")
    if features.scopes == "none":
        yield "scope"
    if is_plain(said):
        yield from _LATER
