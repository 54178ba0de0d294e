"""Calls that must be refused, beyond the table of the conformance kit: what hides inside items, lines and objects."""

from __future__ import annotations

import base64
import json
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from openmem.testing.bad_input import BAD_INPUT, MEGABYTE, VALID_CALLS
from openmem.types import MemoryInput

USER = "ann"
AN_ID = "an-id"
"""Stands for the id of a memory that is stored, valid from 2024 on."""
PAGE = "a-page"
"""Stands for the cursor of a second page of USER's list."""
EXPORT = "an-export"
"""Stands for the cursor of a second page of USER's export."""

CALLS: dict[str, dict[str, Any]] = {**VALID_CALLS, "reembed": {}, "maintain": {}}
"""One valid call of each verb."""


@dataclass(frozen=True)
class BadCall:
    """A verb, the arguments that replace the valid ones, and words the message must hold."""

    verb: str
    given: dict[str, Any]
    names: tuple[str, ...]

    def arguments(self, stand_ins: dict[str, str]) -> dict[str, Any]:
        """Return the whole call."""
        call = CALLS[self.verb] | self.given
        return {name: _filled(value, stand_ins) for name, value in call.items()}

    def __str__(self) -> str:
        return f"{self.verb}({', '.join(self.given)}={reprlib.repr([*self.given.values()])})"


def _filled(value: Any, stand_ins: dict[str, str]) -> Any:
    if type(value) is list and len(value) == 1 and isinstance(value[0], str):
        return [stand_ins.get(value[0], value[0])]
    return stand_ins.get(value, value) if isinstance(value, str) else value


def _nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


class Liar(str):
    """Text whose subclass says something else than it holds."""

    __slots__ = ()

    def __str__(self) -> str:
        return "fine"


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEYOND = datetime(9999, 12, 31, 23, 30, tzinfo=timezone(-timedelta(hours=1)))
GOOD = {"content": "likes tea", "user_id": USER}
RECORD = {**GOOD, "id": "mem_imported", "created_at": "2026-01-01T12:00:00+00:00", "version": 1}

EXTENSIONS: dict[str, list[Any]] = {
    "x-": [1],
    "x-\n": [1],
    "x-\0": [1],
    "x-\ud800": [1],
    "X-kit": [1],
    "id": ["mem_1"],
    "version": [2],
    "created_at": [NOON],
    "embedding_model": ["m"],
    "status": ["done"],
    "x-large": ["x" * 1_000_001],
    "x" * 300: [1],
    "x-" + "y" * 300: [1],
    "x-kit": [
        b"bytes",
        {"a": {1, 2}},
        [float("inf")],
        {"deep": [float("nan")]},
        "\ud800",
        {"\ud800": 1},
        ["nul \0"],
        _nested(65),
        _nested(100_000),
        object(),
        NOON,
    ],
}

FIELDS: dict[str, list[Any]] = {
    "content": [None, 7, True, b"tea", " \t\n", "\u2003\u3000", "nul \0", "\ud83d", MEGABYTE, Liar("")],
    "user_id": [
        "*",
        "a*",
        "",
        "  ",
        "\u2003",
        "ann ",
        "\u2003ann",
        "a\nb",
        "\x7f",
        "\ud800",
        "x" * 257,
        7,
        True,
        b"ann",
    ],
    "scope": [
        "",
        " ",
        "/",
        "//",
        "a/ /b",
        "a/\t",
        "a/b/",
        "a*b",
        "*",
        "*/a",
        "a/*",
        "a\x9f",
        "x" * 513,
        7,
        ["a"],
        "\ud800",
    ],
    "tags": ["tea", b"tea", 7, {"tea": 1}, [b"tea"], [True], ["ok", ""], ["\ud800"], ["x" * 201], ["t"] * 10_000],
    "source": [[], {"app": ""}, {"app": 7}, {"ref": "x" * 2_001}, {"ref": "\0"}, {"type": 7}, {"tpye": 1}],
    "confidence": [True, "0.5", 1j, float("nan"), float("inf"), -1e-9, 1.0000001, 10**400, [0.5]],
    "valid_from": [NOON.replace(tzinfo=None), NOON.date(), 0, 1e9, "2026-01-01", "2026-01-01T12:00", "\ud800", BEYOND],
    "valid_to": [NOON.replace(tzinfo=None), NOON.date(), True, "soon", BEYOND],
    "supersedes": [
        "mem_1",
        {"mem_1": 1},
        [None],
        [True],
        ["a\nb"],
        ["\ud800"],
        ["x" * 257],
        [f"m{i}" for i in range(101)],
    ],
    "key": ["", " ", 7, True, b"k", "\0", "\ud800", "x" * 257],
}

IDS: list[Any] = [None, 7, True, b"mem_1", ["mem_1"], "", " ", "a\nb", "\0", "\ud800", "x" * 257, MEGABYTE]
NUMBERS: list[Any] = [0, -1, True, 1.0, "1", None, 10**30, [1]]
TIMEOUTS: list[Any] = [0, -0.0, -1, True, "1", float("nan"), float("inf"), 10**400]

CURSORS: list[Any] = [
    "",
    " ",
    7,
    True,
    b"x",
    "\ud800",
    "\0",
    "junk",
    "====",
    "e30",
    "W10",
    MEGABYTE,
    base64.urlsafe_b64encode(b'[1,"list","0",1,"x"]').decode(),
    base64.urlsafe_b64encode(b"[" * 900).decode(),
]

ARGUMENTS: dict[str, dict[str, list[Any]]] = {
    "add": {**FIELDS, "extra": ["x-a", [1], {"scoope": "a"}, {"id": "mem_1"}, {"key": "k"}, {5: 1}]},
    "get": {"id": IDS},
    "update": {
        "id": IDS,
        **{name: FIELDS[name] for name in ("content", "scope", "tags", "confidence", "valid_to", "supersedes")},
        "if_version": [0, -1, True, 1.0, "1", 2**31],
        "extra": ["x-a", [1], {"scoope": "a"}, {"id": "mem_1"}, {"key": "k"}, {5: 1}],
    },
    "delete": {"id": IDS, "user_id": FIELDS["user_id"]},
    "delete_all": {"user_id": FIELDS["user_id"], "scope": ["", "a*", "*/b", "a/*/b", "/*", "a//*", 7]},
    "list": {
        "limit": NUMBERS,
        "cursor": [*CURSORS, EXPORT],
        "tag": ["", 7, ["tea"], "\ud800", "x" * 201],
        "since": FIELDS["valid_from"],
        "until": FIELDS["valid_from"],
        "as_of": FIELDS["valid_from"],
        "include_expired": [1, "no", None],
    },
    "search": {
        "query": [None, 7, b"tea", "", "\u3000", "\0", "\ud800", "x" * 10_001, Liar("")],
        "limit": [*NUMBERS, 1_001],
        "min_score": [True, "0", float("nan"), -0.1, 1.1, [0]],
        "mode": ["VECTOR", b"vector", None, "", ["vector"]],
        "explain": [1, None],
    },
    "context": {"token_budget": [*NUMBERS, 1_000_001], "token_counter": ["len", 7, [len]]},
    "history": {"id": IDS},
    "audit": {"limit": [*NUMBERS, 1_001], "app": ["", 7, "a\nb", "x" * 101], "since": FIELDS["valid_from"]},
    "changes": {"limit": [*NUMBERS, 1_001], "cursor": CURSORS, "user_id": FIELDS["user_id"]},
    "wait_for_ingest": {"ids": [None, "mem_1", 7, {"a": 1}, [7], ["\0"], [f"m{i}" for i in range(10_001)]]},
    "export": {"limit": NUMBERS, "cursor": [*CURSORS, PAGE], "user_id": FIELDS["user_id"]},
    "import_": {"conflict": ["SKIP", "", None, True, ["skip"]], "lines": [None, 7, "text", b"text", {"a": 1}]},
    "add_many": {
        "items": [None, 7, "text", b"text", GOOD, MemoryInput(content="likes tea", user_id=USER)],
        "user_id": FIELDS["user_id"],
        "on_progress": ["print", 7, [print]],
    },
    "reembed": {"on_progress": ["print", 7, [print]]},
    "maintain": {
        "audit_days": [0, -1, True, "7", float("nan"), float("inf"), 36_501, [7]],
        "versions": [-1, True, "7", 1.5, float("nan"), 2**31, [7]],
        "dry_run": [1, None, "yes"],
    },
}

LINES: dict[str, list[Any]] = {
    "line 2": [
        "{",
        "null",
        "[]",
        "7",
        "{}",
        '{"memory": null}',
        '{"memory": []}',
        '{"format": "zip", "version": 1}',
        '{"format": "omp-export"}',
        '{"format": "omp-export", "version": true}',
        '{"format": "omp-export", "version": 2}',
        '{"memory": NaN}',
        "[" * 100_000,
        7,
        None,
        b"{}",
    ],
}
RECORD_FIELDS: dict[str, list[Any]] = {
    **{name: values[:4] for name, values in FIELDS.items() if name not in ("valid_from", "valid_to", "tags", "source")},
    "id": [None, "", 7, "a\nb", "x" * 257],
    "created_at": [None, "yesterday", "2026-01-01T12:00:00", 7],
    "updated_at": ["yesterday", "2026-01-01T12:00:00", 7],
    "version": [0, -1, "1", True, 1.5],
    "scoope": ["green"],
}


def bad_calls() -> Iterator[BadCall]:
    """Yield every call of the table, and those of the kit's."""
    for verb, arguments in ARGUMENTS.items():
        for name, values in arguments.items():
            yield from (BadCall(verb, {name: value}, (name,)) for value in values)
    for verb in CALLS:
        yield from (BadCall(verb, {"timeout": value}, ("timeout",)) for value in TIMEOUTS)
    for name, values in EXTENSIONS.items():
        named = name if name == "x-kit" else "extension"
        yield from (BadCall("add", {name: value}, (named,)) for value in values)
        if name != "id":  # which is the argument that names the memory
            yield from (BadCall("update", {"id": AN_ID, name: value}, (named,)) for value in values)
    yield from _windows()
    yield from _items()
    yield from _lines()
    for bad in BAD_INPUT:
        for arguments in bad.calls(AN_ID):
            yield BadCall(bad.verb, arguments, (bad.argument,))


def _windows() -> Iterator[BadCall]:
    later, names = NOON + timedelta(microseconds=1), ("valid_from", "valid_to")
    yield BadCall("add", {"valid_from": NOON, "valid_to": NOON}, names)
    yield BadCall("add", {"valid_from": later, "valid_to": NOON}, names)
    yield BadCall("update", {"id": AN_ID, "valid_to": datetime(2024, 1, 1, tzinfo=UTC)}, names)
    yield BadCall("update", {"id": AN_ID, "valid_to": datetime(2000, 1, 1, tzinfo=UTC)}, names)
    yield BadCall("update", {"id": AN_ID, "supersedes": [AN_ID]}, ("supersedes",))


def _items() -> Iterator[BadCall]:
    """An item that is wrong between two that are right."""
    for name, values in FIELDS.items():
        for value in values:
            yield BadCall("add_many", {"items": [GOOD, GOOD | {name: value}, GOOD]}, ("items[1]", name))
    for item in (None, 7, "text", [], [GOOD]):
        yield BadCall("add_many", {"items": [GOOD, item, GOOD]}, ("items[1]",))
    yield BadCall("add_many", {"items": [GOOD, {"user_id": USER}]}, ("items[1]", "content"))
    yield BadCall("add_many", {"items": [GOOD, {"content": "tea"}]}, ("items[1]", "user_id"))
    yield BadCall("add_many", {"items": [GOOD, GOOD | {"scoope": 1}]}, ("items[1]", "scoope", "scope"))
    yield BadCall("add_many", {"items": [GOOD, {"contnt": "tea", "user_id": USER}]}, ("items[1]", "contnt", "content"))
    odd = MemoryInput.model_construct(content="", user_id=USER)
    yield BadCall("add_many", {"items": [GOOD, odd]}, ("items[1]", "content"))


def _lines() -> Iterator[BadCall]:
    """A line that is wrong after one that is right."""
    good = json.dumps({"memory": RECORD})
    for name, lines in LINES.items():
        yield from (BadCall("import_", {"lines": [good, line, good]}, (name,)) for line in lines)
    for field, values in RECORD_FIELDS.items():
        for value in values:
            if isinstance(value, bytes | complex) or value != value:
                continue  # JSON has no such thing
            line = json.dumps({"memory": RECORD | {field: value}})
            yield BadCall("import_", {"lines": [good, line]}, ("line 2", field))
