"""The one table of routes: which methods a path answers, with which verb, for whom. Labels come from here, too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Body: TypeAlias = Literal["none", "json", "lines"]
Effect: TypeAlias = Literal["none", "write", "erase"]
"""The effect of a verb on memories."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path.

    Attributes:
        verb: The name under which it is counted, and of the handler that answers it.
        needs_key: Whether it asks for a key, as soon as there is one.
        body: What its body is.
        effect: What it does to memories.
    """

    verb: str
    needs_key: bool = True
    body: Body = "none"
    effect: Effect = "none"


# Looked through from the top: first what is asked for most, and a fixed path before one with an id in its place.
ROUTES: Final[Mapping[str, Mapping[str, Operation]]] = {
    "/memories/search": {"GET": Operation("search"), "POST": Operation("search", body="json")},
    "/memories": {
        "GET": Operation("list"),
        "POST": Operation("add", body="json", effect="write"),
        "DELETE": Operation("delete_all", effect="erase"),
    },
    "/context": {"POST": Operation("context", body="json")},
    "/capabilities": {"GET": Operation("capabilities", needs_key=False)},
    "/openapi.json": {"GET": Operation("openapi", needs_key=False)},
    "/memories/batch": {"POST": Operation("add_many", body="json", effect="write")},
    "/memories/wait": {"POST": Operation("wait_for_ingest", body="json")},
    "/memories/by-key/{key}": {
        "GET": Operation("get"),
        "PATCH": Operation("update", body="json", effect="write"),
        "DELETE": Operation("delete", effect="erase"),
    },
    "/memories/by-key/{key}/history": {"GET": Operation("history")},
    "/memories/{id}": {
        "GET": Operation("get"),
        "PATCH": Operation("update", body="json", effect="write"),
        "DELETE": Operation("delete", effect="erase"),
    },
    "/memories/{id}/history": {"GET": Operation("history")},
    "/scopes": {"GET": Operation("scopes")},
    "/tags": {"GET": Operation("tags")},
    "/users": {"GET": Operation("users")},
    "/audit": {"GET": Operation("audit")},
    "/changes": {"GET": Operation("changes")},
    "/export": {"GET": Operation("export")},
    "/import": {"POST": Operation("import", body="lines")},
    "/reembed": {"POST": Operation("reembed")},
}
OPERATIONS: Final = frozenset({"/healthz", "/health/live", "/health/ready", "/version", "/metrics"})
"""For those who run the server: neither counted nor refused when there is too much to do."""
PAGES: Final = frozenset({"/", "/docs"})
"""For people with a browser."""
PAGE_FILE: Final = "/docs/{name}"
UNMATCHED: Final = "unmatched"

_FIXED: Final = OPERATIONS | PAGES | {path for path in ROUTES if "{" not in path}
_TEMPLATES: Final = [
    (re.compile(re.sub(r"\{\w+\}", "[^/]+", path).encode()), path) for path in (*ROUTES, PAGE_FILE) if "{" in path
]


def template_of(path: str, raw_path: bytes) -> str | None:
    """Return the template of a path, or `None` if no route has it.

    Args:
        path: The path.
        raw_path: The same before its decoding: an id may hold a slash, written as `%2F`.
    """
    if path in _FIXED:
        return path
    for pattern, template in _TEMPLATES:
        if pattern.fullmatch(raw_path):
            return template
    return None
