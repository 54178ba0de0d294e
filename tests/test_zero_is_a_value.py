"""Zero is a value: no `or`, and no bare `if`, on what may be a number stands for "nothing was given".

A memory that held from exactly 1970-01-01T00:00:00Z counted as one of now, because its time in microseconds is 0. So
every name that is somewhere annotated as a number that may be missing is looked for: as the left side of an `or` whose
value is used, and as a condition. A `datetime` is never false, an `or` after it asks for `None` alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parent.parent / "src" / "openmem"
FILES = [path for path in sorted(SRC.rglob("*.py")) if "_sync" not in path.parts]
NUMBERS = {"int", "float", "complex", "timedelta", "Decimal", "Real", "Number"}

# Where zero cannot be, or means the same as nothing. Each needs its reason.
ALLOWED: dict[tuple[str, str], str] = {
    ("_async/embedders.py", "self.dim"): "a vector has at least one number",
    ("_embedding/choices.py", "self.dim"): "the same",
    ("_embedding/vectors.py", "dim"): "the same",
    ("_sql/postgres/write.py", "dim"): "the same",
    ("_io/concurrency/batching.py", "self.left"): "how many still wait: never missing here",
    ("_io/concurrency/executor.py", "self._threads"): "a list of threads, not a number",
    ("_io/concurrency/retrying.py", "pause"): "asked for None before: a pause of 0 is none",
    ("_io/postgres/options.py", "stats['size']"): "a counter of the pool: never missing",
    ("server/middleware/tracing.py", "outcome.status"): "0 until an answer begins, never missing",
    ("_io/local_model.py", "choice.threads"): "FastEmbed refuses less than one",
    ("_retrieval/dates.py", "day"): "the text of a group of a pattern, not a number",
    ("_retrieval/dates.py", "year"): "the same",
    ("_protocol/http_messages.py", "parts.port"): "no server listens on port 0",
    ("testing/_async/crud.py", "(await memory.capabilities()).features.max_content_length"): "0 would allow no memory",
    ("testing/_postgres/cluster.py", "self.port"): "0 is a port that was not chosen yet",
    ("testing/_postgres/cluster.py", "port"): "the same",
    ("_emulation/reading.py", "query.min_score"): "0 lets everything through, as nothing does",
}


def names_in(annotation: ast.expr | None) -> set[str]:
    if annotation is None:
        return set()
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return names_in(ast.parse(annotation.value, mode="eval").body)
    if isinstance(annotation, ast.BinOp):
        return names_in(annotation.left) | names_in(annotation.right)
    if isinstance(annotation, ast.Subscript):
        outer = names_in(annotation.value)
        return names_in(annotation.slice) if outer & {"Optional", "Annotated", "Final", "ClassVar"} else outer
    if isinstance(annotation, ast.Tuple):
        return names_in(annotation.elts[0])
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return {"None"}
    return {annotation.id} if isinstance(annotation, ast.Name) else {getattr(annotation, "attr", "")}


def numbers_of(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module annotates as a number that may be missing, and functions that return one."""
    for node in ast.walk(tree):
        found: list[tuple[str, ast.expr | None]] = []
        if isinstance(node, ast.arg):
            found = [(node.arg, node.annotation)]
        elif isinstance(node, ast.AnnAssign):
            found = [(getattr(node.target, "id", getattr(node.target, "attr", "")), node.annotation)]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found = [(node.name, node.returns)]
        for name, annotation in found:
            kinds = names_in(annotation)
            if kinds & NUMBERS and "None" in kinds:
                yield name.lstrip("_")


def name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Await):
        return name_of(node.value)
    if isinstance(node, ast.Call):
        return name_of(node.func)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return getattr(node, "id", getattr(node, "attr", "")).lstrip("_")


def suspects(tree: ast.Module, numbers: set[str]) -> Iterator[tuple[int, str]]:
    """Yield lines and texts where a number is asked whether it is zero, though it may be missing."""
    own = set(numbers_of(tree))
    for node in ast.walk(tree):
        asked: list[ast.expr] = []
        if isinstance(node, ast.BoolOp):
            asked = node.values[:-1]
            last = node.values[-1]
            harmless = isinstance(last, ast.Constant) and not last.value and last.value is not None
            if isinstance(node.op, ast.Or) and harmless:
                continue
        elif isinstance(node, ast.If | ast.While | ast.IfExp):
            asked = [node.test]
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            asked = [node.operand]
        elif isinstance(node, ast.comprehension):
            asked = node.ifs
        for one in asked:
            known = own if isinstance(one, ast.Name) else numbers
            if (
                isinstance(one, ast.Name | ast.Attribute | ast.Call | ast.Subscript | ast.Await)
                and name_of(one) in known
            ):
                yield one.lineno, ast.unparse(one)


NUMBERS_OF_ALL = {name for path in FILES for name in numbers_of(ast.parse(path.read_text(encoding="utf-8")))}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_no_number_that_may_be_missing_is_asked_whether_it_is_zero(path: Path) -> None:
    where = path.relative_to(SRC).as_posix()
    found = [
        f"{where}:{line}: {text}: ask `is None`, or allow it here with a reason"
        for line, text in suspects(ast.parse(path.read_text(encoding="utf-8")), NUMBERS_OF_ALL)
        if (where, text) not in ALLOWED
    ]
    assert not found


def test_every_exception_is_still_needed() -> None:
    found = {
        (path.relative_to(SRC).as_posix(), text)
        for path in FILES
        for _, text in suspects(ast.parse(path.read_text(encoding="utf-8")), NUMBERS_OF_ALL)
    }
    assert set(ALLOWED) <= found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(at: int | None, now: int) -> int:\n    return at or now", ["at"]),
        ("def f(row: Row, now: int) -> int:\n    return micros(row.at) or now", ["micros(row.at)"]),
        (
            "class C:\n    limit: int | None = None\n    def f(self) -> int:\n        return 5 if self.limit else 6",
            ["self.limit"],
        ),
        ("def f(at: 'float | None') -> None:\n    if not at:\n        print()", ["at"]),
        ("def f(at: int | None) -> int:\n    return at or 0", []),
        ("def f(at: datetime | None, now: datetime) -> datetime:\n    return at or now", []),
        ("def f(at: int, now: int) -> int:\n    return at or now", []),
    ],
)
def test_guard_sees_what_it_is_for(source: str, found: list[str]) -> None:
    tree = ast.parse(source)
    assert [text for _, text in suspects(tree, {"micros", *numbers_of(tree)})] == found
