"""Mutants of the pure packages: each function with one small fault, as mutmut makes them.

mutmut decides what a fault is (a comparison turned, an argument left out, a number off by one …). What it makes of a
file is kept under .cache/mutants until the file changes.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "openmem"
FORMAT = 2
"""The form of the kept mutants; under another number, all are made again."""
CACHE = ROOT / ".cache" / "mutants"
EQUIVALENT = ROOT / "tests" / "mutants_equivalent.txt"
STATEMENT = re.compile(r"(select|insert|update|delete|pragma|order by)\b|[^']*(\?|\$\d)")
"""The beginning of a statement, or a condition: something stands for a parameter."""
CODECS = {"utf-8", "latin-1", "ascii"}
LAYERS = ROOT / "tests" / "test_layers.py"


@dataclass(frozen=True)
class Mutant:
    """A function with one fault: where it is, and both texts of the function."""

    path: str
    """From `src/openmem` on, with `/`."""
    function: str
    """`name` or `Class.name`."""
    number: int
    old: str
    """As it stands in the file."""
    new: str

    @property
    def package(self) -> str:
        return self.path.split("/")[0]

    @property
    def module(self) -> str:
        return ".".join(["openmem", *self.path.removesuffix(".py").removesuffix("/__init__").split("/")])

    @property
    def name(self) -> str:
        return f"{self.path}:{self.function}:{self.number}"

    @cached_property
    def diff(self) -> str:
        """Return the lines that differ, each after its sign."""
        lines = [*difflib.unified_diff(self.old.splitlines(), self.new.splitlines(), n=0, lineterm="")][2:]
        return "\n".join(f"{line[0]} {line[1:].strip()}" for line in lines if not line.startswith("@@"))

    @property
    def key(self) -> str:
        """Return what stays the same when other lines change."""
        return f"{self.path} {self.function}\n{self.diff}"


def pure_packages() -> list[str]:
    """Return the underscored packages that the table of layers calls pure."""
    found: set[str] = set()
    for node in ast.parse(LAYERS.read_text("utf-8")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "PURE":
            found |= {str(part.value) for part in ast.walk(node) if isinstance(part, ast.Constant)}
    return sorted(name for name in found if name.startswith("_"))


def all_mutants(packages: Iterable[str]) -> list[Mutant]:
    """Return each mutant of these packages, in the order of their files."""
    CACHE.mkdir(parents=True, exist_ok=True)
    files = sorted(path for package in packages for path in (SRC / package).rglob("*.py"))
    return [mutant for path in files for mutant in _of_file(path)]


def _of_file(path: Path) -> list[Mutant]:
    source = path.read_text("utf-8")
    name = path.relative_to(SRC).as_posix()
    key = hashlib.sha256(f"{FORMAT} {version('mutmut')}\0{name}\0{source}".encode()).hexdigest()[:32]
    kept = CACHE / f"{key}.json"
    if not kept.exists():
        kept.write_text(json.dumps([asdict(mutant) for mutant in _made(name, source)]), "utf-8")
    return [Mutant(**fields) for fields in json.loads(kept.read_text("utf-8"))]


def _made(path: str, source: str) -> Iterator[Mutant]:
    import libcst
    from mutmut.mutation.file_mutation import create_mutations, deep_replace

    module, mutations, *_ = create_mutations(path, source)
    owners = {
        method: statement.name.value
        for statement in module.body
        if isinstance(statement, libcst.ClassDef)
        for method in statement.body.body
    }
    counts: Counter[str] = Counter()
    for mutation in mutations:
        function = mutation.contained_by_top_level_function
        if not isinstance(function, libcst.FunctionDef):
            continue
        name = ".".join(filter(None, [owners.get(function), function.name.value]))
        counts[name] += 1
        parts = [function, deep_replace(function, mutation.original_node, mutation.mutated_node)]
        if function in owners:  # a block is written with its indentation
            parts = [libcst.IndentedBlock([part]) for part in parts]
        old, new = (module.code_for_node(part) for part in parts)
        yield Mutant(path, name, counts[name], old, new)


def sample(mutants: Sequence[Mutant], size: int, seed: int) -> list[Mutant]:
    """Return about so many of them: of each module its share, and one at least."""
    of_module: defaultdict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        of_module[mutant.path].append(mutant)
    chance = random.Random(seed)
    shares = {path: max(1, round(size * len(found) / len(mutants))) for path, found in of_module.items()}
    return [
        mutant for path, found in of_module.items() for mutant in chance.sample(found, min(shares[path], len(found)))
    ]


def is_same_in_other_letters(mutant: Mutant) -> bool:
    """Return whether a mutant only writes a statement, a condition or the name of a codec in other letters.

    No database and no codec tells them apart, but for what stands in quotes in a statement.
    """
    old, new = mutant.old, mutant.new
    if old.lower() != new.lower():
        return False
    first = next(place for place, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1])
    text = old[old.rfind('"', 0, first) + 1 : old.find('"', first)]
    statement = mutant.path.startswith("_sql/") and "'" not in text and STATEMENT.match(text) is not None
    return statement or (text in CODECS and "code(" in old)


def equivalents() -> dict[str, str]:
    """Return why a mutant cannot be told from the function, by its key."""
    reasons: dict[str, str] = {}
    for block in EQUIVALENT.read_text("utf-8").split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        if lines:
            *key, reason = lines
            if not reason.startswith("= "):
                raise SystemExit(f"{EQUIVALENT.name}: the last line of an entry says why, after '= ':\n{block}")
            reasons["\n".join(key)] = reason[2:]
    return reasons
