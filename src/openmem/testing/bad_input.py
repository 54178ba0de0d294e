"""One valid call of each verb, and for each of its arguments the values that must be refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

AN_ID = "an-id"
"""Stands for the id of a memory that exists, and is replaced by it."""

VALID_CALLS: dict[str, dict[str, Any]] = {
    "add": {"content": "prefers tea", "user_id": "ann"},
    "add_many": {"items": [{"content": "prefers tea", "user_id": "ann"}]},
    "get": {"id": AN_ID},
    "update": {"id": AN_ID, "confidence": 0.5},
    "delete": {"id": AN_ID},
    "delete_all": {"user_id": "ann"},
    "list": {"user_id": "ann"},
    "scopes": {"user_id": "ann"},
    "tags": {"user_id": "ann"},
    "users": {},
    "search": {"query": "tea", "user_id": "ann"},
    "context": {"query": "tea", "user_id": "ann"},
    "history": {"id": AN_ID},
    "audit": {"user_id": "ann"},
    "changes": {"user_id": "ann"},
    "capabilities": {},
    "wait_for_ingest": {"ids": [AN_ID], "user_id": "ann"},
    "export": {"user_id": "ann"},
    "import_": {"lines": []},
    "health": {},
}

NEEDS = {
    "add_many": "batches",
    "update": "updates",
    "delete_all": "erasure",
    "history": "history",
    "audit": "audit",
    "users": "users",
    "changes": "changes",
    "export": "portability",
    "import_": "portability",
    "order": "orders",
    "offset": "offsets",
    "descending": "orders",
    "key": "keys",
    "if_version": "versions",
    "scope": "scopes",
    "valid_from": "temporal",
    "valid_to": "temporal",
    "as_of": "temporal",
    "include_expired": "temporal",
    "supersedes": "supersession",
    "include_superseded": "supersession",
}
"""The declaration behind a verb or an argument."""

SURROGATE = "tea \ud800"
NAIVE = datetime(2024, 5, 1)
MEGABYTE = "x" * 1_000_000

BLANKS: list[Any] = ["", "   ", "\t\n"]
TEXTS: list[Any] = [*BLANKS, "nul \0 sign", SURROGATE, 7, b"tea", ["tea"]]
USERS: list[Any] = [*TEXTS, "*", "an*", "line\nbreak", " ann", "ann ", "x" * 257, MEGABYTE]
IDS: list[Any] = [*BLANKS, "nul\0", SURROGATE, 7, None, "x" * 257]
KEYS: list[Any] = [*TEXTS, "x" * 257, "beside the id"]
STORED_SCOPES: list[Any] = [*TEXTS, "a//b", "/a", "a/", "a/*", "*", "a\nb", "x" * 513]
PATTERNS: list[Any] = [*TEXTS, "a//b", "/a", "a/", "a*", "*/a", "a/*/b", "**", "x" * 513]
TAGS: list[Any] = ["tea", 7, [""], ["  "], [7], [None], ["nul\0"], [SURROGATE], ["x" * 201]]
MANY_TAGS: list[Any] = [[f"t{number}" for number in range(10_000)]]
SHARES: list[Any] = [-0.01, 1.01, float("nan"), float("inf"), float("-inf"), "0.5", [0.5]]
TIMES: list[Any] = [NAIVE, "2024-05-01T00:00:00", "yesterday", "", 1_714_521_600, MEGABYTE]
SUPERSEDES: list[Any] = [
    "mem_1",
    7,
    [""],
    [7],
    ["nul\0"],
    ["x" * 257],
    [f"m{number}" for number in range(101)],
]
WHOLE: list[Any] = [0, -1, 1.5, "10", None, float("nan")]
TIMEOUTS: list[Any] = [0, -1, float("nan"), float("inf"), "10", [1]]


@dataclass(frozen=True)
class Bad:
    """The values that one argument of one verb must refuse, all else being valid."""

    verb: str
    argument: str
    values: list[Any]

    @property
    def name(self) -> str:
        """The name of the test of this argument."""
        return f"{self.verb}-{self.argument}"

    @property
    def needs(self) -> tuple[str, ...]:
        """The declarations without which the call may be refused as unsupported instead."""
        return tuple(NEEDS[name] for name in (self.verb, self.argument) if name in NEEDS)

    def calls(self, id: str) -> Iterator[dict[str, Any]]:
        """Yield the arguments of each call, for a memory that exists."""
        given = with_id(VALID_CALLS[self.verb], id)
        for value in self.values:
            yield given | {self.argument: value}


WHERES: list[Any] = [
    *(7, "lang", [], {5: 1}, {"": 1}, {"a..b": 1}, {"$nor": []}, {"$and": 1}, {"a": [1]}, {"a": {}}, {"a": {"b": 1}}),
    *({"a": {"$like": "x"}}, {"a": {"$in": 1}}, {"a": {"$exists": 1}}, {"a": float("nan")}, {"a": "nul\0"}),
    {"a": "x" * 65_536},
]
METADATA: list[Any] = [7, "{}", [1], {5: 1}, {"a": float("nan")}, {"a": "nul\0"}, {"a": "x" * 65_536}, {"a": {1}}]
VECTORS: list[Any] = [
    *("text", 7, [1.0], {"model": "m"}, {"vector": [1.0]}, {"model": "", "vector": [1.0]}),
    *({"model": "m", "vector": vector} for vector in (7, "1", [], [0.0], ["1"], [float("nan")], [1.0] * 16_001)),
]
EXTRA: list[Any] = ["x-kit", [1], {"id": "mem_1"}, {"scoope": "a"}, {"user": "ann"}, {5: 1}]


def with_id(arguments: dict[str, Any], id: str) -> dict[str, Any]:
    """Return arguments with the id of a memory in the place of `AN_ID`."""
    return {name: _named(value, id) for name, value in arguments.items()}


def _named(value: Any, id: str) -> Any:
    if isinstance(value, list):
        return [_named(item, id) for item in value]
    return id if value == AN_ID else value


ARGUMENTS: dict[str, dict[str, list[Any]]] = {
    "add": {
        "content": [*TEXTS, None, MEGABYTE],
        "user_id": [*USERS, None],
        "scope": STORED_SCOPES,
        "tags": TAGS + MANY_TAGS,
        "source": ["chat", 7, {"type": "rumour"}],
        "confidence": SHARES,
        "valid_from": TIMES,
        "valid_to": TIMES,
        "supersedes": SUPERSEDES,
        "key": [*TEXTS, "x" * 257],
        "metadata": METADATA,
        "if_absent": [True, 1, "yes"],
        "if_version": [1, 0, -1, 1.5, "1"],
        "searchable": ["yes", 1, None],
        "embedding": VECTORS,
        "colour": ["green"],
        "x-kit": [object(), float("nan"), {1, 2}],
        "extra": EXTRA,
    },
    "add_many": {
        "user_id": USERS,
        "items": [
            7,
            [{"content": "a", "if_absent": True}],
            [{"content": "a", "key": "k", "if_version": 0}],
            [7],
            [None],
            ["tea"],
            [{"contnt": "tea"}],
            [{"content": "a", "tgas": []}],
        ],
    },
    "get": {"id": IDS, "key": KEYS, "user_id": USERS},
    "update": {
        "id": IDS,
        "key": KEYS,
        "content": [*TEXTS, None, MEGABYTE],
        "scope": STORED_SCOPES,
        "tags": TAGS + MANY_TAGS,
        "confidence": SHARES,
        "valid_to": TIMES,
        "supersedes": SUPERSEDES,
        "metadata": METADATA,
        "metadata_patch": [*METADATA, None],
        "searchable": ["yes", 1, None],
        "embedding": VECTORS,
        "user_id": USERS,
        "if_version": [0, -1, 1.5, "1"],
        "colour": ["green"],
        "x-kit": [object(), float("nan"), {1, 2}],
        "extra": EXTRA,
    },
    "delete": {"id": IDS, "key": KEYS, "user_id": USERS},
    "delete_all": {"user_id": [*USERS, None], "scope": PATTERNS, "where": WHERES},
    "list": {
        "user_id": [*USERS, None],
        "scope": PATTERNS,
        "tag": [*TEXTS, "x" * 201],
        "since": TIMES,
        "until": TIMES,
        "limit": [*WHOLE, 501],
        "cursor": ["", 7, "junk", MEGABYTE],
        "as_of": TIMES,
        "include_superseded": ["yes", 1, None],
        "include_expired": ["yes", 1, None],
        "order": ["", "newest", 7, None],
        "descending": ["yes", 1, None],
        "where": WHERES,
    },
    "scopes": {"user_id": [*USERS, None], "prefix": PATTERNS, "depth": [0, -1, 1.5, "1", True, 257]},
    "tags": {"user_id": [*USERS, None], "scope": PATTERNS},
    "users": {
        "prefix": [*BLANKS, "nul\0", SURROGATE, 7, "x" * 257],
        "limit": [*WHOLE, 1_001],
        "cursor": ["", 7, "junk", MEGABYTE],
    },
    "search": {
        "query": [*TEXTS, None, "x" * 10_001],
        "user_id": [*USERS, None],
        "scope": PATTERNS,
        "limit": [*WHOLE, 1_001],
        "offset": [-1, 1.5, "1", None, True, 10_001],
        "min_score": SHARES,
        "tags": TAGS + MANY_TAGS,
        "mode": ["", "semantic", 7, None],
        "purpose": ["", "fun", 7, None],
        "embedding": VECTORS,
        "as_of": TIMES,
        "include_superseded": ["yes", 1, None],
        "include_expired": ["yes", 1, None],
        "explain": ["yes", 1, None],
        "where": WHERES,
    },
    "context": {
        "query": [*TEXTS, None, "x" * 10_001],
        "user_id": [*USERS, None],
        "scope": PATTERNS,
        "token_budget": [*WHOLE, 1_000_001],
        "tags": TAGS + MANY_TAGS,
        "as_of": TIMES,
        "where": WHERES,
    },
    "history": {
        "id": IDS,
        "key": KEYS,
        "user_id": USERS,
        "limit": [*WHOLE, 1_001],
        "cursor": ["", 7, "junk", MEGABYTE],
    },
    "audit": {"user_id": [*USERS, None], "app": TEXTS, "since": TIMES, "limit": [*WHOLE, 1_001]},
    "changes": {"user_id": USERS, "limit": [*WHOLE, 1_001], "cursor": ["", 7, "junk", MEGABYTE]},
    "wait_for_ingest": {"ids": ["mem_1", 7, [""], [7], None], "user_id": [*USERS, None]},
    "export": {"user_id": USERS, "limit": [*WHOLE, 501], "cursor": ["", 7, "junk"]},
    "import_": {"conflict": ["", "merge", 7, None]},
}


BAD_INPUT = [
    Bad(verb, argument, values)
    for verb, arguments in ARGUMENTS.items()
    for argument, values in (arguments | {"timeout": TIMEOUTS}).items()
]
