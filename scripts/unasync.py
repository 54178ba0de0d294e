"""Generate the sync form of every mirrored tree from its async source.

    python scripts/unasync.py            write the trees
    python scripts/unasync.py --check    change nothing; exit 1 and say why if a tree is not as it should be

The package `unasync` replaces names token by token, so comments and layout survive. On top of it this script
renames inside strings and comments (only the names of our own classes and modules), writes a header, sorts
the imports and formats, and checks four things: stale files, orphan files, rules without a use, and words of
the async form that are left in the output.
"""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# This file has the name of the package: with its folder on the path it would import itself.
_HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _HERE]

import tokenize_rt  # type: ignore[import-untyped] # noqa: E402
import unasync  # noqa: E402

ROOT = _HERE.parent
TREES = ("src/openmem/_async", "src/openmem/testing/_async", "tests/_async")

# The closed list. Names like AsyncMemory need no entry: each loses its "Async". The check asks for a name that is
# missing here (residue) and for the removal of one that is not needed.
RULES = {
    "_async": "_sync",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "aclose": "close",
    "async_compute": "compute",
    "async_gather": "gather",
    "async_import_module": "import_module",
    "async_load": "load",
    "async_no_rest": "no_rest",
    "async_repeat": "repeat",
    "async_sleep": "sleep",
    "async_to_thread": "to_thread",
    "find_async_provider": "find_provider",
    "load_async_provider": "load_provider",
}

_CLASS = re.compile(r"(?<!\w)(_*)Async(?=[A-Z])(\w+)")
_MODULE = re.compile(r"\b_async\b")
_PROSE = {"STRING", "COMMENT", "FSTRING_MIDDLE", "TSTRING_MIDDLE"}
# Stricter than it must be: mirrored prose speaks of neither form, so no word with "async" in it may stay.
_RESIDUE = re.compile(
    r"\w*async\w*|\bawait\w*|\b(?:__)?a(?:close|closing|enter|exit|iter|next)(?:__)?\b", re.IGNORECASE
)
_ALLOWED = {"async_ingestion"}  # a field of the protocol's capabilities


@dataclass(frozen=True)
class Mirror:
    """The generated files by their path from the root, and the names their sources use."""

    files: Mapping[str, str]
    used: frozenset[str]


def sources(root: Path) -> dict[str, list[Path]]:
    """Return the source files of each tree that exists."""
    return {tree: sorted((root / tree).rglob("*.py")) for tree in TREES if (root / tree).is_dir()}


def sync_path(path: str) -> str:
    """Return the path of a source's output."""
    tree = next(tree for tree in TREES if path.startswith(f"{tree}/"))
    return sync_tree(tree) + path.removeprefix(tree)


def sync_tree(tree: str) -> str:
    """Return the path of a tree's output."""
    return tree.removesuffix("_async") + "_sync"


def generate(root: Path, rules: Mapping[str, str] = RULES) -> Mirror:
    """Return what the sync trees of `root` should hold; nothing under `root` is touched."""
    files: dict[str, str] = {}
    names: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve()
        for paths in sources(root).values():
            for path in paths:
                tokens = tokenize_rt.src_to_tokens(path.read_text(encoding="utf-8"))
                names.update(_names(tokens))
                copy = work / path.relative_to(root)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(_rename_prose(tokens), encoding="utf-8")
        _convert(work, sources(work), {**rules, **_class_rules(names)})
        _tidy(root, [work / sync_tree(tree) for tree in sources(work)])
        for tree in sources(work):
            for path in sorted((work / sync_tree(tree)).rglob("*.py")):
                files[path.relative_to(work).as_posix()] = path.read_text(encoding="utf-8")
    return Mirror(files, frozenset(names))


def _names(tokens: list[tokenize_rt.Token]) -> Iterator[str]:
    for token in tokens:
        if token.name == "NAME":
            yield token.src
        elif token.name == "STRING":
            yield token.src[1:-1]  # unasync also replaces a string that is nothing but a name


def _class_rules(names: set[str]) -> dict[str, str]:
    return {name: "".join(match.groups()) for name in names if (match := _CLASS.fullmatch(name))}


def _rename_prose(tokens: list[tokenize_rt.Token]) -> str:
    """Rename in strings and comments, where unasync either sees nothing or writes `SyncX` for `AsyncX`."""
    return "".join(_rename_words(token.src) if token.name in _PROSE else token.src for token in tokens)


def _rename_words(text: str) -> str:
    return _MODULE.sub("_sync", _CLASS.sub(r"\1\2", text))


def _convert(work: Path, trees: Mapping[str, list[Path]], rules: Mapping[str, str]) -> None:
    for tree, paths in trees.items():
        # A rule whose folder is not in a file's path would overwrite that file: whole paths on both sides.
        rule = unasync.Rule(str(work / tree), str(work / sync_tree(tree)), rules)
        unasync.unasync_files([str(path) for path in paths], [rule])
        for path in paths:
            source = path.relative_to(work).as_posix()
            output = work / sync_path(source)
            header = f"# Generated by scripts/unasync.py from {source}; do not edit.\n"
            output.write_text(header + output.read_text(encoding="utf-8"), encoding="utf-8")


def _tidy(root: Path, folders: list[Path]) -> None:
    """Sort the imports, whose order changes with their names, and format."""
    if not folders:
        return
    config = ["--config", str(root / "pyproject.toml"), "--no-cache", "--quiet"]
    places = [str(folder) for folder in folders]
    for step in (["check", "--select", "I", "--fix"], ["format"]):
        command = [sys.executable, "-m", "ruff", *step, *config, *places]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"ruff {step[0]} failed on the output:\n{done.stdout}{done.stderr}")


def present(root: Path) -> dict[str, Path]:
    """Return every file in the sync trees by its path from the root; byte code does not count."""
    return {
        path.relative_to(root).as_posix(): path
        for tree in TREES
        for path in sorted((root / sync_tree(tree)).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def write(root: Path, rules: Mapping[str, str] = RULES) -> list[str]:
    """Bring the sync trees up to date, remove what has no source, and return what is wrong all the same."""
    mirror = generate(root, rules)
    for name, path in present(root).items():
        if name not in mirror.files:
            path.unlink()
            _remove_empty(path.parent)
    for name, text in mirror.files.items():
        path = root / name
        if not path.is_file() or path.read_bytes() != text.encode():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
    return [*unused(mirror, rules), *residue(mirror)]


def _remove_empty(folder: Path) -> None:
    """Remove a folder that holds nothing but byte code, and then those around it."""
    while all(entry.name == "__pycache__" for entry in folder.iterdir()):
        shutil.rmtree(folder)
        folder = folder.parent


def check(root: Path, rules: Mapping[str, str] = RULES) -> list[str]:
    """Return what is wrong with the sync trees of `root`."""
    mirror = generate(root, rules)
    return [*orphans(root, mirror), *stale(root, mirror), *unused(mirror, rules), *residue(mirror)]


def orphans(root: Path, mirror: Mirror) -> Iterator[str]:
    """Yield the files in the sync trees that no source stands behind."""
    for name in sorted(present(root).keys() - mirror.files.keys()):
        yield f"orphan: {name} has no source"


def stale(root: Path, mirror: Mirror) -> Iterator[str]:
    """Yield a diff for every file that is not byte for byte what its source gives."""
    for name, text in mirror.files.items():
        path = root / name
        now = path.read_bytes() if path.is_file() else b""
        if not path.is_file():
            yield f"stale: {name} is missing"
        elif now != text.encode():
            lines = now.decode(errors="replace").splitlines(), text.splitlines()
            diff = list(difflib.unified_diff(*lines, name, f"{name} (generated)", lineterm=""))
            yield "\n".join([f"stale: {name}", *(diff or ["only the line ends differ"])])


def unused(mirror: Mirror, rules: Mapping[str, str]) -> Iterator[str]:
    """Yield the rules that no source uses."""
    for name in sorted(rules.keys() - mirror.used) if mirror.files else ():
        yield f"unused rule: {name} stands in no source"


def residue(mirror: Mirror) -> Iterator[str]:
    """Yield every word of the async form in the output, be it code, string or comment."""
    for name, text in mirror.files.items():
        for number, line in enumerate(text.splitlines()[1:], start=2):  # the header names the source
            for word in _RESIDUE.findall(line):
                if word not in _ALLOWED:
                    yield f"residue: {name}:{number}: {word}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate the sync trees from the async ones.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 on any problem")
    checking = parser.parse_args().check
    problems = check(ROOT) if checking else write(ROOT)
    for problem in problems:
        print(problem, file=sys.stderr)
    if checking and problems:
        print("The sync trees are generated: edit the async source, then run `make sync`.", file=sys.stderr)
    return 1 if checking and problems else 0


if __name__ == "__main__":
    sys.exit(main())
